// The scorer `numeric`: the response's number against the ground truth's.
// The number is the last one of the marked answer (final-answer.ts), otherwise the last one of the whole response. A ground truth that is no number is never met.

import { finalAnswer } from "./final-answer.js";
import { judged, shortened, type Score } from "./scorer.js";
import { numbersIn, sameNumber, type WrittenNumber } from "./written-number.js";

export function scoreNumeric(response: string, groundTruth: string, tolerance: number): Score {
  const truth = marked(groundTruth) ?? numbersIn(groundTruth).at(-1);
  const answer = marked(response) ?? numbersIn(response).at(-1);
  return judged(truth !== undefined && answer !== undefined && sameNumber(answer, truth, tolerance), answer === undefined ? null : shortened(answer.text));
}

/** Of what follows "the answer is" the first number counts: "The answer is 5 apples, 2 more than before". */
function marked(text: string): WrittenNumber | undefined {
  const answer = finalAnswer(text);
  if (answer === null) return undefined;
  const numbers = numbersIn(withoutLatex(answer.text));
  return answer.from === "phrase" ? afterEquals(answer.text) ?? numbers.at(0) : numbers.at(-1);
}

/** "3 + 4 = 7": what stands after the last equals sign. */
function afterEquals(text: string): WrittenNumber | undefined {
  const at = text.lastIndexOf("=");
  return at < 0 ? undefined : numbersIn(withoutLatex(text.slice(at + 1))).at(0);
}

function withoutLatex(text: string): string {
  return text.replaceAll(/\\[dt]?frac\s*\{(-?\d+)\}\s*\{(\d+)\}/g, "$1/$2").replaceAll(/\\[,!;: ]/g, "").replaceAll("{,}", ",");
}
