// Texts that no store can keep are refused before they reach one: NUL and halves of surrogate pairs. Specifications (JSON) are judged by their own rules.

/** What is wrong with a text among the arguments, directly or in `input`; null when nothing is. */
export function textProblem(args: Readonly<Record<string, unknown>>): string | null {
  for (const [name, value] of Object.entries(args)) {
    const texts = typeof value === "string" ? [value] : Array.isArray(value) ? value : name === "input" && typeof value === "object" && value !== null ? Object.values(value) : [];
    if (texts.some((text) => typeof text === "string" && (text.includes("\0") || !text.isWellFormed()))) return `\`${name}\` contains a NUL character or half of a surrogate pair. Remove it; UTF-8 is expected.`;
  }
  return null;
}
