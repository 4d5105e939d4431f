// Scorers that compare texts as texts.
//   exact: the whole response is the ground truth, but for the space around it.
//   contains: the ground truth stands in the response, not as a part of a longer word or number.
// Texts are compared in Unicode's composed form (NFC). Neither looks for a final answer.

import { judged, shortened, type Score } from "./scorer.js";

export function scoreExact(response: string, groundTruth: string, ignoreCase: boolean): Score {
  return judged(folded(response, ignoreCase) === folded(groundTruth, ignoreCase), shortened(response.trim()));
}

export function scoreContains(response: string, groundTruth: string, ignoreCase: boolean): Score {
  const [text, wanted] = [folded(response, ignoreCase), folded(groundTruth, ignoreCase)];
  if (wanted === "") return judged(false, null);
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    if (standsAlone(text, at, wanted)) return judged(true, shortened(groundTruth.trim()));
  }
  return judged(false, null);
}

function folded(text: string, ignoreCase: boolean): string {
  const composed = text.normalize("NFC").trim();
  return ignoreCase ? composed.toLowerCase() : composed;
}

/** Letters and digits join to words, except in scripts that put no space between words. */
const WORD_END = /[\p{L}\p{N}_]$/u;
const WORD_START = /^[\p{L}\p{N}_]/u;
const UNSPACED_END = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]$/u;
const UNSPACED_START = /^[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

function standsAlone(text: string, at: number, wanted: string): boolean {
  const before = text.slice(Math.max(0, at - 2), at);
  const after = text.slice(at + wanted.length, at + wanted.length + 2);
  const joinsBefore = WORD_START.test(wanted) && WORD_END.test(before) && !UNSPACED_START.test(wanted) && !UNSPACED_END.test(before);
  const joinsAfter = WORD_END.test(wanted) && WORD_START.test(after) && !UNSPACED_END.test(wanted) && !UNSPACED_START.test(after);
  const insideNumber = (/\d$/.test(wanted) && /^[.,]\d/.test(after)) || (/^\d/.test(wanted) && /\d[.,]$/.test(before));
  return !joinsBefore && !joinsAfter && !insideNumber;
}
