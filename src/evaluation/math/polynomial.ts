// Polynomials with rational coefficients over named atoms (x, pi, sqrt(3), sin(x) …), always expanded: equal polynomials have equal terms.
//   P1. An atom that is the square root of a whole number never has a power above 1: its square is that number.
//   P2. What would need more than MOST_TERMS terms is refused, so that no answer can keep the scorer busy.

import { add, equal, isZero, multiply, negate, ONE, rational, type Rational } from "./rational.js";

/** Atom → power, by name; "" is the constant term. */
export interface Term { readonly powers: ReadonlyMap<string, number>; readonly coefficient: Rational }
/** Key of the powers → term. No coefficient is 0. */
export type Polynomial = ReadonlyMap<string, Term>;

export const MOST_TERMS = 300;
const MOST_POWER = 60;

/** The expression is beyond what is compared. */
export class TooComplexError extends Error {}

export function constant(value: Rational): Polynomial {
  return collect([{ powers: new Map(), coefficient: value }]);
}

export function atom(name: string): Polynomial {
  return collect([{ powers: new Map([[name, 1]]), coefficient: ONE }]);
}

/** The square root of a whole number as an atom; the number is free of squares. */
export function root(of: bigint): Polynomial {
  return of === 1n ? constant(ONE) : atom(`${ROOT}${of}`);
}
const ROOT = "√";

export function sum(a: Polynomial, b: Polynomial): Polynomial {
  return collect([...a.values(), ...b.values()]);
}

export function minus(a: Polynomial): Polynomial {
  return collect([...a.values()].map(({ powers, coefficient }) => ({ powers, coefficient: negate(coefficient) })));
}

export function product(a: Polynomial, b: Polynomial): Polynomial {
  if (a.size * b.size > MOST_TERMS * 10) throw new TooComplexError("too many terms");
  return collect([...a.values()].flatMap((left) => [...b.values()].map((right) => times(left, right))));
}

/** `exponent` is whole and not below 0. */
export function power(base: Polynomial, exponent: number): Polynomial {
  if (exponent > MOST_POWER) throw new TooComplexError("too high a power");
  let result = constant(ONE);
  for (let i = 0; i < exponent; i++) result = product(result, base);
  return result;
}

export function samePolynomial(a: Polynomial, b: Polynomial): boolean {
  return a.size === b.size && [...a].every(([key, { coefficient }]) => b.has(key) && equal(coefficient, b.get(key)!.coefficient));
}

/** The value of a polynomial without atoms; null when it has any. */
export function constantOf(polynomial: Polynomial): Rational | null {
  if (polynomial.size === 0) return rational(0n);
  return polynomial.size === 1 && polynomial.has("") ? polynomial.get("")!.coefficient : null;
}

/** As text, the same for equal polynomials: the name of an atom made of one. */
export function nameOf(polynomial: Polynomial): string {
  return [...polynomial].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { coefficient }]) => `${coefficient.num}/${coefficient.den}${key === "" ? "" : `·${key}`}`).join("+") || "0";
}

/** Its value with roots and pi worked out; null when another atom takes part. */
export function numberOf(polynomial: Polynomial): number | null {
  let total = 0;
  for (const { powers, coefficient } of polynomial.values()) {
    let value = Number(coefficient.num) / Number(coefficient.den);
    for (const [name, exponent] of powers) {
      const base = name === "pi" ? Math.PI : name === "e" ? Math.E : name.startsWith(ROOT) ? Math.sqrt(Number(name.slice(1))) : null;
      if (base === null) return null;
      value *= base ** exponent;
    }
    total += value;
  }
  return Number.isFinite(total) ? total : null;
}

function times(a: Term, b: Term): Term {
  let coefficient = multiply(a.coefficient, b.coefficient);
  const powers = new Map(a.powers);
  for (const [name, exponent] of b.powers) powers.set(name, (powers.get(name) ?? 0) + exponent);
  const roots: bigint[] = [];
  for (const [name, exponent] of [...powers]) {
    if (exponent > MOST_POWER) throw new TooComplexError("too high a power");
    if (!name.startsWith(ROOT)) continue;
    const number = BigInt(name.slice(ROOT.length));
    powers.delete(name); // P1
    coefficient = multiply(coefficient, rational(number ** BigInt(Math.floor(exponent / 2))));
    if (exponent % 2 === 1) roots.push(number);
  }
  let under = 1n;
  for (const number of roots) { // √6·√2 is 2√3
    const shared = gcd(under, number);
    coefficient = multiply(coefficient, rational(shared));
    under = (under / shared) * (number / shared);
  }
  if (under !== 1n) powers.set(`${ROOT}${under}`, 1);
  return { powers, coefficient };
}

function gcd(a: bigint, b: bigint): bigint {
  while (b !== 0n) [a, b] = [b, a % b];
  return a;
}

function collect(terms: readonly Term[]): Polynomial {
  const collected = new Map<string, Term>();
  for (const term of terms) {
    const key = [...term.powers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, exponent]) => (exponent === 1 ? name : `${name}^${exponent}`)).join("·");
    const before = collected.get(key);
    collected.set(key, before === undefined ? term : { powers: term.powers, coefficient: add(before.coefficient, term.coefficient) });
  }
  for (const [key, { coefficient }] of collected) if (isZero(coefficient)) collected.delete(key);
  if (collected.size > MOST_TERMS) throw new TooComplexError("too many terms");
  return collected;
}
