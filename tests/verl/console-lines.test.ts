// The console as verl writes it, whatever is in its way.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createConsoleReader, readConsoleLine, readNumber } from "../../src/verl/output/console-lines.js";

const valuesOf = (line: string) => Object.fromEntries(readConsoleLine(line).flatMap((found) => (found.kind === "points" ? found.points.map(({ name, value }) => [name, value]) : [])));

describe("verl's console", () => {
  test("a metrics line gives one point per key, at its step", () => {
    expect(readConsoleLine("step:1 - train/loss:5.9375 - train/lr:0.001 - train/total_tokens(B):0.0")).toEqual([
      { kind: "points", step: 1, points: [{ name: "train/loss", step: 1, value: 5.9375 }, { name: "train/lr", step: 1, value: 0.001 }, { name: "train/total_tokens(B)", step: 1, value: 0 }] },
    ]);
  });

  test("a line is found behind a progress bar that left no line end", () => {
    expect(valuesOf("Epoch 1/1:  12%|#2        | 1/8 [00:01<00:09]step:2 - train/loss:4.5")).toEqual({ "train/loss": 4.5 });
  });

  test("Ray's prefix and colours are no part of it", () => {
    expect(valuesOf("\u001b[36m(TaskRunner pid=6302)\u001b[0m step:3 - actor/pg_loss:-0.01 - perf/throughput:1e+03")).toEqual({ "actor/pg_loss": -0.01, "perf/throughput": 1000 });
  });

  test("a key may hold colons, slashes and at-signs: the last colon parts it from its value", () => {
    expect(valuesOf("step:4 - val-core/acme:math/v2/acc/mean@1:0.25")).toEqual({ "val-core/acme:math/v2/acc/mean@1": 0.25 });
  });

  test("values are Python's, with numpy's dress around them", () => {
    expect(["1", "-2.5", "1e-06", "True", "False", "nan", "inf", "-inf", "np.float64(0.5)", "np.int32(3)", "np.float64(nan)", "np.float64(-inf)"].map(readNumber))
      .toEqual([1, -2.5, 1e-6, 1, 0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.5, 3, Number.NaN, Number.NEGATIVE_INFINITY]);
    expect(["", "text", "[1, 2]", "np.array([1])", "1.2.3"].map(readNumber)).toEqual([null, null, null, null, null]);
  });

  test("totals of both trainers, a placement that will never come, and a skipped step are findings", () => {
    expect(readConsoleLine("(TaskRunner pid=1) Total training steps: 435")).toEqual([{ kind: "total", steps: 435 }]);
    expect(readConsoleLine("Total steps: 29, num_warmup_steps: 5")).toEqual([{ kind: "total", steps: 29 }]);
    expect(readConsoleLine("(autoscaler +29s) Error: No available node types can fulfill resource request {'GPU': 1.0, 'CPU': 3.0}.")).toMatchObject([{ kind: "unplaceable" }]);
    expect(readConsoleLine("WARN: grad_norm is not finite: nan")).toMatchObject([{ kind: "non-finite-gradient" }]);
  });

  test("however the text is cut into pieces, the findings are the same", () => {
    const key = fc.stringMatching(/^[a-z][a-z/@():]{0,10}[a-z]$/);
    const line = fc.record({ step: fc.nat(), items: fc.array(fc.tuple(key, fc.double({ noDefaultInfinity: false })), { minLength: 1, maxLength: 4 }) });
    fc.assert(fc.property(fc.array(line, { maxLength: 5 }), fc.array(fc.nat(40), { maxLength: 20 }), (lines, cuts) => {
      const python = (value: number) => (Number.isNaN(value) ? "nan" : value === Infinity ? "inf" : value === -Infinity ? "-inf" : Object.is(value, -0) ? "-0.0" : String(value));
      const text = lines.map(({ step, items }) => `noise\rstep:${step} - ${items.map(([name, value]) => `${name}:${python(value)}`).join(" - ")}\n`).join("");
      const whole = createConsoleReader();
      const expected = [...whole.push(text), ...whole.end()];
      expect(expected.map((found) => (found.kind === "points" ? found.points.map(({ name, value }) => [name, value]) : []))).toEqual(lines.map(({ items }) => items.map(([name, value]) => [name, value])));
      const pieces = createConsoleReader();
      const found = [];
      let at = 0;
      for (const cut of cuts) found.push(...pieces.push(text.slice(at, (at += cut))));
      expect([...found, ...pieces.push(text.slice(at)), ...pieces.end()]).toEqual(expected);
    }));
  });

  test("a line without end does not fill the memory, and the line after it is read", () => {
    const reader = createConsoleReader();
    for (let piece = 0; piece < 40; piece++) reader.push("x".repeat(65_536));
    expect(reader.push("\nstep:9 - a:1\n")).toMatchObject([{ kind: "points", step: 9 }]);
  });
});
