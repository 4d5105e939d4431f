// What verl and TRL really wrote (tests/fixtures/verl/README.md tells how it was caught), read by our parsers.

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { classifyExit } from "../../src/agent/attempt/exit-causes.js";
import { diagnose } from "../../src/domain/diagnosis.js";
import { packagePath } from "../../src/package-root.js";
import { scoresOfMainEval } from "../../src/verl/generation.js";
import { createConsoleReader, type ConsoleFinding, type ConsolePoint } from "../../src/verl/output/console-lines.js";
import { readFileLine } from "../../src/verl/output/file-lines.js";
import { createTrlReader } from "../../src/verl/output/trl-lines.js";

const read = (run: string, file: string): string => readFileSync(packagePath("tests", "fixtures", "verl", run, file), "utf8");
const key = ({ step, name }: ConsolePoint): string => `${step} ${name}`;

/** Findings of a text that comes in pieces of `size` characters. */
function findingsOf(text: string, size = 4_096): ConsoleFinding[] {
  const reader = createConsoleReader();
  const found: ConsoleFinding[] = [];
  for (let at = 0; at < text.length; at += size) found.push(...reader.push(text.slice(at, at + size)));
  return [...found, ...reader.end()];
}
const pointsOf = (findings: readonly ConsoleFinding[]): ConsolePoint[] => findings.flatMap((found) => (found.kind === "points" ? found.points : []));
const stepsOf = (points: readonly ConsolePoint[], name: string): number[] => points.filter((point) => point.name === name).map(({ step }) => step);
const seriesOf = (points: readonly ConsolePoint[], name: string): number[] => points.filter((point) => point.name === name).map(({ value }) => value);
const fileOf = (run: string): ConsolePoint[] => read(run, "metrics.jsonl").trimEnd().split("\n").flatMap((line) => readFileLine(line)!.points);
const numbered = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("runs of verl's SFT trainer", () => {
  const RUNS = [
    { run: "0.7.1-sft", steps: numbered(1, 10), validated: [4, 8, 10] },
    { run: "0.7.1-sft-two-ranks", steps: numbered(1, 10), validated: [4, 8, 10] },
    { run: "0.7.1-lora", steps: numbered(1, 6), validated: [] },
    { run: "0.7.1-resumed", steps: numbered(4, 10), validated: [] },
    { run: "0.9.1-sft", steps: numbered(1, 10), validated: [4, 8, 10] },
    { run: "0.9.1-resumed", steps: numbered(5, 10), validated: [8, 10] },
    { run: "0.9.1-lora-two-ranks", steps: numbered(1, 4), validated: [] },
  ];

  test.each(RUNS)("$run: every step has its loss, validations stand at their step, and the total is known", ({ run, steps, validated }) => {
    const findings = findingsOf(read(run, "stdout.txt"));
    const points = pointsOf(findings);
    expect(stepsOf(points, "train/loss")).toEqual(steps);
    expect(stepsOf(points, "val/loss")).toEqual(validated);
    expect(findings.find(({ kind }) => kind === "total")).toEqual({ kind: "total", steps: steps.at(-1) });
    for (const { value } of points) expect(Number.isFinite(value)).toBe(true);
  });

  test.each(RUNS)("$run: the console and the file say the same, point for point", ({ run }) => {
    const console = new Map(pointsOf(findingsOf(read(run, "stdout.txt"))).map((point) => [key(point), point.value]));
    const file = new Map(fileOf(run).map((point) => [key(point), point.value]));
    expect(console).toEqual(file);
  });

  test.each(RUNS)("$run: standard error between the lines, or text in pieces of any size, changes nothing", ({ run }) => {
    const expected = pointsOf(findingsOf(read(run, "stdout.txt")));
    for (const size of [1, 7, 1_000]) expect(pointsOf(findingsOf(read(run, "stdout.txt"), size))).toEqual(expected);
    // Progress bars leave no line end: whatever of standard error stands before a line of metrics, the line is found.
    const errors = read(run, "stderr.txt").split("\n");
    const merged = read(run, "stdout.txt").split("\n").map((line, index) => `${errors[index % errors.length]!.replaceAll("\n", "")}${line}`).join("\n");
    expect(pointsOf(findingsOf(merged))).toEqual(expected);
  });

  test("the dump of the configuration, thousands of characters in one line, is no finding", () => {
    const dump = read("0.7.1-sft", "stdout.txt").split("\n").find((line) => line.startsWith("{'model'"))!;
    expect(dump.length).toBeGreaterThan(4_000);
    expect(findingsOf(`${dump}\n`)).toEqual([]);
  });

  test("a run that was killed keeps every step up to its end", () => {
    const points = pointsOf(findingsOf(read("0.7.1-killed", "stdout.txt")));
    const steps = stepsOf(points, "train/loss");
    expect(steps.slice(0, 4)).toEqual([1, 2, 3, 4]);
    expect(new Set(steps).size).toBe(steps.length);
  });

  test("going on from step 3, the steps after it give the losses of the run that was never stopped", () => {
    const [whole, resumed] = ["0.7.1-killed", "0.7.1-resumed"].map((run) => new Map(pointsOf(findingsOf(read(run, "stdout.txt"))).filter(({ name }) => name === "train/loss").map(({ step, value }) => [step, value])));
    expect(resumed!.get(4)).toBeCloseTo(whole!.get(4)!, 1);
    expect(whole!.has(4)).toBe(true);
  });

  test("losses that are no numbers arrive as such, though verl's file has null in their place, and the skipped steps are told", () => {
    const findings = findingsOf(read("0.7.1-nan", "stdout.txt"));
    expect(seriesOf(pointsOf(findings), "train/loss")).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
    expect(findings.filter(({ kind }) => kind === "non-finite-gradient").length).toBeGreaterThanOrEqual(4);
    expect(read("0.7.1-nan", "metrics.jsonl")).toContain("\"train/loss\":null");
    expect(seriesOf(fileOf("0.7.1-nan"), "train/loss")).toEqual([Number.NaN, Number.NaN, Number.NaN, Number.NaN]);
  });
});

describe("runs of TRL's DPO trainer", () => {
  const pointsOfTrl = (run: string, from: number): ConsolePoint[] => {
    const reader = createTrlReader(from);
    return pointsOf(read(run, "stdout.txt").split(/\r\n|\n|\r/).flatMap((line) => reader.line(line)));
  };

  test("steps are counted from the lines, validations belong to the step before them, the summary is no step", () => {
    const points = pointsOfTrl("trl-0.28-dpo", 0);
    expect(stepsOf(points, "train/loss")).toEqual(numbered(1, 7));
    expect(stepsOf(points, "val/loss")).toEqual([3, 6]);
    expect(seriesOf(points, "train/loss")[0]).toBeCloseTo(Math.log(2), 3); // policy and reference are still the same
    expect(seriesOf(points, "train/rewards/accuracies").at(-1)).toBe(1);
  });

  test("a resumed run goes on counting, and its losses are those of the run that was never stopped", () => {
    const whole = pointsOfTrl("trl-0.28-dpo", 0);
    const resumed = pointsOfTrl("trl-0.28-dpo-resumed", 3);
    expect(stepsOf(resumed, "train/loss")).toEqual([4, 5, 6, 7]);
    expect(seriesOf(resumed, "train/loss")).toEqual(seriesOf(whole, "train/loss").slice(3));
  });
});

test.each(["0.7.1-main-eval", "0.9.1-main-eval"])("%s: the score is found in what main_eval prints", (run) => {
  expect(scoresOfMainEval(read(run, "stdout.txt"))).toEqual({ reports: 0.75 });
});

describe("runs that failed", () => {
  const FAILURES = [
    { run: "0.7.1-no-model", code: "EXIT_NONZERO", cause: "MODEL_ACCESS" },
    { run: "0.7.1-other-world-size", code: "FILE_NOT_FOUND", cause: "CHECKPOINT_MISMATCH" },
    { run: "0.7.1-refused-loader-state", code: "EXIT_NONZERO", cause: "CHECKPOINT_MISMATCH" },
  ];
  const tailOf = (run: string): string[] => read(run, "stderr.txt").trimEnd().split("\n").slice(-150);

  test.each(FAILURES)("$run: its cause is found in what it wrote", ({ run, code, cause }) => {
    const failure = classifyExit(1, tailOf(run).slice(-100));
    expect(failure.code).toBe(code);
    expect(diagnose({ status: "FAILED", failure, logTail: tailOf(run), metricsTail: {} }).cause).toBe(cause);
  });

  test("where no cause is known, the message is the trainer's own and not that of torchrun", () => {
    expect(classifyExit(1, tailOf("0.7.1-wrong-type"))).toMatchObject({ code: "EXIT_NONZERO", message: "The trainer ended with TypeError: unsupported operand type(s) for //: 'str' and 'int'" });
  });
});
