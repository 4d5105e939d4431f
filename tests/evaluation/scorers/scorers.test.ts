// The scorers of ours, each with what it must accept and what it must not.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { finalAnswer, lastBoxed } from "../../../src/evaluation/scorers/final-answer.js";
import { letterOf, scoreChoice } from "../../../src/evaluation/scorers/choice.js";
import { sameValue, scoreMath } from "../../../src/evaluation/scorers/math.js";
import { scoreNumeric } from "../../../src/evaluation/scorers/numeric.js";
import { scoreContains, scoreExact } from "../../../src/evaluation/scorers/text.js";
import { wholeNumber } from "../../../src/evaluation/scorers/written-number.js";

describe("exact and contains", () => {
  test.each([
    [" Paris\n", "Paris", false, 1], ["paris", "Paris", false, 0], ["paris", "Paris", true, 1], ["Paris.", "Paris", false, 0], ["caf\u00e9", "cafe\u0301", false, 1], ["", "Paris", false, 0],
  ])("exact %j against %j (ignoring case: %s) is %i", (response, truth, ignoreCase, score) => {
    expect(scoreExact(response, truth, ignoreCase).score).toBe(score);
  });

  test.each([
    ["It is Paris, I think.", "Paris", false, 1], ["Parisians know", "Paris", false, 0], ["it is 15", "5", false, 0], ["it is 5.", "5", false, 1], ["it is 5.2", "5", false, 0], ["it is 1,500", "500", false, 0],
    ["PARIS", "Paris", true, 1], ["首都は東京です", "東京", false, 1], ["anything", "", false, 0], ["C++ it is", "C++", false, 1], ["unparis paris", "paris", false, 1],
  ])("%j contains %j (ignoring case: %s): %i", (response, truth, ignoreCase, score) => {
    expect(scoreContains(response, truth, ignoreCase).score).toBe(score);
  });
});

describe("where the answer stands", () => {
  test.each([
    ["so \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"], ["\\boxed{1} no, \\boxed{2}", "2"], ["\\boxed{a{b}c}", "a{b}c"], ["\\fbox{7}", "7"], ["\\boxed 5 done", "5"], ["\\boxed{7", null], ["\\boxed{\\{1,2\\}}", "\\{1,2\\}"], ["none", null],
  ])("in %j the box holds %j", (text, box) => {
    expect(lastBoxed(text)).toBe(box);
  });

  test.each([
    ["work\n#### 42", "42", "hashes"], ["The answer is 42.", "42.", "phrase"], ["**Answer:** 42", "42", "phrase"], ["Answer:\n\n42", "42", "phrase"], ["The answer is 1\nThe answer is 2", "2", "phrase"], ["#### 1\n\\boxed{2}", "2", "boxed"],
  ])("%j marks %j", (text, answer, from) => {
    expect(finalAnswer(text)).toEqual({ text: answer, from });
  });

  test("never throws and never takes long, whatever the response", () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom("\\", "{", "}", "boxed", "frac", "sqrt", "answer is", "#", "1", ",", "(", "\n", "^", "_", "$", "x"), maxLength: 200 }), (text) => {
      scoreMath(text, "1", 0);
      scoreNumeric(text, "1", 0);
      scoreChoice(text, "A");
    }), { numRuns: 300 });
  });
});

describe("numeric", () => {
  test.each([
    ["#### 1,234", "1234", 1], ["it makes 12,34,567 rupees", "1234567", 1], ["$1,234.50", "1234.5", 1], ["So 3 + 4 = 7", "7", 1], ["The answer is 5 apples, 2 more than before.", "5", 1], ["The answer is 3 + 4 = 7", "7", 1],
    ["1.5e3", "1500", 1], ["1.5 × 10^3", "1500", 1], ["2 \\times 10^{-3}", "0.002", 1], ["3/4", "0.75", 1], ["1 3/4", "1.75", 1], ["\\boxed{\\frac{3}{4}}", "0.75", 1], ["−7", "-7", 1], ["from 3-7 it is 5-3", "3", 1],
    ["50%", "0.5", 1], ["50%", "50", 1], ["50", "50%", 1], ["50%", "5", 0], ["0.333", "1/3", 0], ["42", "43", 0], ["no number", "3", 0], ["GPT4 says 3", "3", 1], ["0.30", "0.3", 1], ["", "3", 0], ["3", "three", 0], ["1'234", "1234", 1],
  ])("%j against %j is %i", (response, truth, score) => {
    expect(scoreNumeric(response, truth, 0).score).toBe(score);
  });

  test("the tolerance is a share of the ground truth, and 1 stands for a truth of 0", () => {
    expect([scoreNumeric("0.333", "1/3", 0.01).score, scoreNumeric("101", "100", 0.01).score, scoreNumeric("101.1", "100", 0.01).score, scoreNumeric("0.005", "0", 0.01).score]).toEqual([1, 1, 0, 1]);
  });

  test("any whole number is found however its thousands are separated", () => {
    fc.assert(fc.property(fc.integer({ min: -2_000_000_000, max: 2_000_000_000 }), (n) => {
      for (const text of [String(n), n.toLocaleString("en-US"), `the answer is ${n.toLocaleString("en-US")}.`, `#### ${n}`]) expect(scoreNumeric(text, String(n), 0).score, text).toBe(1);
      expect(scoreNumeric(String(n + 1), String(n), 0).score).toBe(0);
    }));
  });

  test("a decimal is read as the exact fraction that it is", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 10 ** 9 }), fc.integer({ min: 0, max: 9 }), (n, digits) => {
      const text = (n / 10 ** digits).toFixed(digits);
      const { num, den } = wholeNumber(text)!.value;
      expect(num * BigInt(10 ** digits)).toBe(BigInt(n) * den);
    }));
  });
});

describe("math", () => {
  test.each([
    ["\\boxed{\\frac{1}{2}}", "0.5"], ["\\boxed{\\dfrac12}", "\\frac{1}{2}"], ["\\boxed{\\tfrac{1}{2}}", "1/2"], ["\\boxed{1\\frac{1}{2}}", "\\frac{3}{2}"], ["\\boxed{-\\frac{1}{2}}", "-0.5"], ["\\boxed{10,000}", "10000"], ["\\boxed{10{,}000}", "10000"],
    ["\\boxed{\\frac{1}{\\sqrt{2}}}", "\\frac{\\sqrt{2}}{2}"], ["\\boxed{2\\sqrt{3}}", "\\sqrt{12}"], ["\\boxed{x^2+2x+1}", "(x+1)^2"], ["\\boxed{(x-1)(x+1)}", "x^2-1"], ["\\boxed{2x+3y}", "3y + 2x"], ["\\boxed{\\frac{x^2-1}{x-1}}", "x+1"],
    ["\\boxed{12\\text{ cm}}", "12"], ["\\boxed{12\\,\\mathrm{cm}^2}", "12"], ["\\boxed{90^\\circ}", "90"], ["\\boxed{\\$5}", "5"], ["\\boxed{50\\%}", "50"], ["\\boxed{\\text{Monday}}", "monday"], ["\\boxed{\\text{(B)}}", "B"],
    ["\\boxed{(1, 2)}", "(1,2)"], ["\\boxed{\\left(\\frac12, 3\\right)}", "(0.5, 3)"], ["\\boxed{\\{1,2,3\\}}", "\\{3,2,1\\}"], ["\\boxed{1, -2}", "-2, 1"], ["\\boxed{[0,1)}", "[0, 1)"], ["\\boxed{x=5}", "5"], ["\\boxed{5}", "x = 5"], ["\\boxed{y = 2x+1}", "y=1+2x"],
    ["\\boxed{2\\pi}", "2 \\cdot \\pi"], ["\\boxed{\\pi r^2}", "r^2\\pi"], ["\\boxed{3!}", "6"], ["\\boxed{2^{10}}", "1024"], ["\\boxed{x^{-1}}", "\\frac{1}{x}"], ["\\boxed{\\sin(x)^2}", "\\sin^2(x)"], ["\\boxed{\\sqrt[3]{8}}", "\\sqrt[3]{8}"],
    ["work\n#### 42", "42"], ["The answer is $x+1$, because it fits.", "1+x"], ["The answer is 3.5.", "7/2"], ["so there are 42 of them", "42"], ["\\frac{3}{4}", "0.75"], ["\\boxed{\\infty}", "\\infty"], ["\\boxed{(-\\infty, 3]}", "(-\\infty,3]"], ["\\boxed{4}", "We get \\boxed{4}"],
  ])("%s is %s", (response, truth) => {
    expect(scoreMath(response, truth, 0).score).toBe(1);
  });

  test.each([
    ["\\boxed{\\frac{1}{3}}", "0.333"], ["\\boxed{x+1}", "x+2"], ["\\boxed{(1,2)}", "(2,1)"], ["\\boxed{[0,1]}", "[0,1)"], ["\\boxed{1,2}", "1,2,3"], ["\\boxed{1,2}", "12"], ["\\boxed{12}", "1,2"], ["\\boxed{\\sqrt{2}}", "2"], ["\\boxed{x^2}", "x^3"], ["\\boxed{-5}", "5"],
    ["\\boxed{y=5}", "x=5"], ["\\boxed{\\sin(x)}", "\\cos(x)"], ["\\boxed{\\text{red}}", "blue"], ["\\boxed{}", "5"], ["nothing", "5"], ["\\boxed{1/0}", "5"], ["\\boxed{X}", "x"], ["", "5"],
  ])("%s is not %s", (response, truth) => {
    expect(scoreMath(response, truth, 0).score).toBe(0);
  });

  test("a tolerance also compares values with roots and pi", () => {
    expect([scoreMath("\\boxed{3.1416}", "\\pi", 0).score, scoreMath("\\boxed{3.1416}", "\\pi", 1e-4).score, scoreMath("\\boxed{1.41}", "\\sqrt{2}", 1e-2).score]).toEqual([0, 1, 1]);
  });

  const polynomial = fc.array(fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 2 })), { minLength: 1, maxLength: 5 });
  const written = (terms: readonly (readonly [number, number, number])[]) => terms.map(([c, x, y]) => `(${c})*x^${x}*y^${y}`).join("+");

  test("the order of terms and factors makes no difference", () => {
    fc.assert(fc.property(polynomial, polynomial, (a, b) => {
      expect(sameValue(`(${written(a)})(${written(b)})`, `(${written([...b].reverse())})*(${written([...a].reverse())})`, 0)).toBe(true);
      expect(sameValue(`(${written(a)})(${written(b)})+1`, `(${written(a)})(${written(b)})`, 0)).toBe(false);
    }), { numRuns: 100 });
  });

  test("is the same in both directions", () => {
    const answers = ["\\frac{1}{2}", "0.5", "50\\%", "x=5", "5", "(1,2)", "\\{1,2\\}", "2,1", "x+1", "\\sqrt{4}", "2", "[1,2]"];
    for (const a of answers) for (const b of answers) expect(sameValue(a, b, 0), `${a} and ${b}`).toBe(sameValue(b, a, 0));
  });
});

describe("choice", () => {
  test.each([
    ["B", "B"], ["(B)", "B"], ["b)", "B"], ["B.", "B"], ["(b) Paris", "B"], ["B) Paris", "B"], ["B. Paris is the capital.", "B"], ["Answer: B", "B"], ["The answer is (C).", "C"], ["The correct answer is **D**", "D"], ["\\boxed{B}", "B"], ["\\boxed{\\text{B}}", "B"],
    ["I first thought (A), but it is (C)", "C"], ["A cat is an animal, so D", "D"], ["#### E", "E"], ["The answer is option B", "B"], ["The answer is Paris", null], ["none of these", null], ["", null], ["\\boxed{A, C}", null], ["Answer: A", "A"], ["A", "A"], ["I think so", null], ["Final choice: $\\boxed{\\mathrm{A}}$", "A"],
  ])("%j chooses %j", (text, letter) => {
    expect(letterOf(text)).toBe(letter);
  });

  test("the letters decide, not how they are written", () => {
    expect([scoreChoice("(b)", "B").score, scoreChoice("The answer is C", "B").score, scoreChoice("no idea", "").score]).toEqual([1, 0, 0]);
  });
});
