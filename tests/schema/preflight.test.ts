// What is known wrong with a train stage before anything is stored: verl's own rules over what the specification, the registry and the agents tell.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.world.agent({ name: "small", labels: { rack: "a" }, capabilities: ["train:verl", "train:verl:vllm"], gpus: [0, 1].map((index) => ({ index, uuid: null, model: "NVIDIA L4", memoryTotalMiB: 23_034, memoryUsedMiB: 0, utilizationPercent: 0, strangers: 0 })), run: () => "hold" });
  await register("chat", Array.from({ length: 40 }, (_, id) => ({ messages: [{ role: "user", content: `q ${id}` }, { role: "assistant", content: "a" }] })));
  await register("puzzles", Array.from({ length: 40 }, (_, id) => rl(id, "acme/puzzles")));
  await register("math", Array.from({ length: 80 }, (_, id) => rl(id, "openai/gsm8k")));
});
afterAll(() => api.stop());

const rl = (id: number, source: string) => ({ prompt: [{ role: "user", content: `q ${id}` }], data_source: source, ability: "math", reward_model: { style: "rule", ground_truth: "1" }, extra_info: { split: "train", index: id } });
const fileOf = (name: string) => join(api.folder, "data", `${name}.jsonl`);
async function register(name: string, rows: readonly unknown[]): Promise<void> {
  writeFileSync(fileOf(name), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const { registerDataset } = await api.data("mutation ($name: String!, $path: String!) { registerDataset(input: { name: $name, path: $path }) { __typename ... on RegisterDatasetPayload { dataset { tasks } } } }", { name, path: `${name}.jsonl` });
  expect(registerDataset.__typename).toBe("RegisterDatasetPayload");
}

const train = (params: Record<string, unknown>, more: Record<string, unknown> = {}) => ({ name: "train", kind: "train", resources: { gpus: 2 }, params: { model: "/models/mine", trainFiles: "/d/t.parquet", ...params }, ...more });
const grpo = (params: Record<string, unknown> = {}) => train({ algorithm: "grpo", valFiles: "/d/v.parquet", batchSize: 16, saveEvery: 10, ...params });
const sft = (params: Record<string, unknown> = {}) => train({ algorithm: "sft", batchSize: 16, ...params });
interface Found { path: string; severity: string; code: string; message: string; hint: string | null }
async function validate(...stages: object[]): Promise<{ ok: boolean; problems: Found[] }> {
  return (await api.data("query ($spec: JSON!) { validatePipeline(spec: $spec) { ok problems { path severity code message hint } } }", { spec: { name: "p", stages } })).validatePipeline;
}
const prepare = (params: Record<string, unknown>) => ({ name: "prepare", kind: "preprocess", params: { input: "raw.jsonl", split: { validation: 0.1 }, ...params } });
const ofPrepare = { trainFiles: "${stages.prepare.outputs.trainFile}", valFiles: "${stages.prepare.outputs.validationFile}" };
const after = (stage: object) => ({ ...stage, dependsOn: ["prepare"] });

describe("columns against the algorithm", () => {
  test("of a registered file by its path, by its name and by its id", async () => {
    const id = (await api.data('{ dataset(id: "chat") { id } }')).dataset.id as string;
    for (const file of [fileOf("chat"), "dataset:chat", "dataset:chat@1", id]) {
      expect(await validate(grpo({ trainFiles: file })), file).toMatchObject({ ok: false, problems: [{ path: "stages[0].params.trainFiles", severity: "ERROR", code: "UNSUITABLE_DATA", message: expect.stringContaining("grpo"), hint: expect.stringContaining("task: rl") }] });
      expect(await validate(sft({ trainFiles: file })), file).toEqual({ ok: true, problems: [] });
    }
    expect(await validate(sft({ trainFiles: [fileOf("chat"), "dataset:math"] }))).toMatchObject({ ok: false, problems: [{ code: "UNSUITABLE_DATA" }] });
  });

  test("of what a preprocess stage of the same pipeline will make", async () => {
    expect(await validate(prepare({ task: "sft" }), after(grpo(ofPrepare)))).toMatchObject({ ok: false, problems: [{ path: "stages[1].params.trainFiles", code: "UNSUITABLE_DATA" }] });
    expect(await validate(prepare({ task: "rl", dataSource: "openai/gsm8k" }), after(grpo(ofPrepare)))).toEqual({ ok: true, problems: [] });
    expect(await validate(prepare({ task: "preference" }), after(sft(ofPrepare)))).toMatchObject({ ok: false, problems: [{ code: "UNSUITABLE_DATA" }] });
    expect(await validate(prepare({ task: "preference" }), after(train({ algorithm: "dpo", ...ofPrepare })))).toMatchObject({ ok: true });
  });

  test("and rows against the batch; what nobody registered is judged by nobody here", async () => {
    expect(await validate(sft({ trainFiles: "dataset:chat", batchSize: 64 }))).toMatchObject({ ok: false, problems: [{ path: "stages[0].params.batchSize", code: "TOO_FEW_ROWS", hint: expect.stringContaining("40") }] });
    expect(await validate(sft({ trainFiles: "/nobody/knows.parquet", batchSize: 64 }))).toEqual({ ok: true, problems: [] });
  });
});

describe("a data_source without a scorer", () => {
  test("is refused unless a function or a model scores", async () => {
    expect(await validate(grpo({ trainFiles: "dataset:puzzles" }))).toMatchObject({ ok: false, problems: [{ path: "stages[0].params.reward", code: "NO_SCORER", message: expect.stringContaining('"acme/puzzles"'), hint: expect.stringContaining("reward.file") }] });
    expect(await validate(grpo({ trainFiles: "dataset:math" }))).toEqual({ ok: true, problems: [] });
    expect(await validate(grpo({ trainFiles: "dataset:puzzles", reward: { file: "/r.py" } }))).toEqual({ ok: true, problems: [] });
    expect(await validate(prepare({ task: "rl", dataSource: "acme/new", customReward: true }), after(grpo(ofPrepare)))).toMatchObject({ ok: false, problems: [{ path: "stages[1].params.reward", code: "NO_SCORER" }] });
  });
});

describe("overrides against the release's own keys", () => {
  test("unknown ones name the nearest, wrong types what fits, renamed ones the new name, our own why not", async () => {
    const { ok, problems } = await validate(grpo({ overrides: { "actor_rollout_ref.rollout.temprature": 0.7, "trainer.critic_warmup": "ten", "trainer.default_local_dir": "/x" } }));
    expect(ok).toBe(false);
    expect(problems).toMatchObject([
      { path: "stages[0].params.overrides.actor_rollout_ref.rollout.temprature", severity: "ERROR", code: "UNKNOWN_OVERRIDE", hint: 'Did you mean "actor_rollout_ref.rollout.temperature"?' },
      { code: "WRONG_OVERRIDE_TYPE", message: '"trainer.critic_warmup" takes a whole number, not "ten".' }, { code: "RESERVED_OVERRIDE" },
    ]);
    expect(await validate(grpo({ verl: "0.9.0", overrides: { "custom_reward_function.path": "/r.py" } }))).toMatchObject({ ok: false, problems: [{ code: "RENAMED_OVERRIDE", hint: 'Write "reward.custom_reward_function.path".' }] });
    expect(await validate(grpo({ verl: "0.7.0", overrides: { "custom_reward_function.path": "/r.py" } }))).toMatchObject({ ok: true });
  });

  test("a version that nobody tried is a warning, one that is too old an error", async () => {
    expect(await validate(sft({ verl: "0.8.7" }))).toMatchObject({ ok: true, problems: [{ path: "stages[0].params.verl", severity: "WARNING", code: "UNTRIED_VERL" }] });
    expect(await validate(sft({ verl: "0.6.1" }))).toMatchObject({ ok: false, problems: [{ severity: "ERROR", code: "UNSUPPORTED_VERL" }] });
  });

  test("what a reference will bring is left to the agent; keys are judged all the same", async () => {
    const command = { name: "prepare", kind: "command", params: { run: ["true"] } };
    const batch = "${stages.prepare.outputs.batch}";
    expect(await validate(command, after(grpo({ batchSize: batch, answers: 1 })))).toEqual({ ok: true, problems: [] });
    expect(await validate(command, after(grpo({ batchSize: batch, overrides: { "data.nonsense": 1 } })))).toMatchObject({ ok: false, problems: [{ path: "stages[1].params.overrides.data.nonsense", code: "UNKNOWN_OVERRIDE" }] });
  });
});

describe("what agents have today", () => {
  test("warns of GPU memory with the parts, the stated error and what the largest GPU has, and blocks nothing", async () => {
    const { ok, problems } = await validate(grpo({ model: "Qwen/Qwen2.5-7B" }));
    expect(ok).toBe(true);
    expect(problems).toMatchObject([{ path: "stages[0].params.model", severity: "WARNING", code: "GPU_MEMORY", hint: expect.stringContaining("lora") }]);
    expect(problems[0]!.message).toMatch(/^Each GPU would need about \d+ GiB, ± 30 %, and the largest that is known here has 22 GiB: model 52 GiB \(16 bytes per parameter, over all GPUs\); rollout 13 GiB \(50 % of each GPU, for weights and cache\)/);
    expect(await validate(grpo({ model: "Qwen/Qwen2.5-7B", simulate: true }))).toMatchObject({ ok: true, problems: [{ code: "SIMULATED" }] });
    expect(await validate({ ...grpo({ model: "Qwen/Qwen2.5-7B" }), resources: { gpus: 2, labels: { rack: "b" } } })).toEqual({ ok: true, problems: [] }); // nobody here has such a rack
  });

  test("warns of too few processors for Ray", async () => {
    await api.world.database.pool.query("update agents set versions = versions || '{\"hostCpus\": \"4\"}'::jsonb");
    expect(await validate(grpo())).toMatchObject({ ok: true, problems: [{ severity: "WARNING", code: "TOO_FEW_CPUS", message: expect.stringContaining("10 in all; the host has 4") }] });
    expect(await validate(sft())).toEqual({ ok: true, problems: [] });
    await api.world.database.pool.query("update agents set versions = versions - 'hostCpus'");
  });
});

test("a submission is refused by the errors and stores nothing; warnings let it pass", async () => {
  const SUBMIT = "mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { __typename ... on InvalidInputError { problems { code } } ... on SubmitPipelinePayload { pipeline { id } } } }";
  const count = async () => (await api.world.database.db.selectFrom("pipelines").select("id").execute()).length;
  const before = await count();
  expect((await api.data(SUBMIT, { spec: { name: "bad", stages: [grpo({ answers: 1 })] } })).submitPipeline).toMatchObject({ __typename: "InvalidInputError", problems: [{ code: "TOO_FEW_ANSWERS" }] });
  expect(await count()).toBe(before);
  expect((await api.data(SUBMIT, { spec: { name: "large", stages: [grpo({ model: "Qwen/Qwen2.5-7B" })] } })).submitPipeline.__typename).toBe("SubmitPipelinePayload");
  expect(await count()).toBe(before + 1);
});

test("a fork whose overrides break a rule is refused, with the place", async () => {
  const id = await api.world.submit({ name: "parent", stages: [grpo()] });
  const { forkPipeline } = await api.data("mutation ($id: ID!) { forkPipeline(input: { pipelineId: $id, fromStage: \"train\", overrides: { miniBatchSize: 99 } }) { __typename ... on InvalidInputError { problems { path code } } } }", { id });
  expect(forkPipeline).toMatchObject({ __typename: "InvalidInputError", problems: [{ path: "stages[0].params.miniBatchSize", code: "MINI_ABOVE_BATCH" }] });
});
