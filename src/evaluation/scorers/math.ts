// The scorer `math`: formulas are the same when their values are, as far as a normal form shows it.
// The answer is what \boxed{…}, #### or "the answer is" marks; otherwise the response's last number, provided the ground truth is one.
// Compared, in this order: as equal texts; as numbers (thousands, currency, percent, fractions; within `tolerance`); as lists, sets, intervals and equations,
// part by part; as formulas in normal form (../math/expression.ts); with a tolerance also by their numeric value.
// What it does not do: identities of sines, logarithms or nested roots; solving; sets in words; matrices other than by text; words for numbers; and an answer
// in other units than the ground truth's (units are dropped, not converted).

import { constantIn, FormulaError, readFormula, sameFormula, type Quotient } from "../math/expression.js";
import { plainFormula } from "../math/plain-formula.js";
import { numberOf, TooComplexError } from "../math/polynomial.js";
import { toNumber } from "../math/rational.js";
import { finalAnswer } from "./final-answer.js";
import { judged, shortened, type Score } from "./scorer.js";
import { numbersIn, sameNumber, wholeNumber } from "./written-number.js";

export function scoreMath(response: string, groundTruth: string, tolerance: number): Score {
  const truth = finalAnswer(groundTruth)?.text ?? groundTruth;
  const answer = answerIn(response, truth);
  return judged(answer !== null && sameValue(answer, truth, tolerance), answer === null ? null : shortened(answer));
}

function answerIn(response: string, truth: string): string | null {
  const marked = finalAnswer(response);
  if (marked !== null) return marked.from === "phrase" ? phraseAnswer(marked.text) : marked.text;
  const alone = response.trim();
  if (alone !== "" && alone.length <= 100 && !alone.includes("\n") && !/[A-Za-z]{3,}/.test(alone.replaceAll(/\\[A-Za-z]+/g, ""))) return alone;
  return wholeNumber(plainFormula(truth)) === null ? (sameText(alone, truth) ? alone : null) : numbersIn(response).at(-1)?.text ?? null;
}

/** "the answer is $x+1$, because …": what stands in dollars, otherwise up to the end of the sentence. */
function phraseAnswer(text: string): string {
  const formula = /\$([^$]+)\$|\\\((.+?)\\\)/.exec(text);
  if (formula !== null) return (formula[1] ?? formula[2])!;
  return (/^(?:[^.]|\.(?=\d))*/.exec(text.replaceAll("**", ""))?.[0] ?? text).trim();
}

/** Whether two answers have the same value, each as LaTeX or plain text. */
export function sameValue(answer: string, truth: string, tolerance: number): boolean {
  if (sameText(answer, truth)) return true;
  const [a, b] = [bare(answer), bare(truth)];
  if (a === "" || b === "") return false;
  return samePlain(a, b, tolerance, 0);
}

function samePlain(a: string, b: string, tolerance: number, depth: number): boolean {
  if (a.replaceAll(" ", "") === b.replaceAll(" ", "")) return true;
  const [left, right] = [wholeNumber(a), wholeNumber(b)];
  if (left !== null && right !== null) return sameNumber(left, right, tolerance);
  if (depth < 4) {
    const parts = sameParts(a, b, (x, y) => samePlain(bare(x), bare(y), tolerance, depth + 1));
    if (parts !== null) return parts;
  }
  return sameNormalForm(a, b, tolerance);
}

/** Lists, sets and intervals part by part, equations side by side; null when neither is one of these. */
function sameParts(a: string, b: string, same: (a: string, b: string) => boolean): boolean | null {
  const [left, right] = [groupOf(a), groupOf(b)];
  if (left !== null || right !== null) {
    if (left === null || right === null) {
      const [group, single] = left === null ? [right!, a] : [left, b];
      return group.parts.length === 1 && group.open === "{" ? same(group.parts[0]!, single) : null;
    }
    if (left.open !== right.open || left.close !== right.close || left.parts.length !== right.parts.length) return false;
    return left.open === "{" || left.open === "" ? sameInAnyOrder(left.parts, right.parts, same) : left.parts.every((part, index) => same(part, right.parts[index]!));
  }
  const [leftSides, rightSides] = [a.split("="), b.split("=")];
  if (leftSides.length === 2 && rightSides.length === 2) {
    const [first, second, third, fourth] = [leftSides[0]!, leftSides[1]!, rightSides[0]!, rightSides[1]!];
    return (same(first, third) && same(second, fourth)) || (same(first, fourth) && same(second, third));
  }
  // "x = 5" answers what "5" answers.
  if (leftSides.length === 2 && rightSides.length === 1 && isName(leftSides[0]!)) return same(leftSides[1]!, b);
  if (rightSides.length === 2 && leftSides.length === 1 && isName(rightSides[0]!)) return same(a, rightSides[1]!);
  return null;
}

interface Group { readonly open: string; readonly close: string; readonly parts: readonly string[] }

/** (1, 2) · [0, 1) · {1, 2} · 1, 2. Null when the text is none of these. A number with separators of thousands is no list. */
function groupOf(text: string): Group | null {
  if (wholeNumber(text) !== null) return null;
  const enclosed = /^([([{])(.*)([)\]}])$/s.exec(text);
  if (enclosed !== null && balanced(enclosed[2]!)) {
    const parts = splitParts(enclosed[2]!);
    if (parts.length > 1 || enclosed[1] === "{") return { open: enclosed[1]!, close: enclosed[3]!, parts };
  }
  const parts = splitParts(text);
  return parts.length > 1 ? { open: "", close: "", parts } : null;
}

function balanced(text: string): boolean {
  let depth = 0;
  for (const character of text) {
    if ("([{".includes(character)) depth++;
    else if (")]}".includes(character) && --depth < 0) return false;
  }
  return depth === 0;
}

/** At commas and semicolons outside of brackets. */
function splitParts(text: string): string[] {
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let index = 0; index < text.length; index++) {
    if ("([{".includes(text[index]!)) depth++;
    else if (")]}".includes(text[index]!)) depth--;
    else if (depth === 0 && /[,;]/.test(text[index]!)) {
      parts.push(text.slice(from, index).trim());
      from = index + 1;
    }
  }
  parts.push(text.slice(from).trim().replace(/^and\s+/, ""));
  return parts;
}

function sameInAnyOrder(left: readonly string[], right: readonly string[], same: (a: string, b: string) => boolean): boolean {
  const open = [...right];
  return left.every((part) => {
    const at = open.findIndex((other) => same(part, other));
    if (at >= 0) open.splice(at, 1);
    return at >= 0;
  });
}

function isName(text: string): boolean {
  return /^\s*[A-Za-z](?:_?[A-Za-z0-9]+)?(?:\([A-Za-z, ]+\))?\s*$/.test(text);
}

function sameNormalForm(a: string, b: string, tolerance: number): boolean {
  try {
    const [left, right] = [readFormula(thousandsJoined(a)), readFormula(thousandsJoined(b))];
    if (sameFormula(left, right)) return true;
    if (tolerance === 0) return false;
    const [x, y] = [valueOf(left), valueOf(right)];
    return x !== null && y !== null && Math.abs(x - y) <= tolerance * (Math.abs(y) || 1);
  } catch (error) {
    if (error instanceof FormulaError || error instanceof TooComplexError || error instanceof RangeError) return false;
    throw error;
  }
}

function valueOf(quotient: Quotient): number | null {
  const exact = constantIn(quotient);
  if (exact !== null) return toNumber(exact);
  const [top, bottom] = [numberOf(quotient.top), numberOf(quotient.bottom)];
  return top === null || bottom === null || bottom === 0 ? null : top / bottom;
}

function thousandsJoined(text: string): string {
  return text.replaceAll(/(?<!\d)\d{1,3}(?:,\d{3})+(?!\d)/g, (number) => number.replaceAll(",", ""));
}

/** Usual units after a number; a unit in \text{…} has become a word by now. */
const UNITS = /(?<=[\d)}]\s*)(?:square|sq|cubic)?\s*(?:units?|degrees?|inch(?:es)?|feet|foot|ft|yards?|miles?|mph|mm|cm|km|kg|mg|ml|meters?|metres?|centimeters?|kilometers?|grams?|kilograms?|liters?|litres?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|dollars?|cents?|euros?|percent|points?|people|students?|apples?|ways?|times)(?:\s*\^\s*\(?[23]\)?)?(?:\s+per\s+\w+)?\.?$/i;

/** Without LaTeX, trailing full stop, currency and units. */
function bare(text: string): string {
  const plain = plainFormula(text.replace(/\\\$/g, "")).replace(/[.。]$/, "").trim();
  const enclosed = /^\(([^()]*)\)$/.exec(plain)?.[1];
  const inner = enclosed !== undefined && !/[,;]/.test(enclosed) ? enclosed.trim() : plain;
  return inner.replace(UNITS, "").replace(/^[€£¥₹₩]\s*/, "").trim();
}

/** Capital letters make no difference to words, but to the names of variables. */
function sameText(a: string, b: string): boolean {
  const words = (text: string) => text.replaceAll(/\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}/g, "$1").replaceAll(/\\[,!;: ]|[$\s]/g, "").replace(/\.$/, "");
  const [left, right] = [words(a), words(b)];
  if (left === "" || right === "") return false;
  return left === right || (/^[\p{L}'’-]{2,}$/u.test(left) && left.toLowerCase() === right.toLowerCase());
}
