// Exact fractions: a decimal as it is written is a fraction, so that 0.1 + 0.2 is 0.3 and no rounding decides whether an answer is right.

/** In lowest terms; den is above 0. */
export interface Rational { readonly num: bigint; readonly den: bigint }

export const ZERO: Rational = { num: 0n, den: 1n };
export const ONE: Rational = { num: 1n, den: 1n };

/** Digits that a number may have on either side before it is no number any more. */
export const MOST_DIGITS = 1_000;

/** num/den in lowest terms. Throws RangeError when den is 0. */
export function rational(num: bigint, den = 1n): Rational {
  if (den === 0n) throw new RangeError("division by zero");
  const sign = den < 0n ? -1n : 1n;
  const divisor = gcd(num < 0n ? -num : num, den * sign);
  return divisor <= 1n ? { num: num * sign, den: den * sign } : { num: (num * sign) / divisor, den: (den * sign) / divisor };
}

export function add(a: Rational, b: Rational): Rational {
  return rational(a.num * b.den + b.num * a.den, a.den * b.den);
}

export function multiply(a: Rational, b: Rational): Rational {
  return rational(a.num * b.num, a.den * b.den);
}

export function negate(a: Rational): Rational {
  return { num: -a.num, den: a.den };
}

export function inverse(a: Rational): Rational {
  return rational(a.den, a.num);
}

export function equal(a: Rational, b: Rational): boolean {
  return a.num === b.num && a.den === b.den;
}

export function isZero(a: Rational): boolean {
  return a.num === 0n;
}

/** The nearest floating-point number, for tolerances only. */
export function toNumber({ num, den }: Rational): number {
  const direct = Number(num) / Number(den);
  if (Number.isFinite(direct)) return direct;
  const shift = BigInt(Math.max(0, num.toString().length - 300, den.toString().length - 300));
  const scale = 10n ** shift;
  return den / scale === 0n ? (num < 0n ? -Infinity : Infinity) : Number(num / scale) / Number(den / scale);
}

/** A decimal with optional exponent (1.5e3), without separators. Null when it is none, or has more than MOST_DIGITS. */
export function parseDecimal(text: string): Rational | null {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,5}))?$/.exec(text);
  if (match === null) return null;
  const [, sign, whole = "", fraction = "", exponent = "0"] = match;
  if (whole === "" && fraction === "") return null;
  const power = Number(exponent) - fraction.length;
  if (whole.length + fraction.length > MOST_DIGITS || Math.abs(power) > MOST_DIGITS) return null;
  const digits = BigInt(`${whole}${fraction}`) * (sign === "-" ? -1n : 1n);
  return power >= 0 ? rational(digits * 10n ** BigInt(power)) : rational(digits, 10n ** BigInt(-power));
}

/** Whether they differ by no more than `share` of `truth` (of 1 where the truth is 0). Exact when share is 0. */
export function within(value: Rational, truth: Rational, share: number): boolean {
  if (equal(value, truth)) return true;
  if (share === 0) return false;
  const scale = Math.abs(toNumber(truth)) || 1;
  return Math.abs(toNumber(add(value, negate(truth)))) <= share * scale * (1 + 1e-12);
}

function gcd(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}
