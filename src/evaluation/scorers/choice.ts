// The scorer `choice`: one letter against another. Where the response says its letter, most explicit first:
//   \boxed{B} · #### B · "the answer is (B)" · a response that is "B", "B.", "(B) …" or "B) …" · the last "(B)" or "**B**" · the last letter that stands alone.
// For the last rule "A" and "I" count only where they cannot be words: followed by the end of a line, or by one of . ) : ,
// Letters are A to Z; small ones count where they are marked, as in (b). A response that marks several letters, as in \boxed{A, C}, gives none.

import { finalAnswer } from "./final-answer.js";
import { judged, type Score } from "./scorer.js";

export function scoreChoice(response: string, groundTruth: string): Score {
  const letter = letterOf(response);
  const truth = letterOf(groundTruth);
  return judged(letter !== null && letter === truth, letter);
}

/** The letter that the text chooses, in upper case; null when it chooses none. */
export function letterOf(text: string): string | null {
  const answer = finalAnswer(text);
  if (answer !== null) {
    const letter = markedLetter(answer.text);
    if (letter !== null || answer.from !== "phrase") return letter;
  }
  const stripped = plain(text);
  return wholeLetter(stripped) ?? atStart(stripped) ?? lastIn(text, /\(([A-Za-z])\)|\*\*\(?([A-Z])\)?[.:]?\*\*/g) ?? lastIn(text, /(?<![\p{L}\p{N}'’(*])([B-HJ-Z])(?![\p{L}\p{N}'’*-])|(?<![\p{L}\p{N}'’(*])([AI])(?=\s*(?:$|[.):,\n]))/gmu);
}

/** What was marked as the answer begins with its letter: "B", "(B)", "B. Paris", "\text{B}", "option B". */
function markedLetter(text: string): string | null {
  const stripped = plain(text).replace(/^(?:option|choice|letter|answer)\s+/i, "");
  return wholeLetter(stripped) ?? atStart(stripped) ?? /^([A-Z])(?![\p{L}\p{N}'’])(?!\s*(?:,|and\b|or\b|&)\s*\(?[A-Z]\)?(?![\p{L}\p{N}]))/u.exec(stripped)?.[1] ?? null;
}

function plain(text: string): string {
  return text.replaceAll(/\\(?:text|textbf|mathrm|mathbf|bf|rm)\b\s*\{([^{}]*)\}/g, "$1").replaceAll(/[*_`$]|\\[()[\]]/g, "").trim();
}

function wholeLetter(text: string): string | null {
  return /^[([]?\s*([A-Za-z])\s*[)\]]?[.:]?$/.exec(text)?.[1]?.toUpperCase() ?? null;
}

/** "(B) Paris", "B) Paris", "B. Paris", "B: Paris". */
function atStart(text: string): string | null {
  const match = /^(?:[([]([A-Za-z])[)\]]|([A-Z])[).:])(?=\s)/.exec(text);
  if (match === null) return null;
  return /^[,\s]*(?:and|or|&)?\s*[([]?[A-Z][)\]](?=\s|$)/.test(text.slice(match[0].length)) ? null : (match[1] ?? match[2])!.toUpperCase();
}

function lastIn(text: string, pattern: RegExp): string | null {
  const match = [...text.matchAll(pattern)].at(-1);
  return match === undefined ? null : (match.slice(1).find((group) => group !== undefined) ?? null)?.toUpperCase() ?? null;
}
