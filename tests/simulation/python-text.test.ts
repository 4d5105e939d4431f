// Numbers and structures as Python prints them; the expected texts are Python's own.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Float, floatText, pprintLines, reprText } from "../../src/simulation/python-text.js";
import { readNumber } from "../../src/verl/output/console-lines.js";

test.each([
  [0, "0.0"], [-0, "-0.0"], [1, "1.0"], [1e-6, "1e-06"], [0.0001, "0.0001"], [0.00001, "1e-05"], [0.000123456, "0.000123456"], [1e15, "1000000000000000.0"], [1e16, "1e+16"], [1.5e300, "1.5e+300"],
  [123456789.125, "123456789.125"], [-2.5e-7, "-2.5e-07"], [Number.NaN, "nan"], [Infinity, "inf"], [-Infinity, "-inf"], [5.9375, "5.9375"], [3.8179168701171875, "3.8179168701171875"],
])("the float %d is %s", (value, text) => {
  expect(floatText(value)).toBe(text);
});

test("every float is read back as it was", () => {
  fc.assert(fc.property(fc.double(), (value) => {
    expect(readNumber(floatText(value))).toBe(value);
    expect(readNumber(reprText(new Float(value, "float64")))).toBe(value);
  }));
});

test("structures are Python's, and pprint breaks the long ones", () => {
  expect(reprText({ a: [1, new Float(1), true, null, "it's", 'a"b', new Float(0.5, "float64"), new Float(3, "int32")] })).toBe(`{'a': [1, 1.0, True, None, "it's", 'a"b', np.float64(0.5), np.int32(3)]}`);
  expect(pprintLines({ b: { second: "x".repeat(40), first: "y".repeat(40) }, a: 1 })).toEqual([
    "{'a': 1,", ` 'b': {'first': '${"y".repeat(40)}',`, `       'second': '${"x".repeat(40)}'}}`,
  ]);
});
