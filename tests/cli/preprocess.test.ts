// Preprocess stages the whole way: the built command line, the real control plane and agent, real files.
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { exercises, RL, rowsOf, SFT } from "../agent/preprocess/data-world.js";
import { newFolder, startCli, startUp, type Up } from "./support.js";

interface StageAnswer { readonly name: string; readonly status: string; readonly outputs: Record<string, unknown> | null; readonly error: { readonly code: string; readonly message: string } | null; readonly progress: { readonly step: number; readonly totalSteps: number | null } | null }

let up: Up;
let data = "";
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  data = newFolder("data-");
  mkdirSync(join(data, "gsm8k"));
  writeFileSync(join(data, "gsm8k", "train.jsonl"), exercises(1_000));
  writeFileSync(join(data, "large.jsonl"), exercises(400_000));
  symlinkSync("/etc", join(data, "out"));
  up = await startUp({ env: { TRAINYARD_DATA_DIRS: data }, atEnd: (end) => void ends.push(end) });
}, 60_000);
afterAll(async () => {
  await up?.stop();
  for (const end of ends) await end();
});

async function ask<T>(query: string, variables: Record<string, unknown> = {}): Promise<T> {
  const answer = await fetch(up.url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${up.token}` }, body: JSON.stringify({ query, variables }) });
  const { data: found, errors } = (await answer.json()) as { data?: T; errors?: { message: string }[] };
  if (errors !== undefined) throw new Error(errors.map(({ message }) => message).join("; "));
  return found!;
}

let submitted = 0;
async function submit(stages: readonly { name: string; params: Record<string, unknown>; dependsOn?: string[]; resources?: object }[], name = "gsm8k"): Promise<string> {
  const file = join(newFolder(), "pipeline.json");
  writeFileSync(file, JSON.stringify({ name, labels: { number: ++submitted }, stages: stages.map((stage) => ({ kind: "preprocess", queue: "preprocessing", ...stage })) }));
  const { code, stdout, stderr } = await up.cli("submit", file);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

async function stagesOf(id: string): Promise<Record<string, StageAnswer>> {
  const { pipeline } = await ask<{ pipeline: { stages: StageAnswer[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { name status outputs error { code message } progress { step totalSteps } } } }", { id });
  return Object.fromEntries(pipeline.stages.map((stage) => [stage.name, stage]));
}

async function ended(id: string, withinMs = 60_000): Promise<Record<string, StageAnswer>> {
  let stages: Record<string, StageAnswer> = {};
  const over = await pollUntil(async () => {
    stages = await stagesOf(id);
    return Object.values(stages).every(({ status }) => ["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"].includes(status));
  }, withinMs);
  if (!over) throw new Error(`not within ${withinMs} ms: ${JSON.stringify(stages)}\n${readFileSync(join(up.dataDir, "logs", "agent.log"), "utf8").slice(-2_000)}`);
  return stages;
}

const outputDir = (id: string, stage: string) => join(up.dataDir, "agent", "attempts", id, stage, "1", "output");

describe("preprocess stages under `trainyard up`", { timeout: 120_000 }, () => {
  test("prepare-sft and prepare-rl run to COMPLETED, the next pipeline uses their files again, and cache: false does not", async () => {
    const stages = [{ name: "prepare-sft", params: { input: "gsm8k/train.jsonl", ...SFT } }, { name: "prepare-rl", params: { input: "gsm8k/train.jsonl", ...RL } }];
    const first = await ended(await submit(stages));
    for (const stage of Object.values(first)) {
      expect(stage).toMatchObject({ status: "COMPLETED", outputs: { rows: 1_000, dropped: 0, rejected: 0 } });
      const { trainFile, validationFile, trainRows, validationRows } = stage.outputs as { trainFile: string; validationFile: string; trainRows: number; validationRows: number };
      expect([(await rowsOf(trainFile)).length, (await rowsOf(validationFile)).length]).toEqual([trainRows, validationRows]);
      expect(trainRows + validationRows).toBe(1_000);
    }
    const second = await ended(await submit(stages));
    for (const stage of Object.values(second)) expect(stage.outputs?.["cachedFrom"]).toMatch(/^att_/);
    const third = await ended(await submit(stages.map((stage) => ({ ...stage, params: { ...stage.params, cache: false } }))));
    for (const [name, stage] of Object.entries(third)) {
      expect(stage.outputs).not.toHaveProperty("cachedFrom");
      expect(readFileSync(stage.outputs!["trainFile"] as string).equals(readFileSync(first[name]!.outputs!["trainFile"] as string))).toBe(true);
    }
  });

  test("a stage takes its input from the outputs of another", async () => {
    const stages = await ended(await submit([
      { name: "clean", params: { input: "gsm8k/train.jsonl", task: "sft", columns: SFT.columns } },
      { name: "sample", params: { input: "${stages.clean.outputs.trainFile}", task: "sft", maxRows: 100 }, dependsOn: ["clean"] },
    ], "chain"));
    expect(stages["sample"]).toMatchObject({ status: "COMPLETED", outputs: { rows: 100, rowsRead: 1_000, trainRows: 100, reasons: { NOT_SAMPLED: 900 } } });
  });

  test("a path outside the data directories is refused, through a link too", async () => {
    const stages = await ended(await submit([{ name: "plain", params: { input: "/etc/passwd", format: "csv", task: "sft" } }, { name: "linked", params: { input: "out/passwd", format: "csv", task: "sft" } }]));
    for (const stage of Object.values(stages)) expect(stage).toMatchObject({ status: "FAILED", error: { code: "INVALID_INPUT", message: expect.stringContaining("TRAINYARD_DATA_DIRS") } });
  });

  test("what was uploaded is readable by the agent where it lies", async () => {
    const folder = join(up.dataDir, "uploads", "by-hand");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "rows.jsonl"), exercises(20));
    expect(await ended(await submit([{ name: "uploaded", params: { input: join(folder, "rows.jsonl"), ...SFT } }]))).toMatchObject({ uploaded: { status: "COMPLETED", outputs: { rows: 20 } } });
  });

  test("an agent with other folders fetches a data set of the registry, and reads its own where it lies", async () => {
    type Registered = { registerDataset: { dataset?: { id: string; contentHash: string }; message?: string } };
    const { registerDataset } = await ask<Registered>("mutation ($input: RegisterDatasetInput!) { registerDataset(input: $input) { ... on RegisterDatasetPayload { dataset { id contentHash } } ... on DomainError { message } } }", { input: { name: "demo/gsm8k", path: "gsm8k/train.jsonl" } });
    expect(registerDataset).toMatchObject({ dataset: { contentHash: expect.stringMatching(/^[0-9a-f]{64}$/) } });
    const directory = newFolder("other-agent-");
    const other = await startCli(["agent", "--on-stop", "now"], { env: { TRAINYARD_URL: new URL(up.url).origin, TRAINYARD_AGENT_TOKEN_FILE: join(up.dataDir, "tokens", "agent"), TRAINYARD_AGENT_NAME: "other", TRAINYARD_AGENT_DIR: directory, TRAINYARD_AGENT_LABELS: "place=elsewhere", TRAINYARD_LOG_LEVEL: "silent" } });
    ends.push(async () => { other.process.kill("SIGKILL"); await other.ended; });
    const elsewhere = { resources: { labels: { place: "elsewhere" } } };
    const stages = await ended(await submit([
      { name: "fetched", params: { input: "dataset:demo/gsm8k@1", ...SFT, dataset: "demo/prepared" }, ...elsewhere },
      { name: "own", params: { input: "dataset:demo/prepared-train", task: "sft", filter: { noMatch: "^Kiosk 1 " } }, ...elsewhere, dependsOn: ["fetched"] },
      { name: "by-id", params: { input: registerDataset.dataset!.id, ...SFT, seed: 4 }, ...elsewhere },
      { name: "by-path", params: { input: "gsm8k/train.jsonl", ...SFT }, ...elsewhere },
    ], "elsewhere"));
    expect(stages).toMatchObject({
      fetched: { status: "COMPLETED", outputs: { rows: 1_000, trainFile: expect.stringContaining(directory) } },
      own: { status: "COMPLETED", outputs: { rows: stages["fetched"]!.outputs!["trainRows"] } },
      "by-id": { status: "COMPLETED", outputs: { rows: 1_000 } },
      "by-path": { status: "FAILED", error: { code: "FILE_NOT_FOUND", message: expect.stringContaining("gsm8k/train.jsonl") } },
    });
    expect(readdirSync(join(directory, "datasets")).filter((name) => name !== "results")).toEqual([`${registerDataset.dataset!.contentHash}.jsonl`]);
    other.process.kill("SIGTERM");
    await other.ended;
  });

  test("progress is shown, and a cancel ends the work at once and leaves nothing of it", async () => {
    const id = await submit([{ name: "large", params: { input: "large.jsonl", ...SFT, seed: 1 } }]);
    expect(await pollUntil(async () => ((await stagesOf(id))["large"]!.progress?.step ?? 0) > 0, 30_000)).toBe(true);
    expect((await stagesOf(id))["large"]!.progress!.totalSteps).toBeGreaterThan(0);
    expect((await up.cli("show", id, "large")).stdout).toMatch(/^\d+ % done(?:, .+ to go)?$/m);
    expect((await up.cli("cancel", id)).code).toBe(0);
    expect(await ended(id, 5_000)).toMatchObject({ large: { status: "CANCELLED" } });
    expect(readdirSync(outputDir(id, "large"))).toEqual([]);
  });

  test("after kill -9 of the agent the stage is finished by the one that is started again", async () => {
    const id = await submit([{ name: "large", params: { input: "large.jsonl", ...SFT, seed: 2 } }]);
    expect(await pollUntil(async () => ((await stagesOf(id))["large"]!.progress?.step ?? 0) > 0, 30_000)).toBe(true);
    const { agent } = JSON.parse(readFileSync(join(up.dataDir, "children.json"), "utf8")) as { agent: { pid: number } };
    process.kill(agent.pid, "SIGKILL");
    const stages = await ended(id, 100_000);
    expect(stages).toMatchObject({ large: { status: "COMPLETED", outputs: { rows: 400_000, rejected: 0 } } });
    expect(existsSync(outputDir(id, "large"))).toBe(true);
    expect(readdirSync(outputDir(id, "large")).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet", "validation.parquet"]);
    const { pipeline } = await ask<{ pipeline: { stages: { attempts: unknown[] }[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { attempts { id } } } }", { id });
    expect(pipeline.stages[0]!.attempts).toHaveLength(1);
  });
});
