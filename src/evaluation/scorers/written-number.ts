// Numbers as people and models write them: 1,234.5 · $12 · 3/4 · 1 3/4 · 45 % · 1.5e3 · 1.5 × 10^3 · −7.
//   N1. A comma separates thousands (also the Indian way, 12,34,567); a decimal comma is not read, as 1,234 would mean two things.
//   N2. Words for numbers ("twelve", "2 million") are not read.

import { add, multiply, negate, parseDecimal, rational, within, type Rational } from "../math/rational.js";

export interface WrittenNumber {
  readonly value: Rational;
  /** A percent sign follows it; `value` is what stands before the sign. */
  readonly percent: boolean;
  /** As it stands in the text. */
  readonly text: string;
}

const GROUPED = "\\d{1,3}(?:,\\d{2,3})*,\\d{3}(?!\\d)|\\d{1,3}(?:[\\u00a0\\u2009\\u202f']\\d{3})+(?!\\d)|\\d+";
const DECIMAL = `(?:(?:${GROUPED})(?:\\.\\d+)?|\\.\\d+)`;
const CURRENCY = "[$€£¥₹₩]";
/** Groups: sign, sign after the currency, mixed whole, numerator, denominator, decimal, exponent e, exponent of ten, percent. */
const NUMBER = new RegExp(
  `([+-]\\s?)?(?:\\\\?${CURRENCY}\\s?)?([+-])?(?:(?:(\\d+)\\s+)?(\\d+)\\s?/\\s?(\\d+)(?![\\d/])|(${DECIMAL})(?:[eE]([+-]?\\d{1,4})(?![\\dA-Za-z])|\\s?(?:[×x*·]|\\\\times|\\\\cdot)\\s?10\\s?\\^\\s?\\{?\\(?([+-]?\\d{1,4})\\)?\\}?)?)(\\s?\\\\?[%％])?`,
  "gu",
);

/** Every number of the text, in order. A hyphen right after a letter or digit is a dash, not a sign. */
export function numbersIn(text: string): WrittenNumber[] {
  const plain = text.replaceAll(/[\u2212\u2013]/g, "-");
  const found: WrittenNumber[] = [];
  for (const match of plain.matchAll(NUMBER)) {
    const before = plain[match.index - 1] ?? "";
    if (/[A-Za-z_]/.test(before) && match[1] === undefined) continue; // x2, GPT4
    const number = valueOf(match);
    if (number === null) continue;
    const dash = match[1] !== undefined && /[\p{L}\p{N})\]}]/u.test(before);
    const negative = (!dash && match[1]?.trim() === "-") !== (match[2] === "-");
    found.push({ value: negative ? negate(number) : number, percent: match[9] !== undefined, text: match[0].trim() });
  }
  return found;
}

function valueOf(match: RegExpMatchArray): Rational | null {
  const [, , , whole, numerator, denominator, decimal, exponent, ofTen] = match;
  if (denominator !== undefined) {
    if (/^0+$/.test(denominator)) return null;
    const fraction = rational(BigInt(numerator!), BigInt(denominator));
    return whole === undefined ? fraction : add(rational(BigInt(whole)), fraction);
  }
  const plain = parseDecimal(decimal!.replaceAll(/[,\u00a0\u2009\u202f']/g, ""));
  const power = exponent ?? ofTen;
  if (plain === null || power === undefined) return plain;
  const scale = parseDecimal(`1e${power}`);
  return scale === null ? null : multiply(plain, scale);
}

/** The text when it is one number and nothing else but currency, units of percent and a full stop. */
export function wholeNumber(text: string): WrittenNumber | null {
  const trimmed = text.trim().replace(/\.$/, "");
  const [only, more] = numbersIn(trimmed);
  return only !== undefined && more === undefined && only.text.length === trimmed.length ? only : null;
}

const HUNDREDTH = rational(1n, 100n);

/** Equal values, or within `tolerance`. Where only one of them has a percent sign, 50 % stands for 50 and for 0.5: data sets write both. */
export function sameNumber(answer: WrittenNumber, truth: WrittenNumber, tolerance: number): boolean {
  if (within(answer.value, truth.value, tolerance)) return true;
  if (answer.percent === truth.percent) return false;
  return answer.percent ? within(multiply(answer.value, HUNDREDTH), truth.value, tolerance) : within(answer.value, multiply(truth.value, HUNDREDTH), tolerance);
}
