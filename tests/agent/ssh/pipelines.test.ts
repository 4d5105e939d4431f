// Pipelines on hosts that were added, with a real control plane between: placed, run over SSH, retried. verl's stand-in is in verl's place on the hosts.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readProcessTable } from "../../../src/agent/place/process-table.js";
import { SCENARIO_VARIABLE } from "../../../src/simulation/stand-in.js";
import { sshdForTest } from "../../support/ssh-agents.js";
import { fleetWorld } from "../../support/ssh-fleet.js";
import { sshdIsHere } from "../../support/sshd.js";
import { verlPython } from "../../support/verl-python.js";
import { trainingFolder, trainingInputs } from "../training/training-world.js";
import { sharedFolder } from "../training/two-agents.js";

const WITHIN_MS = 150_000;
const scenario = (of: Record<string, unknown>) => ({ [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 100, ...of }) });

describe.skipIf(!sshdIsHere)("pipelines on SSH hosts", { timeout: 300_000 }, () => {
  test("a training over two hosts is placed on both, meets where the hosts reach each other, and begins again on both when a rank is killed", async () => {
    const folder = trainingFolder();
    const { sftFile, model } = await trainingInputs(folder);
    const { world, add, start } = await fleetWorld();
    const python = verlPython(folder);
    const shared = sharedFolder();
    for (const [name, address] of [["gpu1", {}], ["gpu2", { TRAINYARD_AGENT_ADDRESS: "localhost" }]] as const) {
      await add(name, await sshdForTest(), { environment: { TRAINYARD_AGENT_SHARED_DIR: shared, ...address } });
    }
    await expect(add("gpu3", await sshdForTest(), { environment: { TRAINYARD_AGENT_SHARED_DIR: "shared" } })).rejects.toThrow(/absolute path/);
    start(undefined, { TRAINYARD_AGENT_PYTHON: python, TRAINYARD_AGENT_PORTS: "33000-33999" });
    const params = { algorithm: "sft", model, trainFiles: sftFile, batchSize: 16, epochs: 1, saveEvery: 2, export: "none", graceSeconds: 2, env: scenario({ stepMs: 300, incidents: [{ step: 4, kind: "hang" }] }) };
    const id = await world.submit([{ name: "train", kind: "train", resources: { nodes: 2 }, retry: { maxAttempts: 2, backoffSeconds: 0 }, params }]);
    await world.until(id, "step 3 is known", async () => (await world.points(id, "train/loss")).length === 3, WITHIN_MS);
    const addresses = await world.database.db.selectFrom("agents").select(["name", "address"]).orderBy("name").execute();
    expect(addresses).toEqual([{ name: "gpu1", address: "127.0.0.1" }, { name: "gpu2", address: "localhost" }]);
    process.kill(rankOf(id, 1)!, "SIGKILL");
    const stage = await world.ended(id, WITHIN_MS);
    expect(stage, await world.log(id)).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1, status: "FAILED" }, { number: 2, status: "COMPLETED" }], outputs: { steps: 4, checkpoint: join(shared, id, "train", "2", "checkpoints", "global_step_4") } });
    expect((await world.points(id, "train/loss")).map(([step]) => step)).toEqual([1, 2, 3, 4]);
    expect(await world.log(id)).toContain("goes on from the checkpoint of step 2 of attempt 1");
    expect(rankOf(id, 0) ?? rankOf(id, 1)).toBeUndefined();
  });

  test("data sets of the registry reach what prepares, trains and evaluates for a host", async () => {
    const folder = trainingFolder();
    const { model } = await trainingInputs(folder);
    const data = join(folder, "registered");
    mkdirSync(data);
    writeFileSync(join(data, "raw.jsonl"), Array.from({ length: 64 }, (_, index) => JSON.stringify({ question: `What is ${index}?`, answer: `It is ${index}.` })).join("\n"));
    writeFileSync(join(data, "sft.parquet"), readFileSync(join(folder, "sft.parquet")));
    const { world, add, start } = await fleetWorld({ settings: { TRAINYARD_DATA_DIRS: data } });
    for (const [name, path] of [["demo/raw", "raw.jsonl"], ["demo/sft", "sft.parquet"]]) {
      const { registerDataset } = await world.ask<{ registerDataset: { dataset?: { id: string } } }>("mutation ($input: RegisterDatasetInput!) { registerDataset(input: $input) { ... on RegisterDatasetPayload { dataset { id } } } }", { input: { name, path } });
      expect(registerDataset.dataset?.id).toMatch(/^dst_/);
    }
    const sshd = await sshdForTest();
    await add("gpu1", sshd);
    start(undefined, { TRAINYARD_AGENT_PYTHON: verlPython(folder) });
    const train = { algorithm: "sft", model, batchSize: 16, epochs: 1, saveEvery: 2, export: "none", env: scenario({}) };
    const resources = { labels: { host: "gpu1" } };
    const id = await world.submit([
      { name: "prepare", kind: "preprocess", resources, params: { input: "dataset:demo/raw", task: "sft", columns: { prompt: "question", answer: "answer" }, dataset: "demo/made" } },
      { name: "made", kind: "train", dependsOn: ["prepare"], resources, params: { ...train, trainFiles: "dataset:demo/made-train" } },
      { name: "given", kind: "train", resources, params: { ...train, trainFiles: "dataset:demo/sft" } },
      { name: "score", kind: "evaluate", resources, params: { model: "Qwen/Qwen2.5-0.5B", simulate: true, input: "dataset:demo/raw", columns: { prompt: "question", answer: "answer" }, scorer: "exact" } },
    ]);
    for (const name of ["prepare", "made", "given", "score"]) {
      await world.until(id, `${name} is over`, async () => ["COMPLETED", "FAILED", "SKIPPED"].includes((await world.stage(id, name)).status), WITHIN_MS);
      const stage = await world.stage(id, name);
      expect(stage, JSON.stringify(stage)).toMatchObject({ status: "COMPLETED" });
    }
    expect((await world.stage(id, "made")).outputs).toMatchObject({ steps: 4 });
    expect((await world.stage(id, "score")).outputs).toMatchObject({ sampleCount: 64 });
    const store = join(sshd.folder, "work", "store");
    const brought = readdirSync(store, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name.endsWith(".parquet")).map((entry) => join(entry.parentPath, entry.name));
    const files = [join(data, "sft.parquet"), (await world.stage(id, "prepare")).outputs!["trainFile"] as string].map((path) => readFileSync(path));
    expect(brought).toHaveLength(2);
    for (const file of files) expect(brought.some((path) => readFileSync(path).equals(file))).toBe(true);
    expect(existsSync(join(sshd.folder, "work", "attempts", id, "score"))).toBe(false);
  });
});

/** The process of this rank of the pipeline's trainer. */
function rankOf(pipelineId: string, rank: number): number | undefined {
  return readProcessTable().map(({ pid }) => pid).find((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      return environment.includes(pipelineId) && environment.split("\0").includes(`RANK=${rank}`) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("verl.trainer.sft_trainer");
    } catch {
      return false;
    }
  });
}
