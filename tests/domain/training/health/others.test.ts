import { expect, test } from "vitest";
import { detect } from "../../../../src/domain/training/health/detect.js";
import { newHealthState } from "../../../../src/domain/training/health/health-state.js";
import { detectInLog, judgeLogLine, MEMORY_SIGNATURES } from "../../../../src/domain/training/health/log-lines.js";
import { judgeSilence, silenceLimitMs } from "../../../../src/domain/training/health/silence.js";
import { MEMORY_CAUSES } from "../../../../src/domain/training/health/thresholds.js";
import { factsOf } from "./curves.js";

const MINUTE = 60_000;
const stepsAt = (times: readonly number[], from = 1) => times.map((at, index) => ({ name: "perf/mfu", step: from + index, at, value: 1 }));
const everyMs = (ms: number, count: number) => detect(newHealthState(), stepsAt(Array.from({ length: count }, (_, index) => index * ms)), factsOf()).state;

test("silence of ten median steps is told, again when three times as long, and never twice", () => {
  const state = everyMs(MINUTE, 20); // the last at 19 minutes
  expect(judgeSilence(state, 28 * MINUTE)).toEqual({ state, anomalies: [] });
  const first = judgeSilence(state, 29 * MINUTE);
  expect(first.anomalies).toEqual([expect.objectContaining({
    key: "1:NO_PROGRESS:silence:20:MEDIUM", kind: "NO_PROGRESS", severity: "MEDIUM", step: 20, metric: null, value: 10 * MINUTE, threshold: 10 * MINUTE,
    message: "Nothing has been heard of the run for 600 s since step 20: more than 600 s, where a step takes 60 s (median).",
  })]);
  expect(judgeSilence(first.state, 35 * MINUTE).anomalies).toEqual([]);
  const second = judgeSilence(first.state, 49 * MINUTE);
  expect(second.anomalies.map(({ severity }) => severity)).toEqual(["HIGH"]);
  expect(judgeSilence(second.state, 500 * MINUTE).anomalies).toEqual([]);
});

test("the next step ends a silence, and the next silence is told again", () => {
  const told = judgeSilence(everyMs(MINUTE, 20), 30 * MINUTE).state;
  const going = detect(told, stepsAt([31 * MINUTE], 21), factsOf()).state;
  expect(judgeSilence(going, 32 * MINUTE).anomalies).toEqual([]);
  expect(judgeSilence(going, 31 * MINUTE + silenceLimitMs(going.pace)!).anomalies).toHaveLength(1);
});

test("quick steps have five minutes, and a long validation among them sets a longer measure", () => {
  expect(silenceLimitMs(everyMs(1_000, 20).pace)).toBe(5 * MINUTE);
  const validated = detect(newHealthState(), stepsAt([0, 1, 2, 3, 4, 5, 6, 14, 15, 16].map((minutes) => minutes * MINUTE)), factsOf()).state;
  expect(silenceLimitMs(validated.pace)).toBe(16 * MINUTE);
});

test("before enough steps are known nothing is said, and a later sign of the same step counts as life", () => {
  expect(judgeSilence(newHealthState(), 1e15).anomalies).toEqual([]);
  expect(judgeSilence(everyMs(MINUTE, 5), 1e15).anomalies).toEqual([]);
  const validated = detect(everyMs(MINUTE, 20), [{ name: "val/loss", step: 20, at: 40 * MINUTE, value: 1 }], factsOf()).state;
  expect(judgeSilence(validated, 49 * MINUTE).anomalies).toEqual([]);
});

test("steps that are reported two at a time are counted as two", () => {
  const times = Array.from({ length: 12 }, (_, index) => ({ name: "train/loss", step: 2 * index, at: index * 4 * MINUTE, value: 1 + index }));
  expect(silenceLimitMs(detect(newHealthState(), times, factsOf("sft")).state.pace)).toBe(20 * MINUTE);
});

test.each([
  ["GPU_OUT_OF_MEMORY", "\u001b[36m(WorkerDict pid=41)\u001b[0m torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."],
  ["KV_CACHE_TOO_SMALL", "ValueError: No available memory for the cache blocks."],
  ["HOST_OUT_OF_MEMORY", "ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory."],
])("%s is seen in a line of the log", (cause, line) => {
  const sign = judgeLogLine(line)!;
  expect(sign).toMatchObject({ kind: "OUT_OF_MEMORY", severity: "HIGH", cause });
  expect(sign.message).not.toContain("\u001b");
});

test("other lines say nothing about memory, however long", () => {
  for (const line of ["step:1 - train/loss:5.9", "perf/max_memory_allocated_gb:70", "ModuleNotFoundError: No module named 'verl'", "", "x".repeat(1e6)]) expect(judgeLogLine(line)).toBeNull();
  expect(judgeLogLine(`CUDA out of memory ${"y".repeat(1e6)}`)!.message.length).toBeLessThan(400);
});

test("the signatures are those of the diagnosis, all of them present", () => {
  expect(MEMORY_SIGNATURES.map(({ cause }) => cause).sort()).toEqual([...MEMORY_CAUSES].sort());
  expect(judgeLogLine("ModuleNotFoundError: No module named 'x'", [{ cause: "OTHER", lines: [/ModuleNotFound/], suggestion: "Do." }])).toMatchObject({ cause: "OTHER", suggestion: "Do." });
});

test("a cause is told once per attempt, with the fields that help for its trainer", () => {
  const oom = "torch.OutOfMemoryError: CUDA out of memory.";
  const first = detectInLog(newHealthState(), [oom, oom, "std::bad_alloc"], factsOf());
  expect(first.anomalies.map(({ key }) => key)).toEqual(["1:OUT_OF_MEMORY:GPU_OUT_OF_MEMORY:-:HIGH", "1:OUT_OF_MEMORY:HOST_OUT_OF_MEMORY:-:HIGH"]);
  expect(first.anomalies[0]!.suggestion).toContain("rollout.memoryShare");
  expect(detectInLog(first.state, [oom], factsOf())).toEqual({ state: first.state, anomalies: [] });
  expect(detectInLog(first.state, [oom], factsOf("sft", { attempt: 2 })).anomalies[0]!.suggestion).toContain("maxLength");
  expect(detectInLog(first.state, [oom], factsOf("sft", { attempt: 0 })).anomalies).toEqual([]);
});
