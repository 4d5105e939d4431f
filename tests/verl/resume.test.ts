// Which checkpoint a train stage goes on from.
import fc from "fast-check";
import { expect, test } from "vitest";
import { trainCommand } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "./launch.js";
import { chooseResume, runIdentity, type EarlierAttempt, type FoundCheckpoint, type ResumeInput } from "../../src/verl/resume.js";

const checkpoint = (step: number, changes: Partial<FoundCheckpoint> = {}): FoundCheckpoint => ({ step, path: `/run/global_step_${step}`, worldSize: 2, missing: [], ...changes });
const attempt = (fence: number, steps: readonly (number | FoundCheckpoint)[], changes: Partial<EarlierAttempt> = {}): EarlierAttempt =>
  ({ fence, sameRun: true, finishedStep: null, checkpoints: steps.map((step) => (typeof step === "number" ? checkpoint(step) : step)), ...changes });
const choose = (changes: Partial<ResumeInput>) => chooseResume({ mode: "auto", attempts: [], rollbacks: [], worldSize: 2, ...changes });

test("a first attempt starts from the model, and says nothing about it", () => {
  expect(choose({})).toEqual({ kind: "start", why: null });
});

test("the newest complete checkpoint of the newest attempt that left one is gone on from", () => {
  expect(choose({ attempts: [attempt(1, [2, 4, 9]), attempt(3, []), attempt(2, [5, 6, checkpoint(7, { missing: ["optim_world_size_2_rank_1.pt"] })])] })).toMatchObject({ kind: "resume", fence: 2, checkpoint: { step: 6 }, finished: false });
});

test("an attempt that had trained to the end has nothing left to train", () => {
  expect(choose({ attempts: [attempt(1, [2, 4], { finishedStep: 4 })] })).toMatchObject({ kind: "resume", checkpoint: { step: 4 }, finished: true });
});

test("what was trained to the end may be used by another number of ranks", () => {
  expect(choose({ attempts: [attempt(1, [4], { finishedStep: 4 })], worldSize: 8 })).toMatchObject({ kind: "resume", finished: true });
});

test("another world size is refused with what to do, never started over", () => {
  expect(choose({ attempts: [attempt(1, [4])], worldSize: 4 })).toMatchObject({ kind: "refuse", message: expect.stringContaining("saved by 2 ranks and this attempt has 4"), hint: expect.stringContaining("2 GPUs") });
});

test("attempts of other params, and resume: never, start from the model and say why", () => {
  expect(choose({ attempts: [attempt(1, [4], { sameRun: false })] })).toMatchObject({ kind: "start", why: expect.stringContaining("other params") });
  expect(choose({ mode: "never", attempts: [attempt(1, [4])] })).toMatchObject({ kind: "start", why: expect.stringContaining("never") });
  expect(choose({ attempts: [attempt(1, [])] })).toMatchObject({ kind: "start", why: expect.stringContaining("no earlier attempt left a complete checkpoint") });
});

test("resume: from holds for the first attempt; a retry goes on from its own", () => {
  const mode = { from: [checkpoint(100)], asked: "/other/global_step_100" };
  expect(choose({ mode })).toMatchObject({ kind: "resume", fence: null, checkpoint: { step: 100 } });
  expect(choose({ mode, attempts: [attempt(1, [120])] })).toMatchObject({ kind: "resume", fence: 1, checkpoint: { step: 120 } });
  expect(choose({ mode: { from: [], asked: "/other" } })).toMatchObject({ kind: "refuse" });
  expect(choose({ mode: { from: [checkpoint(3, { missing: ["a", "b", "c", "d"] })], asked: "/other" } })).toMatchObject({ kind: "refuse", message: expect.stringContaining("a, b, c and 1 more are missing") });
});

const anyAttempt = fc.record({
  fence: fc.integer({ min: 1, max: 6 }), sameRun: fc.boolean(), finishedStep: fc.constant(null),
  checkpoints: fc.uniqueArray(fc.record({ step: fc.integer({ min: 1, max: 50 }), path: fc.constant("/run"), worldSize: fc.constantFrom(null, 2, 4), missing: fc.constantFrom([], ["optim"]) }), { selector: ({ step }) => step, maxLength: 6 }),
});
const anyInput = fc.record({
  mode: fc.constantFrom("auto" as const, "never" as const), attempts: fc.uniqueArray(anyAttempt, { selector: ({ fence }) => fence, maxLength: 6 }), worldSize: fc.constantFrom(2, 4),
  rollbacks: fc.array(fc.record({ fence: fc.integer({ min: 1, max: 6 }), step: fc.integer({ min: 0, max: 50 }) }), { maxLength: 3 }),
});

test("nothing partial, of other params, of another world size or behind a rollback is ever gone on from", () => {
  fc.assert(fc.property(anyInput, (input) => {
    const choice = chooseResume(input);
    if (choice.kind !== "resume") return;
    const of = input.attempts.find(({ fence }) => fence === choice.fence)!;
    expect(choice.checkpoint.missing).toEqual([]);
    expect(of.sameRun).toBe(true);
    expect([null, input.worldSize]).toContain(choice.checkpoint.worldSize);
    for (const { fence, step } of input.rollbacks) if (of.fence <= fence) expect(choice.checkpoint.step).toBeLessThanOrEqual(step);
  }), { numRuns: 2_000 });
});

test("the order in which attempts and checkpoints are found changes nothing", () => {
  fc.assert(fc.property(anyInput, (input) => {
    const reversed = { ...input, attempts: [...input.attempts].reverse().map((each) => ({ ...each, checkpoints: [...each.checkpoints].reverse() })) };
    const [one, two] = [chooseResume(input), chooseResume(reversed)];
    expect(one.kind).toBe(two.kind);
    if (one.kind === "resume" && two.kind === "resume") expect([one.fence, one.checkpoint.step]).toEqual([two.fence, two.checkpoint.step]);
  }));
});

test.each(["sft", "grpo"])("verl's %s trainer is given the checkpoint by its path, or told to disregard what lies there", (algorithm) => {
  const argvOf = (resumeFrom: string | null) => trainCommand(trainParams({ algorithm }), release(), launchContext({ resumeFrom })).argv;
  expect(argvOf("/run/global_step_4")).toEqual(expect.arrayContaining(["trainer.resume_mode='resume_path'", "trainer.resume_from_path='/run/global_step_4'"]));
  expect(argvOf(null)).toContain("trainer.resume_mode='disable'");
});

test("RL that goes on does not validate first: that would log the step it goes on from once more", () => {
  const argvOf = (resumeFrom: string | null) => trainCommand(trainParams({ algorithm: "grpo" }), release(), launchContext({ resumeFrom })).argv;
  expect(argvOf("/run/global_step_4")).toContain("trainer.val_before_train=False");
  expect(argvOf(null)).not.toContain("trainer.val_before_train=False");
});

test("how a run is followed and ended makes it no other run; what it trains does", () => {
  const params = { algorithm: "sft", model: "/m", trainFiles: "/t", overrides: { b: 1, a: 2 } };
  expect(runIdentity({ ...params, overrides: { a: 2, b: 1 }, export: "none", saveEvery: 5, env: { A: "1" }, health: {} })).toBe(runIdentity(params));
  for (const other of [{ model: "/n" }, { trainFiles: "/u" }, { overrides: { a: 3 } }, { learningRate: 1 }]) expect(runIdentity({ ...params, ...other })).not.toBe(runIdentity(params));
});
