import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jobIdOf, newId, type PipelineId } from "../../src/domain/ids.js";
import type { Assignment } from "../../src/protocol/messages.js";
import type { ScriptedAgent } from "../support/world.js";
import { listen, startApi, type Api } from "./api-world.js";

let api: Api;
let agent: ScriptedAgent;
beforeAll(async () => {
  api = await startApi();
  agent = await api.world.agent({
    name: "gpu-1", pools: [{ queues: ["training"], concurrency: 100 }, { queues: ["default"], concurrency: 100 }], capabilities: ["command", "train:verl", "train:verl:vllm", "train:trl", "train:simulate"],
    gpus: Array.from({ length: 8 }, (_, index) => ({ index, uuid: null, model: "NVIDIA H100 80GB HBM3", memoryTotalMiB: 81_559, memoryUsedMiB: 0, utilizationPercent: 0, strangers: 0 })), run: ({ kind }) => (kind === "train" ? "hold" : { kind: "COMPLETED", outputs: { model: "/models/Qwen2.5-7B-Instruct", note: "x" } }),
  });
});
afterAll(() => api.stop());

const SFT = { algorithm: "sft", model: "Qwen/Qwen2.5-0.5B", trainFiles: "/data/train.parquet" };
const GRPO = { algorithm: "grpo", model: "Qwen/Qwen2.5-0.5B", trainFiles: "/data/train.parquet", valFiles: "/data/validation.parquet", batchSize: 64 };
const spec = (name: string, params: Record<string, unknown>, gpus = 0) => ({ name, stages: [{ name: "train", kind: "train", resources: { gpus }, params }] });

/** A train stage that runs. */
async function running(name: string, params: Record<string, unknown> = {}): Promise<{ pipelineId: PipelineId; assignment: Assignment; jobId: string }> {
  const pipelineId = await api.world.submit(spec(name, { ...SFT, simulate: true, ...params }));
  await api.world.until(pipelineId, (state) => state.stages.at(0).status === "RUNNING");
  const assignment = agent.started.find((each) => each.pipelineId === pipelineId)!;
  return { pipelineId, assignment, jobId: jobIdOf(assignment.stageId) };
}
const points = ({ attemptId, fence }: Assignment, name: string, values: readonly (readonly [step: number, value: number | "NaN"])[]) =>
  agent.report({ type: "metrics", attemptId, fence, names: [name], points: values.map(([step, value]) => [0, step, 1_700_000_000_000 + step * 1_000, value]) });
const checkpoint = ({ attemptId, fence }: Assignment, step: number) => agent.report({ type: "checkpoint", attemptId, fence, step, path: `/run/checkpoints/global_step_${step}`, sizeBytes: 1_000 });

describe("a training job", () => {
  test("is its train stage seen as an experiment: reached from the stage, by its own id, by the stage's id and by node", async () => {
    const { jobId, assignment, pipelineId } = await running("one");
    const fields = "id stage { id name trainingJob { id } } pipeline { id } algorithm trainer model modelResolved simulated status createdAt metricNames checkpoints { id } evaluations { id } anomalies { id }";
    const { byJob, byStage, node } = await api.data(`query ($job: ID!, $stage: ID!) { byJob: trainingJob(id: $job) { ${fields} } byStage: trainingJob(id: $stage) { id } node(id: $job) { __typename id } }`, { job: jobId, stage: assignment.stageId });
    expect(byJob).toMatchObject({
      id: jobId, stage: { id: assignment.stageId, name: "train", trainingJob: { id: jobId } }, pipeline: { id: pipelineId }, algorithm: "SFT", trainer: "VERL_SFT", model: "Qwen/Qwen2.5-0.5B", modelResolved: "Qwen/Qwen2.5-0.5B",
      simulated: true, status: "RUNNING", metricNames: [], checkpoints: [], evaluations: [], anomalies: [],
    });
    expect([byStage.id, node]).toEqual([jobId, { __typename: "TrainingJob", id: jobId }]);
    expect(await api.data("query ($job: ID!) { trainingJob(id: $job) { id } node(id: $job) { id } }", { job: newId("job") })).toEqual({ trainingJob: null, node: null });
  });

  test("a command stage is none", async () => {
    const pipelineId = await api.world.submit({ name: "no training", stages: [{ name: "run", kind: "command", params: { run: ["true"] } }] });
    expect(await api.data("query ($id: ID!) { pipeline(id: $id) { stages { trainingJob { id } } } }", { id: pipelineId })).toEqual({ pipeline: { stages: [{ trainingJob: null }] } });
  });

  test("a model that refers to another stage is resolved when that has completed, and so is the script", async () => {
    const stages = (approve: boolean) => [
      { name: "fetch", kind: "command", params: { run: ["true"] }, ...(approve ? { dependsOn: ["ask"] } : {}) }, ...(approve ? [{ name: "ask", kind: "approval" }] : []),
      { name: "train", kind: "train", dependsOn: ["fetch"], resources: { gpus: 100 }, params: { ...SFT, model: "${stages.fetch.outputs.model}" } },
    ];
    const resources = { gpus: 64 };
    const ask = "query ($id: ID!) { pipeline(id: $id) { stage(name: \"train\") { trainingJob { model modelResolved memoryEstimate { parameters } script } } } }";
    const made = (approve: boolean) => api.world.submit({ name: "refers", stages: stages(approve).map((stage) => ("resources" in stage ? { ...stage, resources } : stage)) });
    const open = await made(true);
    const waiting = await api.ask("viewer", ask, { id: open });
    expect(waiting.data.pipeline.stage.trainingJob).toEqual({ model: "${stages.fetch.outputs.model}", modelResolved: null, memoryEstimate: null, script: null });
    expect(waiting.errors).toMatchObject([{ path: ["pipeline", "stage", "trainingJob", "script"], extensions: { code: "SCRIPT_NOT_KNOWN" }, message: expect.stringContaining('stage "fetch"') }]);
    const done = await made(false);
    await api.world.until(done, (state) => state.stages.at(0).status === "COMPLETED");
    const { trainingJob } = (await api.data(ask, { id: done })).pipeline.stage;
    expect(trainingJob).toMatchObject({ modelResolved: "/models/Qwen2.5-7B-Instruct", memoryEstimate: { parameters: 7_000_000_000 } });
    expect(trainingJob.script).toContain("model.path='\\''/models/Qwen2.5-7B-Instruct'\\''");
  });

  test("estimates its memory in parts that add up, with the stated error and the GPU it is held against", async () => {
    const pipelineId = await api.world.submit(spec("sized", { ...GRPO, model: "Qwen/Qwen2.5-7B" }, 2));
    const { memoryEstimate } = (await api.data("query ($id: ID!) { trainingJobs(pipelineId: $id) { edges { node { memoryEstimate { bytesPerGpu error parts { name bytesPerGpu how } parameters gpus gpuBytes } } } } }", { id: pipelineId })).trainingJobs.edges[0].node;
    expect(memoryEstimate).toMatchObject({ error: 0.3, parameters: 7e9, gpus: 2, gpuBytes: 81_559 * 1_048_576 });
    expect(memoryEstimate.parts.find((part: { name: string }) => part.name === "model")).toMatchObject({ bytesPerGpu: 56e9, how: "16 bytes per parameter, over all GPUs" });
    expect(memoryEstimate.parts.reduce((sum: number, part: { bytesPerGpu: number }) => sum + part.bytesPerGpu, 0)).toBeCloseTo(memoryEstimate.bytesPerGpu, -2);
  });
});

describe("its metrics", () => {
  test("come down-sampled within a range, NaN as data, and live after a step", async () => {
    const { jobId, assignment } = await running("measured", { health: { onNonFinite: "notify" } });
    await points(assignment, "train/loss", Array.from({ length: 500 }, (_, index) => [index + 1, index === 249 ? 1e6 : 1 / (index + 1)]));
    await points(assignment, "train/grad_norm", [[500, "NaN"]]);
    const { trainingJob } = await api.data("query ($id: ID!) { trainingJob(id: $id) { metricNames all: metrics(names: [\"train/loss\"], maxPoints: 50) { points { step value } } some: metrics(fromStep: 499) { name points { step value nonFinite } } } }", { id: jobId });
    expect(trainingJob.metricNames).toEqual(["train/grad_norm", "train/loss"]);
    expect(trainingJob.all[0].points.length).toBeLessThanOrEqual(50);
    expect(trainingJob.all[0].points).toContainEqual({ step: 250, value: 1e6 });
    expect(trainingJob.some).toEqual([{ name: "train/grad_norm", points: [{ step: 500, value: null, nonFinite: "NaN" }] }, { name: "train/loss", points: [{ step: 499, value: 1 / 499, nonFinite: null }, { step: 500, value: 1 / 500, nonFinite: null }] }]);
    const live = listen(api.client("viewer"), { query: "subscription ($id: ID!) { jobMetrics(trainingJobId: $id, names: [\"train/loss\"], afterStep: 498) { dropped points { name step value } } }", variables: { id: jobId } });
    expect((await live.take(1))[0].jobMetrics).toEqual({ dropped: 0, points: [{ name: "train/loss", step: 499, value: 1 / 499 }, { name: "train/loss", step: 500, value: 1 / 500 }] });
    await points(assignment, "train/loss", [[501, 0.25]]);
    expect((await live.take(1))[0].jobMetrics.points).toEqual([{ name: "train/loss", step: 501, value: 0.25 }]);
    await live.stop();
    expect((await api.ask("viewer", "query ($id: ID!) { trainingJob(id: $id) { metrics(maxPoints: 10001) { name } } }", { id: jobId })).errors?.[0]?.extensions?.["code"]).toBe("BAD_USER_INPUT");
  });

  test("a subscription to a job that is none says so", async () => {
    const stream = listen(api.client("viewer"), { query: "subscription ($id: ID!) { jobMetrics(trainingJobId: $id) { dropped } }", variables: { id: newId("job") } });
    await expect(stream.take(1)).rejects.toMatchObject({ errors: [{ extensions: { code: "NOT_FOUND" } }] });
  });
});

describe("its checkpoints", () => {
  test("mark the best, and give the best by any metric and end that is asked for", async () => {
    const { jobId, assignment } = await running("saved");
    for (const [step, loss, reward] of [[10, 2, 0.1], [20, 1, 0.5], [30, 1.5, 0.3]] as const) {
      await points(assignment, "val/loss", [[step, loss]]);
      await points(assignment, "reward", [[step, reward - 0.2]]);
      await checkpoint(assignment, step);
    }
    const ask = "query ($id: ID!) { trainingJob(id: $id) { checkpoints { step isBest metrics host } best { step } top: best(metric: \"reward\", mode: MAX) { step } worst: best(metric: \"reward\") { step } none: best(metric: \"nothing\") { step } } }";
    const { trainingJob } = await api.data(ask, { id: jobId });
    expect(trainingJob.checkpoints.map(({ step, isBest, host }: any) => [step, isBest, host])).toEqual([[10, false, "gpu-1"], [20, true, "gpu-1"], [30, false, "gpu-1"]]);
    expect(trainingJob).toMatchObject({ best: { step: 20 }, top: { step: 20 }, worst: { step: 10 }, none: null });
  });

  test("of reinforcement learning the best is the one with the highest validation reward, whatever its policy loss", async () => {
    const { jobId, assignment } = await running("rewarded", { ...GRPO, simulate: true });
    for (const [step, reward, loss] of [[50, 0.4, -0.3], [100, 0.7, 0.2], [150, 0.6, -0.9]] as const) {
      await points(assignment, "val-core/openai/gsm8k/reward/mean@1", [[step, reward]]);
      await points(assignment, "actor/pg_loss", [[step, loss]]);
      await checkpoint(assignment, step);
    }
    expect((await api.data("query ($id: ID!) { trainingJob(id: $id) { best { step } } }", { id: jobId })).trainingJob.best).toEqual({ step: 100 });
  });
});

describe("its samples", () => {
  const sample = (source: "train" | "validation", step: number, key: string, score: number | null, error: string | null = null) => ({ source, step, key, prompt: `what is ${key}?`, output: `it is ${key}`, truth: key, score, error });

  test("come page by page, newest step first, by source and step, each with prompt, answer, truth and score", async () => {
    const { jobId, assignment: { attemptId, fence } } = await running("sampled", { ...GRPO, simulate: true });
    await agent.report({ type: "samples", attemptId, fence, samples: [sample("train", 1, "a", 1), sample("train", 1, "b", 0), sample("validation", 2, "a", 0.5), sample("train", 2, "c", 1), sample("train", 2, "d", null, "no answer")] });
    const page = async (args: string) => (await api.data(`query ($id: ID!) { trainingJob(id: $id) { samples(${args}) { edges { cursor node { source step attempt key prompt output truth score nonFinite error verdict } } pageInfo { hasNextPage endCursor } } sampleSets { source step kept leftOut } } }`, { id: jobId })).trainingJob;
    const first = await page("first: 3");
    expect(first.sampleSets).toEqual([{ source: "TRAIN", step: 2, kept: 2, leftOut: 0 }, { source: "VALIDATION", step: 2, kept: 1, leftOut: 0 }, { source: "TRAIN", step: 1, kept: 2, leftOut: 0 }]);
    const keys = (found: any) => found.samples.edges.map(({ node }: any) => `${node.source} ${node.step} ${node.key}`);
    expect(keys(first)).toEqual(["TRAIN 2 c", "TRAIN 2 d", "VALIDATION 2 a"]);
    expect(keys(await page(`first: 3, after: "${first.samples.pageInfo.endCursor}"`))).toEqual(["TRAIN 1 a", "TRAIN 1 b"]);
    expect(first.samples.edges[1].node).toEqual({ source: "TRAIN", step: 2, attempt: 1, key: "d", prompt: "what is d?", output: "it is d", truth: "d", score: null, nonFinite: null, error: "no answer", verdict: "ERROR" });
    expect(keys(await page("step: 1, source: TRAIN"))).toEqual(["TRAIN 1 a", "TRAIN 1 b"]);
    expect(keys(await page("verdict: WRONG"))).toEqual(["VALIDATION 2 a", "TRAIN 1 b"]);
    expect(keys(await page(`last: 1, before: "${first.samples.edges[1].cursor}"`))).toEqual(["TRAIN 2 c"]);
    for (const args of ["first: 101", 'after: "x"']) expect((await api.ask("viewer", `{ trainingJob(id: "${jobId}") { samples(${args}) { edges { cursor } } } }`)).errors?.[0]?.extensions?.["code"], args).toBe("BAD_USER_INPUT");
  });
});

describe("its anomalies", () => {
  const ANOMALIES = "subscription ($id: ID!, $after: ID) { anomalies(pipelineId: $id, after: $after) { id kind step trainingJob { id } } }";

  test("are found in what is reported, told with their numbers and with what was done, and reached by node", async () => {
    const { jobId, assignment } = await running("ill", { health: { onNonFinite: "stop", shadow: true } });
    await points(assignment, "train/loss", [[1, 1], [2, 0.9], [3, "NaN"]]);
    const { anomalies } = (await api.data(`query ($id: ID!) { trainingJob(id: $id) { anomalies { id trainingJob { id } attempt kind severity step metric value nonFinite threshold message suggestion action would reason } } }`, { id: jobId })).trainingJob;
    expect(anomalies).toMatchObject([{
      trainingJob: { id: jobId }, attempt: 1, kind: "NON_FINITE", severity: "CRITICAL", step: 3, metric: "train/loss", value: null, nonFinite: "NaN", threshold: null, message: "train/loss is NaN at step 3.", action: "NOTIFIED", would: "STOPPED",
      suggestion: expect.stringContaining("learning rate"), reason: "Only told, as health.shadow is set. health.onNonFinite is stop.",
    }]);
    expect(await api.data("query ($id: ID!) { node(id: $id) { __typename ... on Anomaly { kind } } }", { id: anomalies[0].id })).toEqual({ node: { __typename: "Anomaly", kind: "NON_FINITE" } });
  });

  test("come live, each once and in order, and after the one that was seen", async () => {
    const { pipelineId, jobId, assignment } = await running("live", { health: { onNonFinite: "notify" } });
    await points(assignment, "train/loss", [[1, "NaN"]]);
    const { anomalies } = (await api.data("query ($id: ID!) { trainingJob(id: $id) { anomalies { id } } }", { id: jobId })).trainingJob;
    const resumed = listen(api.client("viewer"), { query: ANOMALIES, variables: { id: pipelineId, after: anomalies[0].id } });
    const next = resumed.take(2);
    await points(assignment, "val/loss", [[2, "NaN"]]);
    const { attemptId, fence } = assignment;
    await agent.report({ type: "log", attemptId, fence, fromByte: 0, skippedBytes: 0, text: "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n" });
    const items = (await next).map((item: any) => item.anomalies);
    expect(items.map(({ kind, step, trainingJob }: any) => [kind, step, trainingJob.id])).toEqual([["NON_FINITE", 2, jobId], ["OUT_OF_MEMORY", null, jobId]]);
    const late = listen(api.client("viewer"), { query: ANOMALIES, variables: { id: pipelineId, after: items[0].id } });
    expect((await late.take(1))[0].anomalies.id).toBe(items[1].id);
    const whole = listen(api.client("viewer"), { query: ANOMALIES, variables: { id: pipelineId } });
    expect((await whole.take(3)).map((item: any) => item.anomalies.id)).toEqual([anomalies[0].id, items[0].id, items[1].id]);
    await whole.stop();
    await resumed.stop();
    await late.stop();
    await expect(listen(api.client("viewer"), { query: ANOMALIES, variables: { id: pipelineId, after: newId("ano") } }).take(1)).rejects.toMatchObject({ errors: [{ extensions: { code: "NOT_FOUND" } }] });
  });
});

describe("the list", () => {
  test("pages through all, newest first, forwards and backwards, and keeps to status, algorithm and pipeline", async () => {
    const ids: string[] = [];
    for (const index of [0, 1, 2, 3, 4]) ids.unshift((await running(`listed ${index}`, index % 2 === 0 ? {} : { ...GRPO, simulate: true })).jobId);
    const page = async (args: string) => (await api.data(`{ trainingJobs(${args}) { edges { cursor node { id algorithm } } pageInfo { hasNextPage hasPreviousPage endCursor startCursor } } }`)).trainingJobs;
    const first = await page("first: 2"), second = await page(`first: 2, after: "${first.pageInfo.endCursor}"`);
    expect([...first.edges, ...second.edges].map((edge: any) => edge.node.id)).toEqual(ids.slice(0, 4));
    expect((await page(`last: 2, before: "${second.pageInfo.startCursor}"`)).edges.map((edge: any) => edge.node.id)).toEqual(ids.slice(0, 2));
    expect((await page("algorithm: GRPO, status: [RUNNING], first: 2")).edges.map((edge: any) => edge.node)).toEqual([{ id: ids[1], algorithm: "GRPO" }, { id: ids[3], algorithm: "GRPO" }]);
    expect((await page("status: [SKIPPED]")).edges).toEqual([]);
    const pipelineId = (await api.data(`{ trainingJob(id: "${ids[0]}") { pipeline { id } } }`)).trainingJob.pipeline.id;
    expect((await page(`pipelineId: "${pipelineId}"`)).edges.map((edge: any) => edge.node.id)).toEqual([ids[0]]);
    for (const args of ["first: 0", "first: 101", "first: 1, last: 1", 'after: "nonsense"']) expect((await api.ask("viewer", `{ trainingJobs(${args}) { edges { cursor } } }`)).errors?.[0]?.extensions?.["code"], args).toBe("BAD_USER_INPUT");
  });

  test("costs as many statements for ten jobs as for one, everything asked for", async () => {
    for (let index = 0; index < 10; index++) await running(`many ${index}`, { health: { onNonFinite: "notify" } }).then(({ assignment }) => points(assignment, "train/loss", [[1, "NaN"]]));
    const all = `edges { node { id algorithm status stage { id name } pipeline { name } metricNames metrics(maxPoints: 5) { name } checkpoints { id host } best(metric: "x") { id } evaluations { id } anomalies { id trainingJob { id } } memoryEstimate { bytesPerGpu } modelResolved script } }`;
    const statements = async (first: number) => {
      const { pool } = api.world.database;
      const before = await api.data(`{ trainingJobs(first: ${first}) { ${all} } }`); // warm
      expect(before.trainingJobs.edges).toHaveLength(first);
      let count = 0;
      const onAcquire = () => void count++;
      pool.on("acquire", onAcquire);
      await api.data(`{ trainingJobs(first: ${first}) { ${all} } }`);
      pool.off("acquire", onAcquire);
      return count;
    };
    const one = await statements(1), ten = await statements(10);
    expect(ten).toBeLessThan(one + 10); // the actors are at work too
  });
});

describe("createTrainingJob", () => {
  const CREATE = `mutation ($input: CreateTrainingJobInput!) { createTrainingJob(input: $input) { __typename
    ... on CreateTrainingJobPayload { trainingJob { id algorithm model simulated status stage { name params } } pipeline { id name } cursor }
    ... on DomainError { code message } ... on InvalidInputError { problems { path severity code message hint } } } }`;
  const create = async (input: Record<string, unknown>, who: "operator" | "viewer" = "operator") => (await api.ask(who, CREATE, { input: { name: "by hand", algorithm: "SFT", model: "Qwen/Qwen2.5-0.5B", trainFiles: ["/data/train.parquet"], ...input } })).data.createTrainingJob;

  test("makes a pipeline of one train stage and answers job, pipeline and cursor; a repeat answers the same one", async () => {
    const input = { overrides: { "optim.betas": [0.9, 0.95] }, params: { batchSize: 64, simulate: true }, gpus: 2, requestId: "create-1" };
    const made = await create(input);
    expect(made).toMatchObject({
      __typename: "CreateTrainingJobPayload", trainingJob: { algorithm: "SFT", model: "Qwen/Qwen2.5-0.5B", simulated: true, stage: { name: "train", params: { batchSize: 64, overrides: { "optim.betas": [0.9, 0.95] } } } }, pipeline: { name: "by hand" }, cursor: expect.any(String),
    });
    expect((await create(input)).trainingJob.id).toBe(made.trainingJob.id);
    expect(await create({ ...input, model: "Qwen/Qwen2.5-1.5B" })).toMatchObject({ __typename: "ConflictError", code: "REQUEST_ID_REUSED" });
    const { audit } = await api.data("query ($id: String!) { audit(subject: $id) { edges { node { action outcome actor } } } }", { id: made.pipeline.id });
    expect(audit.edges.map((edge: any) => edge.node)).toContainEqual({ action: "createTrainingJob", outcome: "ACCEPTED", actor: "the operator" });
  });

  test("names each place of the input that is wrong, as verl's own rules and tables see it", async () => {
    const refused = await create({ algorithm: "GRPO", overrides: { "actor_rollout_ref.actor.optim.lrr": 1e-6 }, params: { answers: "many" } });
    expect(refused).toMatchObject({ __typename: "InvalidInputError" });
    expect(refused.problems.map(({ path }: any) => path)).toContain("input.params.answers");
    const overridden = await create({ algorithm: "GRPO", valFiles: ["/data/val.parquet"], overrides: { "actor_rollout_ref.actor.optim.lrr": 1e-6 } });
    expect(overridden.problems).toMatchObject([{ path: "input.overrides.actor_rollout_ref.actor.optim.lrr", code: "UNKNOWN_OVERRIDE", hint: 'Did you mean "actor_rollout_ref.actor.optim.lr"?' }]);
    expect((await create({ params: { model: "other" } })).problems).toMatchObject([{ path: "input.params.model", hint: "Send it as input.model." }]);
    expect((await create({ overrides: [1] })).problems).toMatchObject([{ path: "input.overrides", code: "INVALID_VALUE" }]);
    expect((await create({ gpus: -1 })).problems.map(({ path }: any) => path)).toContain("input.gpus");
    expect((await create({ name: "" })).problems.map(({ path }: any) => path)).toContain("input.name");
  });

  test("is for operators", async () => {
    expect(await create({}, "viewer")).toMatchObject({ __typename: "ForbiddenError" });
  });
});
