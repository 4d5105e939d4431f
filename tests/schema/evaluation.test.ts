import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newId, type PipelineId } from "../../src/domain/ids.js";
import type { Assignment, WireSample } from "../../src/protocol/messages.js";
import type { ScriptedAgent } from "../support/world.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
let agent: ScriptedAgent;
beforeAll(async () => {
  api = await startApi();
  agent = await api.world.agent({
    name: "gpu-1", pools: [{ queues: ["training", "evaluation", "default"], concurrency: 100 }], capabilities: ["command", "evaluate:endpoint", "evaluate:model:vllm", "train:simulate", "merge:simulate", "evaluate:simulate"],
    gpus: [{ index: 0, uuid: null, model: "NVIDIA H100 80GB HBM3", memoryTotalMiB: 81_559, memoryUsedMiB: 0, utilizationPercent: 0, strangers: 0 }], run: () => "hold",
  });
});
afterAll(() => api.stop());

const ENDPOINT = { endpoint: { url: "http://127.0.0.1:9/v1", model: "m" }, input: "test.jsonl", scorer: "exact" };
const row = (key: string, score: number | null, more: Partial<WireSample> = {}): WireSample => ({ source: "evaluation", step: null, key, prompt: `ask ${key}`, output: `say ${key}`, truth: "t", score, error: score === null ? "HTTP_500: x" : null, ...more });

async function taken(pipelineId: PipelineId, stage: string, fence = 1): Promise<Assignment> {
  const find = () => agent.started.find((one) => one.pipelineId === pipelineId && one.stage === stage && one.fence === fence);
  await expect.poll(find, { timeout: 10_000 }).toBeDefined();
  await expect.poll(() => agent.running.has(find()!.attemptId)).toBe(true);
  return find()!;
}

/** An evaluation with these rows. */
async function evaluated(rows: readonly WireSample[], outputs: Record<string, unknown> = {}): Promise<{ id: string; pipelineId: PipelineId }> {
  const pipelineId = await api.world.submit({ name: "score", stages: [{ name: "score", kind: "evaluate", params: ENDPOINT }] });
  const assignment = await taken(pipelineId, "score");
  const { attemptId, fence } = assignment;
  if (rows.length > 0) await agent.report({ type: "samples", attemptId, fence, samples: [...rows] });
  await agent.end(assignment, { kind: "COMPLETED", outputs: { scores: { score: 0.5 }, sampleCount: rows.length, ...outputs } as never });
  await api.world.ended(pipelineId, "COMPLETED");
  const { evaluations } = await api.data("query ($id: ID!) { evaluations(pipelineId: $id) { id } }", { id: pipelineId });
  return { id: evaluations[0].id, pipelineId };
}

describe("an evaluation", () => {
  test("tells n and interval beside each score, and its rows page by page and by verdict", async () => {
    const rows = Array.from({ length: 25 }, (_, index) => row(`r${index}`, index % 5 === 4 ? null : index % 5 === 0 ? 1 : 0));
    const { id } = await evaluated(rows, { scores: { score: 0.25, best: 0.5 }, errors: 5, intervals: { score: { n: 20, low: 0.1, high: 0.4, level: 0.95, method: "wilson" }, best: { n: 20 }, other: { n: 1 }, broken: "x" } });
    const { node } = await api.data(`query ($id: ID!) { node(id: $id) { ... on Evaluation { scores errorCount sampleCount intervals { score value n low high level method } sampleSet { kept leftOut correct wrong errors unscored }
      samples(first: 2, verdict: CORRECT) { edges { cursor node { key prompt output truth score verdict } } pageInfo { hasNextPage endCursor } } errors: samples(verdict: ERROR) { edges { node { key error } } } last: samples(last: 1) { edges { node { key } } } } } }`, { id });
    expect(node).toMatchObject({
      scores: { score: 0.25, best: 0.5 }, errorCount: 5, sampleCount: 25, sampleSet: { kept: 25, leftOut: 0, correct: 5, wrong: 15, errors: 5, unscored: 0 },
      intervals: [{ score: "score", value: 0.25, n: 20, low: 0.1, high: 0.4, level: 0.95, method: "wilson" }, { score: "best", value: 0.5, n: 20, low: null, high: null, level: null, method: null }],
      samples: { edges: [{ node: { key: "r0", prompt: "ask r0", output: "say r0", truth: "t", score: 1, verdict: "CORRECT" } }, { node: { key: "r5" } }], pageInfo: { hasNextPage: true } },
      errors: { edges: ["r4", "r9", "r14", "r19", "r24"].map((key) => ({ node: { key, error: "HTTP_500: x" } })) }, last: { edges: [{ node: { key: "r24" } }] },
    });
    const next = await api.data("query ($id: ID!, $after: String) { node(id: $id) { ... on Evaluation { samples(first: 50, verdict: CORRECT, after: $after) { edges { node { key } } pageInfo { hasNextPage } } } } }", { id, after: node.samples.pageInfo.endCursor });
    expect(next.node.samples).toEqual({ edges: ["r10", "r15", "r20"].map((key) => ({ node: { key } })), pageInfo: { hasNextPage: false } });
    expect((await api.ask("viewer", "query ($id: ID!) { node(id: $id) { ... on Evaluation { samples(first: 101) { edges { cursor } } } } }", { id })).errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
  });

  test("without rows has none, and no interval that nobody told", async () => {
    const { id } = await evaluated([]);
    expect((await api.data("query ($id: ID!) { node(id: $id) { ... on Evaluation { intervals { n } errorCount sampleSet { kept } samples { edges { cursor } } } } }", { id })).node).toEqual({ intervals: [], errorCount: null, sampleSet: null, samples: { edges: [] } });
  });

  test("shows the rows of the try that completed, not of those before it", async () => {
    const pipelineId = await api.world.submit({ name: "again", stages: [{ name: "score", kind: "evaluate", params: ENDPOINT, retry: { maxAttempts: 2, backoffSeconds: 0, on: ["NETWORK"] } }] });
    const first = await taken(pipelineId, "score");
    await agent.report({ type: "samples", attemptId: first.attemptId, fence: 1, samples: [row("a", 1), row("b", 1)] });
    await agent.end(first, { kind: "FAILED", failure: { code: "NETWORK", message: "gone", hint: null, exitCode: 1, logTail: [] } });
    const second = await taken(pipelineId, "score", 2);
    await agent.report({ type: "samples", attemptId: second.attemptId, fence: 2, samples: [row("a", 0)] });
    await agent.end(second, { kind: "COMPLETED", outputs: { scores: { score: 0 }, sampleCount: 1 } });
    await api.world.ended(pipelineId, "COMPLETED");
    const { evaluations } = await api.data("query ($id: ID!) { evaluations(pipelineId: $id) { sampleSet { kept wrong } samples { edges { node { key attempt score } } } } }", { id: pipelineId });
    expect(evaluations).toEqual([{ sampleSet: { kept: 1, wrong: 1 }, samples: { edges: [{ node: { key: "a", attempt: 2, score: 0 } }] } }]);
  });
});

describe("two evaluations", () => {
  const COMPARE = `query ($from: ID!, $to: ID!, $after: String) { compareEvaluations(from: $from, to: $to) { from { id } to { id } compared fixedCount brokenCount unchangedCount onlyInFrom onlyInTo fromMean toMean difference low high pValue test leftOut
    fixed: changes(change: FIXED, first: 2, after: $after) { edges { node { key change from { output score } to { output score } } } pageInfo { hasNextPage endCursor } } broken: changes(change: BROKEN) { edges { node { key } } } unchanged: changes(change: UNCHANGED, last: 1) { edges { node { key } } pageInfo { hasPreviousPage } } } }`;

  test("are compared row by row, with both answers and a paired figure of significance", async () => {
    const keys = Array.from({ length: 12 }, (_, index) => `k${index}`);
    const from = await evaluated([...keys.map((key, index) => row(key, index < 4 ? 1 : 0, { output: "old" })), row("gone", 1), row("lost", null)]);
    const to = await evaluated([...keys.map((key, index) => row(key, index === 0 ? 0 : index < 10 ? 1 : 0, { output: "new" })), row("lost", 1)]);
    const { compareEvaluations: found } = await api.data(COMPARE, { from: from.id, to: to.id });
    expect(found).toMatchObject({
      from: { id: from.id }, to: { id: to.id }, compared: 12, fixedCount: 6, brokenCount: 1, unchangedCount: 5, onlyInFrom: 1, onlyInTo: 1, fromMean: 4 / 12, toMean: 9 / 12, difference: expect.closeTo(5 / 12, 9), test: "mcnemar", pValue: expect.closeTo(0.125, 9), leftOut: 0,
      fixed: { edges: [{ node: { key: "k4", change: "FIXED", from: { output: "old", score: 0 }, to: { output: "new", score: 1 } } }, { node: { key: "k5" } }], pageInfo: { hasNextPage: true } }, broken: { edges: [{ node: { key: "k0" } }] },
      unchanged: { edges: [{ node: { key: "k11" } }], pageInfo: { hasPreviousPage: true } },
    });
    expect(found.low).toBeGreaterThan(0);
    expect(found.high).toBeLessThan(1);
    const rest = await api.data(COMPARE, { from: from.id, to: to.id, after: found.fixed.pageInfo.endCursor });
    expect(rest.compareEvaluations.fixed.edges.map(({ node }: { node: { key: string } }) => node.key)).toEqual(["k6", "k7"]);
  });

  test("of which one told no rows have nothing to compare; an id of nothing is said", async () => {
    const [bare, full] = [await evaluated([]), await evaluated([row("a", 1)])];
    expect((await api.data(COMPARE, { from: bare.id, to: full.id })).compareEvaluations).toMatchObject({ compared: 0, difference: null, pValue: 1, onlyInTo: 1, fixed: { edges: [] } });
    expect((await api.ask("viewer", COMPARE, { from: newId("evl"), to: full.id })).errors?.[0]).toMatchObject({ message: expect.stringContaining("evaluation"), extensions: { code: "NOT_FOUND" } });
  });
});

test("a score stage without params.checkpoint belongs to the checkpoint that its model was exported from, and to the data it asked", async () => {
  const stages = [
    { name: "sft", kind: "train", params: { algorithm: "sft", model: "Qwen/Qwen2.5-0.5B", trainFiles: "/data/train.parquet", simulate: true } },
    { name: "export", kind: "merge", dependsOn: ["sft"], params: { checkpoint: "${stages.sft.outputs.checkpoint}", simulate: true } },
    { name: "score", kind: "evaluate", dependsOn: ["export"], queue: "evaluation", params: { model: "${stages.export.outputs.model}", simulate: true, input: "gsm8k/test.jsonl", columns: { prompt: "question", answer: "answer" }, answerPattern: "#### (-?[0-9.,]+)", scorer: "math" } },
  ];
  const pipelineId = await api.world.submit({ name: "whole way", stages });
  const train = await taken(pipelineId, "sft");
  const path = "/run/checkpoints/global_step_9";
  await agent.report({ type: "checkpoint", attemptId: train.attemptId, fence: 1, step: 9, path, sizeBytes: 1 });
  await agent.end(train, { kind: "COMPLETED", outputs: { checkpoint: path, model: `${path}/huggingface` } });
  await agent.end(await taken(pipelineId, "export"), { kind: "COMPLETED", outputs: { model: "/run/exported" } });
  await agent.end(await taken(pipelineId, "score"), { kind: "COMPLETED", outputs: { scores: { score: 0.4 }, sampleCount: 10 } });
  await api.world.ended(pipelineId, "COMPLETED");
  const { evaluations, pipeline } = await api.data("query ($id: ID!) { evaluations(pipelineId: $id) { checkpoint { step path } datasetName simulated } pipeline(id: $id) { stage(name: \"sft\") { evaluations { scores } trainingJob { evaluations { scores } } } } }", { id: pipelineId });
  expect(evaluations).toEqual([{ checkpoint: { step: 9, path }, datasetName: "gsm8k/test.jsonl", simulated: true }]);
  expect(pipeline.stage).toEqual({ evaluations: [{ scores: { score: 0.4 } }], trainingJob: { evaluations: [{ scores: { score: 0.4 } }] } });
});
