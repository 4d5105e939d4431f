// Where a response says what its answer is. The most explicit place wins: \boxed{…}, then what follows ####, then what follows "the answer is". Of several of
// one kind the last counts, as models correct themselves.

export interface FinalAnswer {
  readonly text: string;
  readonly from: "boxed" | "hashes" | "phrase";
}

/** Null when the response marks no answer. */
export function finalAnswer(response: string): FinalAnswer | null {
  const boxed = lastBoxed(response);
  if (boxed !== null) return { text: boxed.trim(), from: "boxed" };
  const hashes = response.lastIndexOf("####");
  if (hashes >= 0) {
    const line = lineFrom(response, hashes + 4);
    if (line !== "") return { text: line, from: "hashes" };
  }
  const phrase = lastPhrase(response);
  return phrase === null ? null : { text: phrase, from: "phrase" };
}

/** What the last \boxed{…} or \fbox{…} holds, nested braces included; also `\boxed 5`. An opened brace that is never closed (a response that was cut off) is none. */
export function lastBoxed(text: string): string | null {
  let found: string | null = null;
  for (const match of text.matchAll(/\\(?:boxed|fbox)\s*/g)) {
    const at = match.index + match[0].length;
    if (text[at] === "{") found = inBraces(text, at) ?? found;
    else if (match[0].endsWith(" ")) found = /^[^\s$]+/.exec(text.slice(at))?.[0] ?? found;
  }
  return found;
}

/** What stands between the brace at `at` and the one that closes it. */
export function inBraces(text: string, at: number): string | null {
  let depth = 0;
  for (let index = at; index < text.length; index++) {
    const character = text[index];
    if (character === "\\") index++;
    else if (character === "{") depth++;
    else if (character === "}" && --depth === 0) return text.slice(at + 1, index);
  }
  return null;
}

function lastPhrase(text: string): string | null {
  let found: string | null = null;
  for (const match of text.matchAll(/\banswer(?:\*\*)?\s*(?:is|=|:|would be|should be)(?:\*\*)?\s*:?/gi)) {
    const line = lineFrom(text, match.index + match[0].length);
    if (line !== "") found = line;
  }
  return found;
}

/** The rest of the line, or the next one when nothing follows on it. */
function lineFrom(text: string, at: number): string {
  const [first = "", second = ""] = text.slice(at).replace(/^[ \t*]*\r?\n\s*/, "").split(/\r?\n/, 2);
  return (first.trim() === "" ? second : first).trim();
}
