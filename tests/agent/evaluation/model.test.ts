// Evaluate stages that draw answers with verl: a real agent and the real program over a scripted stand-in for Python (tests/support/verl-stand-in.ts).
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { packagePath } from "../../../src/package-root.js";
import { callsOf, standInPython, type StandInScript } from "../../support/verl-stand-in.js";
import { outputsOf, startDataWorld, type DataWorld } from "../preprocess/data-world.js";
import { evaluating, samplesOf, sums, tries } from "./evaluation-world.js";

function standIn(world: DataWorld, script: Omit<StandInScript, "calls">): { python: string; env: Record<string, string>; calls(): string[][] } {
  const calls = join(world.data, "calls");
  return { python: standInPython(world.data), env: { STAND_IN: JSON.stringify({ ...script, calls }) }, calls: () => callsOf(calls) };
}
const startWorldOfTwoGpus = () => startDataWorld({ settings: { TRAINYARD_NVIDIA_SMI: packagePath("tests", "chaos", "programs", "two-gpus.sh") } });
const onGpus = { gpus: [0, 1], members: [{ agentName: "test", address: null, gpus: [0, 1] }] };

describe.each(["0.7.0", "0.9.1"] as const)("verl %s", (version) => {
  test("the answers of the generation server are scored here, row by row; main_eval scores them by its own keys", async () => {
    const world = await startWorldOfTwoGpus();
    const { calls, ...python } = standIn(world, { version, numpy: version !== "0.7.0" });
    const params = { model: "/models/tiny", input: world.file("sums.jsonl", sums(12)), answerPattern: "#### (.+)", engine: { tensorParallel: 2 }, generation: { maxTokens: 64, maxPromptTokens: 128 }, ...python };
    const ours = evaluating(params, onGpus);
    expect(outputsOf(await world.run(ours, 30_000))).toMatchObject({ scores: { score: 1 }, sampleCount: 12, intervals: { score: { n: 12, method: "wilson" } } });
    expect(samplesOf(world.peer, ours).map(({ score }) => score)).toEqual(Array(12).fill(1));
    const byVerl = evaluating({ ...params, scorer: { verl: { file: world.file("mine.py", "def judge(): pass\n"), function: "judge" } }, dataSource: "sums" }, onGpus);
    expect(outputsOf(await world.run(byVerl, 30_000))).toMatchObject({ scores: { score: 1, sums: 1 }, sampleCount: 12, intervals: { score: { n: 12 }, sums: { n: 12 } } });
    expect(samplesOf(world.peer, byVerl).map(({ score, error }) => [score, error])).toEqual(Array(12).fill([null, null]));
    expect(calls().map(([, module]) => module)).toEqual(["verl.trainer.main_generation_server", "verl.trainer.main_generation_server", "verl.trainer.main_eval"]);
    expect(calls()[0]).toEqual(expect.arrayContaining(["actor_rollout_ref.model.path='/models/tiny'", "actor_rollout_ref.rollout.tensor_model_parallel_size=2", "trainer.n_gpus_per_node=2", "actor_rollout_ref.rollout.response_length=64", "actor_rollout_ref.rollout.temperature=0"]));
    expect(calls()[2]).toContain(version === "0.7.0" ? "custom_reward_function.name='judge'" : "++reward.custom_reward_function.name='judge'");
  });
});

test("dialogues of different lengths are drawn in one run each, and several answers per row come back to their row", async () => {
  const world = await startWorldOfTwoGpus();
  const { calls, ...python } = standIn(world, { version: "0.7.1", answers: ["", "!", "0"] });
  const dialogue = (number: number, ...before: string[]) => JSON.stringify({ messages: [...before.map((content, index) => ({ role: index % 2 === 0 ? "user" : "assistant", content })), { role: "user", content: `What is ${number}?` }], truth: String(2 * number) });
  const input = world.file("talks.jsonl", `${[dialogue(1), dialogue(2, "hello", "hi"), dialogue(3), dialogue(4, "so", "yes")].join("\n")}\n`);
  const assignment = evaluating({ model: "/models/tiny", input, columns: { prompt: "messages", answer: "truth" }, scorer: "exact", generation: { n: 3 }, ...python }, onGpus);
  expect(outputsOf(await world.run(assignment, 30_000))).toMatchObject({ scores: { score: expect.closeTo(1 / 3, 9), best: 1 }, sampleCount: 4 });
  expect(calls()).toHaveLength(2);
  expect(samplesOf(world.peer, assignment).map(({ truth, output }) => [truth, /score 1\]\n(.*)/.exec(output)![1]])).toEqual(expect.arrayContaining([["2", "2"], ["4", "4"], ["6", "6"], ["8", "8"]]));
});

test("a generation server that fails is told by what it said; the next try draws", async () => {
  const world = await startWorldOfTwoGpus();
  const broken = standIn(world, { version: "0.7.1", fails: { say: "torch.OutOfMemoryError: CUDA out of memory.", exit: 1 } });
  const input = world.file("sums.jsonl", sums(3));
  const attempt = tries({ model: "/models/tiny", input, answerPattern: "#### (.+)", python: broken.python, env: broken.env }, onGpus);
  expect(await world.run(attempt(1), 30_000)).toMatchObject({ kind: "FAILED", failure: { code: "GPU_OUT_OF_MEMORY" } });
  const working = standIn(world, { version: "0.7.1" });
  const second = attempt(2);
  expect(outputsOf(await world.run({ ...second, params: { ...second.params, env: working.env } }, 30_000))).toMatchObject({ scores: { score: 1 } });
});

test("a host without verl, with one that is too old, or overrides that it lacks: said before anything is drawn", async () => {
  const world = await startWorldOfTwoGpus();
  const run = async (script: Omit<StandInScript, "calls">, more: object = {}) => {
    const { calls: _, ...python } = standIn(world, script);
    return world.run(evaluating({ model: "/models/tiny", input: world.file("sums.jsonl", sums(3)), answerPattern: "#### (.+)", ...python, ...more }, onGpus), 30_000);
  };
  expect(await run({ version: null })).toMatchObject({ kind: "FAILED", failure: { code: "MODULE_NOT_FOUND", message: expect.stringContaining("has no verl, which draws the answers of a local model") } });
  expect(await run({ version: "0.3.0" })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("verl 0.3.0, which cannot be used") } });
  expect(await run({ version: "0.7.1" }, { overrides: { "actor_rollout_ref.rollout.max_num_seq": 3 } })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", hint: expect.stringContaining("max_num_seqs") as unknown } });
});

test("a model that a simulated training left is recognised by what lies in its folder: refused where it would be loaded, rehearsed with simulate", async () => {
  const world = await startWorldOfTwoGpus();
  const { calls, ...python } = standIn(world, { version: "0.7.1" });
  const model = join(world.data, "model");
  mkdirSync(model);
  writeFileSync(join(model, "config.json"), JSON.stringify({ model_type: "qwen2", trainyard: "simulated: nothing was trained" }));
  const params = { model, input: world.file("sums.jsonl", sums(30)), answerPattern: "#### (.+)", ...python };
  expect(await world.run(evaluating(params, onGpus), 30_000)).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("left by a simulated training") as unknown, hint: expect.stringContaining("simulate: true") as unknown } });
  const rehearsal = evaluating({ ...params, scorer: { verl: { file: "/rewards/mine.py" } }, dataSource: "sums", simulate: true, generation: { n: 2 } });
  const outputs = outputsOf(await world.run(rehearsal, 30_000)) as unknown as { scores: Record<string, number> };
  expect(outputs).toMatchObject({ simulated: true, sampleCount: 30, errors: 0 });
  expect(outputs.scores["sums"]).toBe(outputs.scores["score"]);
  expect(outputs.scores["score"]).toBeGreaterThan(0.2);
  expect(outputs.scores["score"]).toBeLessThan(1);
  expect(samplesOf(world.peer, rehearsal)[0]!.output).toContain("no model was asked");
  expect(calls).toThrow("ENOENT"); // nobody asked the stand-in for Python
});

test.each(["exact", "contains", "numeric", "math", "choice"] as const)("the answers of a rehearsal are some right and some wrong for the scorer %s, the same each time", async (scorer) => {
  const world = await startDataWorld();
  const rows = Array.from({ length: 40 }, (_, index) => JSON.stringify({ question: `Number ${index}?`, answer: scorer === "choice" ? "ABCD"[index % 4] : String(index + 100) })).join("\n");
  const run = async (more: object = {}) => (outputsOf(await world.run(evaluating({ model: "Qwen/Qwen2.5-0.5B", input: world.file("rows.jsonl", rows), scorer, simulate: true, ...more }), 30_000)) as unknown as { scores: { score: number } }).scores.score;
  const score = await run();
  expect(score).toBeGreaterThan(0.3);
  expect(score).toBeLessThan(0.9);
  expect(await run()).toBe(score);
});
