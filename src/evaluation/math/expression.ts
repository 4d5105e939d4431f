// Reads a formula (plain text after plain-formula.ts) as a quotient of two polynomials, the normal form in which formulas are compared.
//   E1. a/b = c/d when a·d = c·b. So 1/√2 equals √2/2, and (x²−1)/(x−1) equals x+1.
//   E2. What has no normal form here (a power that is no whole number, a root of a sum, sin, log …) becomes an atom named after its own normal form.
//   E3. It throws nothing but FormulaError and TooComplexError.
// It knows no identities of sines, logarithms or roots of sums, and no calculus.

import { atom, constant, constantOf, minus, nameOf, power, product, root, samePolynomial, sum, TooComplexError, type Polynomial } from "./polynomial.js";
import { inverse, isZero, ONE, parseDecimal, rational, type Rational } from "./rational.js";

export interface Quotient { readonly top: Polynomial; readonly bottom: Polynomial }

/** The text is no formula. */
export class FormulaError extends Error {}

const FUNCTIONS = ["arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp"] as const;
const NAMED = ["pi", "infty", "alpha", "beta", "gamma", "theta", "lambda", "omega", "phi", "mu", "sigma"] as const;
const MOST_DEPTH = 60;
/** Longest formula, in UTF-16 units. */
const MOST_LENGTH = 1_000;

/** The normal form. Names of several letters are products of letters, but for the functions and names above. */
export function readFormula(text: string): Quotient {
  if (text.length > MOST_LENGTH) throw new TooComplexError("too long");
  const tokens = tokensOf(text);
  let at = 0;
  let depth = 0;

  const peek = (): string | undefined => tokens[at];
  const expect = (wanted: string): void => {
    if (tokens[at++] !== wanted) throw new FormulaError(`${wanted} is missing`);
  };
  const expression = (): Quotient => {
    if (++depth > MOST_DEPTH) throw new TooComplexError("nested too deep");
    let left = signed(term);
    while (peek() === "+" || peek() === "-") left = tokens[at++] === "+" ? plus(left, signed(term)) : plus(left, negated(signed(term)));
    depth--;
    return left;
  };
  const signed = (inner: () => Quotient): Quotient => {
    if (peek() === "-") return at++, negated(signed(inner));
    if (peek() === "+") return at++, signed(inner);
    return inner();
  };
  const term = (): Quotient => {
    let left = factor();
    for (;;) {
      if (peek() === "*") left = (at++, times(left, signed(factor)));
      else if (peek() === "/") left = (at++, divided(left, signed(factor)));
      else if (peek() !== undefined && startsFactor(peek()!)) left = times(left, factor());
      else return left;
    }
  };
  const factor = (): Quotient => {
    let base = primary();
    if (peek() === "!") base = (at++, factorial(base));
    if (peek() !== "^") return base;
    at++;
    return raised(base, signed(factor));
  };
  const primary = (): Quotient => {
    const token = tokens[at++];
    if (token === undefined) throw new FormulaError("it ends too early");
    if (token === "(") {
      const inner = expression();
      expect(")");
      return inner;
    }
    if (token === "|") {
      const inner = expression();
      expect("|");
      return opaque("abs", inner);
    }
    if (token === "sqrt") return squareRoot(primary());
    if ((FUNCTIONS as readonly string[]).includes(token)) {
      const exponent = peek() === "^" ? (at++, factor()) : null;
      const value = opaque(token, peek() === "(" ? primary() : term());
      return exponent === null ? value : raised(value, exponent);
    }
    const number = /^[\d.]/.test(token) ? parseDecimal(token) : null;
    if (number !== null) return { top: constant(number), bottom: constant(ONE) };
    if (/^[A-Za-z_]/.test(token)) return { top: atom(token), bottom: constant(ONE) };
    throw new FormulaError(`${token} is out of place`);
  };

  if (tokens.length === 0) throw new FormulaError("it is empty");
  const whole = expression();
  if (at < tokens.length) throw new FormulaError(`${tokens[at]!} is out of place`);
  return whole;
}

/** E1. */
export function sameFormula(a: Quotient, b: Quotient): boolean {
  return samePolynomial(product(a.top, b.bottom), product(b.top, a.bottom));
}

function tokensOf(text: string): string[] {
  const words = [...FUNCTIONS, ...NAMED, "sqrt"].sort((a, b) => b.length - a.length).join("|");
  const pattern = new RegExp(`\\s+|(${words}|\\d+\\.?\\d*|\\.\\d+|[A-Za-z](?:_[A-Za-z0-9]+)?|[-+*/^()!|])`, "y");
  const tokens: string[] = [];
  while (pattern.lastIndex < text.length) {
    const from = pattern.lastIndex;
    const match = pattern.exec(text);
    if (match === null) throw new FormulaError(`${text[from]!} cannot be read`);
    if (match[1] !== undefined) tokens.push(match[1]);
  }
  return tokens;
}

function startsFactor(token: string): boolean {
  return token === "(" || /^[A-Za-z\d.]/.test(token);
}

function plus(a: Quotient, b: Quotient): Quotient {
  return { top: sum(product(a.top, b.bottom), product(b.top, a.bottom)), bottom: product(a.bottom, b.bottom) };
}

function negated(a: Quotient): Quotient {
  return { top: minus(a.top), bottom: a.bottom };
}

function times(a: Quotient, b: Quotient): Quotient {
  return { top: product(a.top, b.top), bottom: product(a.bottom, b.bottom) };
}

function divided(a: Quotient, b: Quotient): Quotient {
  if (b.top.size === 0) throw new FormulaError("it divides by zero");
  return times(a, { top: b.bottom, bottom: b.top });
}

function raised(base: Quotient, exponent: Quotient): Quotient {
  const value = constantIn(exponent);
  if (value === null) return opaque("power", base, exponent);
  if (value.den === 2n) return raised(squareRoot(base), { top: constant(rational(value.num)), bottom: constant(ONE) });
  if (value.den !== 1n) return opaque("power", base, exponent);
  const times = Number(value.num < 0n ? -value.num : value.num);
  if (value.num < 0n && base.top.size === 0) throw new FormulaError("it divides by zero");
  const [top, bottom] = [power(base.top, times), power(base.bottom, times)];
  return value.num < 0n ? { top: bottom, bottom: top } : { top, bottom };
}

function squareRoot(of: Quotient): Quotient {
  const value = constantIn(of);
  if (value === null || value.num < 0n) return opaque("sqrt", of);
  const [outside, under] = withoutSquares(value.num * value.den); // √(n/d) = √(n·d)/d
  return { top: product(constant(rational(outside)), root(under)), bottom: constant(rational(value.den)) };
}

/** n = outside² · under. Only squares of factors up to 10⁴ are found: more is no homework. */
function withoutSquares(n: bigint): [outside: bigint, under: bigint] {
  if (n === 0n) return [0n, 1n];
  let [outside, under] = [1n, n];
  for (let factor = 2n; factor <= 10_000n && factor * factor <= under; factor++) {
    while (under % (factor * factor) === 0n) {
      under /= factor * factor;
      outside *= factor;
    }
  }
  return [outside, under];
}

function factorial(of: Quotient): Quotient {
  const value = constantIn(of);
  if (value === null || value.den !== 1n || value.num < 0n || value.num > 200n) return opaque("factorial", of);
  let result = 1n;
  for (let i = 2n; i <= value.num; i++) result *= i;
  return { top: constant(rational(result)), bottom: constant(ONE) };
}

/** The value of a quotient without atoms. */
export function constantIn({ top, bottom }: Quotient): Rational | null {
  const [over, under] = [constantOf(top), constantOf(bottom)];
  return over === null || under === null || isZero(under) ? null : rational(over.num * inverse(under).num, over.den * inverse(under).den);
}

/** E2. The same function of equal arguments is the same atom where the arguments' quotients are written alike. */
function opaque(name: string, ...of: readonly Quotient[]): Quotient {
  const texts = of.map((one) => {
    const value = constantIn(one);
    return value === null ? `${nameOf(one.top)}:${nameOf(one.bottom)}` : `${value.num}/${value.den}`;
  });
  return { top: atom(`${name}[${texts.join(",")}]`), bottom: constant(ONE) };
}
