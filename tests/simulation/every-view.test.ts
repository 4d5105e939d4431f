// One simulated run through every view that there is: training, checkpoint, merge and evaluation, shown by the API, by the command line, in the history and by webhooks.
// A number that nobody trained for must never be read without the word beside it.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { sums } from "../agent/evaluation/evaluation-world.js";
import { cli } from "../cli/support.js";
import { startReceiver } from "../support/webhook-receiver.js";
import { simulated, startPipelineWorld, type PipelineWorld } from "./pipeline-world.js";
import { runFolder, writeRows } from "./stand-in.js";

let folder: string;
let sft: string;
beforeAll(async () => {
  folder = runFolder();
  sft = await writeRows(join(folder, "sft.parquet"), "sft", 96);
  writeFileSync(join(folder, "sums.jsonl"), sums(40));
});

async function withAgent(): Promise<PipelineWorld> {
  const world = await startPipelineWorld({ agent: { TRAINYARD_DATA_DIRS: folder } });
  await world.startAgent();
  return world;
}

const train = (more: Record<string, unknown> = {}) => simulated({ algorithm: "sft", trainFiles: sft, saveEvery: 3, export: "none", ...more });
const merge = (more: Record<string, unknown> = {}) => ({ name: "merge", kind: "merge", dependsOn: ["train"], params: { checkpoint: "${stages.train.outputs.checkpoint}", simulate: true, ...more } });
const asked = () => ({ input: join(folder, "sums.jsonl"), columns: { prompt: "question", answer: "answer" }, answerPattern: "#### (.+)", scorer: "math" });
const score = (name: string, more: Record<string, unknown> = {}) => ({ name, kind: "evaluate", dependsOn: ["merge"], params: { model: "${stages.merge.outputs.model}", simulate: true, ...asked(), ...more } });

async function completed(world: PipelineWorld, stages: readonly Record<string, unknown>[]): Promise<string> {
  const id = await world.submit(stages);
  const last = await world.ended(id, 120_000);
  expect(last).toMatchObject({ status: "COMPLETED", error: null });
  return id;
}

describe("a rehearsal of SFT, merge and evaluation", { timeout: 240_000 }, () => {
  test("runs without verl and GPU, and every view of it says that it is simulated", async () => {
    const world = await withAgent();
    const receiver = await startReceiver();
    const admin = (args: string[]) => cli(args, { env: { TRAINYARD_URL: world.url, TRAINYARD_TOKEN: world.admin } });
    expect(await admin(["webhook", "add", "ends", receiver.url, "--event", "pipeline.ended"])).toMatchObject({ code: 0 });
    const id = await completed(world, [train(), merge(), score("first"), { ...score("second", { seed: 1 }), dependsOn: ["merge", "first"] }]);

    // the API
    const { pipeline } = await world.ask<{ pipeline: { simulated: boolean; stages: { name: string; simulated: boolean; outputs: Record<string, unknown>; checkpoints: { simulated: boolean }[]; evaluations: { id: string; simulated: boolean; sampleCount: number; scores: { score: number } }[]; trainingJob: { simulated: boolean } | null }[]; events: { type: string; payload: { outputs?: { simulated?: boolean } } }[] } }>(
      "query ($id: ID!) { pipeline(id: $id) { simulated events(first: 100) { type payload } stages { name simulated outputs trainingJob { simulated } checkpoints { simulated } evaluations { id simulated sampleCount scores } } } }", { id });
    expect(pipeline.simulated).toBe(true);
    expect(pipeline.stages.map((stage) => [stage.name, stage.simulated, stage.outputs["simulated"]])).toEqual(["train", "merge", "first", "second"].map((name) => [name, true, true]));
    expect(pipeline.stages[0]!.trainingJob).toEqual({ simulated: true });
    expect(pipeline.stages[0]!.checkpoints.map((checkpoint) => checkpoint.simulated)).toEqual([true, true]);
    const evaluations = pipeline.stages.flatMap(({ name, evaluations: found }) => (name === "train" ? [] : found));
    expect(evaluations).toMatchObject([{ simulated: true, sampleCount: 40 }, { simulated: true, sampleCount: 40 }]);
    for (const { scores } of evaluations) expect(scores.score).toBeGreaterThan(0.2);
    expect(pipeline.events.filter(({ type }) => type === "StageCompleted").map(({ payload }) => payload.outputs?.simulated)).toEqual([true, true, true, true]);
    const [first, second] = evaluations.map((evaluation) => evaluation.id) as [string, string];
    expect(await world.ask("query ($from: ID!, $to: ID!) { compareEvaluations(from: $from, to: $to) { simulated } }", { from: first, to: second })).toEqual({ compareEvaluations: { simulated: true } });

    // the command line
    const views: readonly string[][] = [
      ["ls"], ["show", id], ...pipeline.stages.map(({ name }) => ["show", id, name]), ["watch", id], ["events", id], ["job", "ls"], ["job", "show", id], ["job", "anomalies", id], ["checkpoint", "ls", id], ["export", id],
      ["logs", id, "--stage", "train"], ["logs", id, "--stage", "merge"], ["logs", id, "--stage", "first"], ["eval", "ls", id], ["eval", "show", first], ["eval", "samples", first], ["eval", "diff", first, second],
    ];
    for (const args of views) {
      const { code, stdout, stderr } = await admin(args);
      expect([args, code, `${stdout}${stderr}`]).toEqual([args, 0, expect.stringMatching(/simulated/i) as unknown]);
    }
    for (const args of [["show", id], ["watch", id], ["eval", "ls", id], ["eval", "show", first], ["eval", "samples", first], ["eval", "diff", first, second]]) {
      const { code, stdout } = await admin([...args, "--json"]);
      expect([args, code, stdout]).toEqual([args, 0, expect.stringMatching(/"simulated": ?(?:true|\[)/) as unknown]);
    }
    expect((await admin(["eval", "ls", id])).stdout).toMatch(/first .* score 0\.\d+ \(simulated\)/);

    // whoever is told
    await receiver.count(1);
    expect(receiver.told[0]!.json).toMatchObject({ event: "pipeline.ended", simulated: true, stage: null });
  });

  test("a simulated model that is given by its path is recognised on the host", async () => {
    const world = await withAgent();
    const trained = await completed(world, [train({ export: "last" })]);
    const { outputs } = await world.stage(trained, "train");
    const { model, checkpoint } = outputs as { model: string; checkpoint: string };
    const program = { name: "score", kind: "evaluate", params: { run: ["node", "-e", "require('fs').writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, '{\"scores\":{\"score\":1},\"sampleCount\":1}')"], checkpoint } };
    const scored = await completed(world, [program]);
    const { pipeline } = await world.ask<{ pipeline: unknown }>("query ($id: ID!) { pipeline(id: $id) { simulated stages { simulated evaluations { simulated } } } }", { id: scored });
    expect(pipeline).toEqual({ simulated: true, stages: [{ simulated: true, evaluations: [{ simulated: true }] }] });

    const rehearsed = await completed(world, [{ name: "score", kind: "evaluate", params: { model, simulate: true, ...asked() } }]);
    expect((await world.stage(rehearsed)).outputs).toMatchObject({ simulated: true, sampleCount: 40 });
  });

  test("a model copied from a real one carries the mark as well, and a real checkpoint is not merged by a stand-in", async () => {
    const world = await withAgent();
    const real = join(folder, "real");
    mkdirSync(real);
    writeFileSync(join(real, "config.json"), JSON.stringify({ model_type: "qwen2", hidden_size: 8 }));
    const id = await completed(world, [train({ model: real, export: "last" })]);
    const { model } = (await world.stage(id, "train")).outputs as { model: string };
    expect(JSON.parse(readFileSync(join(model, "config.json"), "utf8"))).toEqual({ model_type: "qwen2", hidden_size: 8, trainyard: "simulated: nothing was trained" });
    const refused = await world.ended(await world.submit([{ name: "merge", kind: "merge", params: { checkpoint: real, simulate: true } }]));
    expect(refused).toMatchObject({ status: "FAILED", error: { code: "INVALID_INPUT", message: expect.stringContaining("was trained in earnest") as unknown } });
  });
});

describe("what cannot work", { timeout: 60_000 }, () => {
  test("a stage that would load a simulated model is refused before anything is stored, and a merge without simulate is warned of", async () => {
    const world = await startPipelineWorld();
    await expect(world.submit([train(), merge(), { ...score("score", { simulate: false }), resources: { gpus: 1 } }])).rejects.toThrow(/SIMULATED_MODEL.*stages\[2\]\.params\.model/);
    const { submitPipeline } = await world.ask<{ submitPipeline: unknown }>(
      "mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { warnings { path severity code } } } }", { spec: { name: "warned", stages: [train(), merge({ simulate: false })] } });
    expect(submitPipeline).toEqual({ warnings: [{ path: "stages[1].params.checkpoint", severity: "WARNING", code: "SIMULATED_MODEL" }, { path: "stages[0].params.simulate", severity: "WARNING", code: "SIMULATED" }] });
  });

  test("submit shows what the server warns of, where it stands in the file", async () => {
    const world = await startPipelineWorld();
    const file = join(folder, "warned.json");
    writeFileSync(file, JSON.stringify({ name: "warned", stages: [train()] }, null, 2));
    const { code, stderr } = await cli(["submit", file, "--detach"], { env: { TRAINYARD_URL: world.url, TRAINYARD_TOKEN: world.admin } });
    expect([code, stderr]).toEqual([0, expect.stringMatching(/warned\.json:\d+:\d+.*\n?.*runs a stand-in that trains nothing/) as unknown]);
  });
});
