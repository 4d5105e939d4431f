// The known-bad configurations on the whole way: submitted, validated and sent by the command line, each is refused and nothing is stored. And what upstream publishes as
// working is accepted: no false block.
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createCli } from "../../src/cli/cli.js";
import { run as submitCommand } from "../../src/cli/commands/submit.js";
import { EXIT } from "../../src/cli/exit-codes.js";
import { RECIPES } from "../../src/verl/recipes.js";
import { KNOWN_RELEASES } from "../../src/verl/releases.js";
import { writeRows } from "../simulation/stand-in.js";
import { KNOWN_BAD, type KnownBad } from "../verl/known-bad-cases.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => {
  api = await startApi();
  for (const rows of [640, 40]) {
    const path = await writeRows(join(api.folder, "data", `sft-${rows}.parquet`), "sft", rows);
    await api.data("mutation ($input: RegisterDatasetInput!) { registerDataset(input: $input) { __typename } }", { input: { name: `sft-${rows}`, path } });
  }
}, 60_000);
afterAll(() => api.stop());

/** What only an agent can know: the model's own configuration, the processors of its host. Those are refused there, before the launch (tests/agent/training). */
const ONLY_ON_THE_HOST: ReadonlySet<string> = new Set(["BEYOND_MODEL", "INDIVISIBLE_HEADS", "TOO_FEW_CPUS"]);
const KNOWABLE = KNOWN_BAD.filter(({ code }) => !ONLY_ON_THE_HOST.has(code));

function specOf({ what, params, context, data, version }: KnownBad): Record<string, unknown> {
  const [source] = data?.dataSources ?? [];
  const made = source === undefined ? [] : [{ name: "prepare", kind: "preprocess", params: { input: "rows.jsonl", task: "rl", dataSource: source, split: { validation: 0.1 } } }];
  const dataset = data === undefined ? null : source !== undefined ? "${stages.prepare.outputs.trainFile}" : `dataset:sft-${data.trainRows ?? 640}`;
  return {
    name: what.replaceAll(/[^a-z]+/g, "-"),
    stages: [...made, {
      name: "train", kind: "train", dependsOn: made.map(({ name }) => name), resources: { gpus: context?.gpusPerNode ?? 2 },
      params: { model: "Qwen/Qwen2.5-0.5B", trainFiles: dataset ?? "/data/train.parquet", ...(params["algorithm"] === "sft" ? {} : { valFiles: "/data/validation.parquet" }), ...(version === undefined ? {} : { verl: version }), ...params },
    }],
  };
}

interface Found { readonly severity: string; readonly code: string; readonly path: string }
const SUBMIT = "mutation ($input: SubmitPipelineInput!) { submitPipeline(input: $input) { ... on SubmitPipelinePayload { pipeline { id } } ... on InvalidInputError { problems { severity code path } } } }";
const stored = async () => Number((await api.world.database.db.selectFrom("pipelines").select((eb) => eb.fn.countAll().as("count")).executeTakeFirstOrThrow()).count);

describe("known-bad configurations", () => {
  test("all but three of them can be known before anything is queued", () => {
    expect(KNOWN_BAD.length).toBeGreaterThanOrEqual(30);
    expect(KNOWABLE.length).toBeGreaterThanOrEqual(27);
    expect(KNOWN_BAD.length - KNOWABLE.length).toBeLessThanOrEqual(3);
  });

  test.each(KNOWABLE)("$what is refused by submitPipeline and validatePipeline alike", async (bad) => {
    const before = await stored();
    const { submitPipeline } = await api.data<{ submitPipeline: { pipeline?: object; problems?: Found[] } }>(SUBMIT, { input: { spec: specOf(bad) } });
    expect(submitPipeline.pipeline).toBeUndefined();
    const errors = submitPipeline.problems!.filter(({ severity }) => severity === "ERROR");
    if (bad.code !== "INVALID") expect(errors.map(({ code }) => code)).toContain(bad.code);
    for (const { path } of errors) expect(path).toMatch(/^stages\[\d\]\.params/);
    const { validatePipeline } = await api.data<{ validatePipeline: { ok: boolean; problems: Found[] } }>("query ($spec: JSON!) { validatePipeline(spec: $spec) { ok problems { severity code path } } }", { spec: specOf(bad) });
    expect([validatePipeline.ok, validatePipeline.problems]).toEqual([false, submitPipeline.problems]);
    expect(await stored()).toBe(before);
  });

  test("the command line shows each where it stands, ends with the code for wrong usage, and stores nothing", async () => {
    const before = await stored();
    const folder = mkdtempSync(join(inject("runFolder"), "known-bad-"));
    for (const bad of KNOWABLE) {
      writeFileSync(join(folder, "pipeline.json"), JSON.stringify(specOf(bad), null, 2));
      const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
      let said = "";
      streams.stderr.on("data", (text: Buffer) => (said += text.toString()));
      const cli = createCli({ environment: { TRAINYARD_URL: api.url, TRAINYARD_TOKEN: api.tokens.operator }, workingDirectory: folder, ...streams }, {});
      expect([bad.what, await submitCommand(cli, ["pipeline.json"], {})]).toEqual([bad.what, EXIT.usage]);
      if (bad.code !== "INVALID") expect(said).toContain(`[${bad.code}]`);
      expect(said).toMatch(/pipeline\.json:\d+:\d+: error:/);
    }
    expect(await stored()).toBe(before);
  }, 60_000);
});

/** The reference's catalogue: params of each row, upon a run of usual size. */
const loss = (mode: string) => ({ algorithm: "grpo", klLoss: 0, overrides: { "actor_rollout_ref.actor.policy_loss.loss_mode": mode } });
const estimator = (name: string, more: Record<string, unknown> = {}) => ({ algorithm: "grpo", ...more, overrides: { "algorithm.adv_estimator": name, ...(more["overrides"] as object) } });
const CATALOGUE: Readonly<Record<string, Record<string, unknown>>> = {
  PPO: { algorithm: "ppo", microBatchSize: 8, criticLearningRate: 1e-5 },
  GRPO: { algorithm: "grpo", answers: 8, klLoss: 0.001 },
  "Dr. GRPO": { algorithm: "grpo", klLoss: 0, overrides: { "algorithm.norm_adv_by_std_in_grpo": false, "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-sum-norm" } },
  GSPO: { algorithm: "gspo" },
  DAPO: { algorithm: "dapo" },
  RLOO: { algorithm: "rloo", answers: 4, klReward: 0.001 },
  ReMax: { algorithm: "remax" },
  "REINFORCE++": { algorithm: "reinforce_plus_plus" },
  "REINFORCE++ baseline": { algorithm: "reinforce_plus_plus", overrides: { "algorithm.adv_estimator": "reinforce_plus_plus_baseline" } },
  OPO: estimator("opo"),
  "pass@k GRPO": estimator("grpo_passk"),
  GPG: estimator("gpg", { overrides: { "actor_rollout_ref.actor.policy_loss.loss_mode": "gpg" } }),
  CISPO: loss("cispo"), SAPO: loss("sapo"), GMPO: loss("geo_mean"), "Clip-Cov": loss("clip_cov"), "KL-Cov": loss("kl_cov"),
  "GRPO with LoRA": { algorithm: "grpo", lora: { rank: 32, alpha: 32 } },
  SFT: { algorithm: "sft", learningRate: 1e-5, batchSize: 128 }, "SFT with LoRA": { algorithm: "sft", lora: { rank: 32, alpha: 16 } }, DPO: { algorithm: "dpo" },
};

describe("what upstream publishes as working", () => {
  const accepted = async (params: Record<string, unknown>, resources: Record<string, unknown>): Promise<void> => {
    const spec = { name: "published", stages: [{ name: "train", kind: "train", resources, params: { model: "Qwen/Qwen2.5-0.5B", trainFiles: "/data/train.parquet", ...(params["algorithm"] === "sft" || params["algorithm"] === "dpo" ? {} : { valFiles: "/data/validation.parquet" }), ...params } }] };
    const { submitPipeline } = await api.data<{ submitPipeline: { pipeline?: { id: string }; problems?: Found[] } }>(SUBMIT, { input: { spec } });
    expect(submitPipeline.problems ?? []).toEqual([]);
    expect(submitPipeline.pipeline).toBeDefined();
  };

  test.each(Object.entries(CATALOGUE))("%s is accepted for every release", async (_name, params) => {
    for (const verl of KNOWN_RELEASES) await accepted({ ...params, verl }, { gpus: 8 });
  });

  test.each(RECIPES.map((recipe) => [recipe.name, recipe] as const))("the recipe %s is accepted for every release that it claims", async (_name, { params, gpus, releases }) => {
    for (const verl of releases) await accepted({ ...params, verl }, { gpus: Math.min(8, gpus), nodes: Math.ceil(gpus / 8) });
  });
});
