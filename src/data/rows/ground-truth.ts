// Ground truths as verl's scorers compare them: text against text.

const NUMBER = /^[+-]?(?:\d{1,3}(?:,\d{2,3})*,\d{3}|\d*)(?:\.\d+)?\.?$/;

/** Without the space around it; a number also without separators of thousands, a full stop at its end and a plus sign: verl's scorer for GSM8K takes the same
 *  from the model's answer and then wants equal text. */
export function asGroundTruth(text: string): string {
  const trimmed = text.trim();
  if (trimmed.length > 40 || !/\d/.test(trimmed) || !NUMBER.test(trimmed)) return trimmed;
  return trimmed.replaceAll(",", "").replace(/\.$/, "").replace(/^\+/, "");
}

/** Finds ground truths in answers: what the last match of the pattern (flag u) holds in its first group that took part, otherwise the whole match; null without one. */
export function createTruthFinder(pattern: string): (answer: string) => string | null {
  const expression = new RegExp(pattern, "gu");
  return (answer) => {
    let last: RegExpExecArray | null = null;
    for (const match of answer.matchAll(expression)) last = match;
    if (last === null) return null;
    const found = asGroundTruth(last.slice(1).find((group) => group !== undefined) ?? last[0]);
    return found === "" ? null : found;
  };
}
