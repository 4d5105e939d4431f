// Simulated trainings over two nodes: two agents on this machine, one folder that both see, the control plane and all processes real.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { simulated, startPipelineWorld } from "./pipeline-world.js";
import { runFolder, writeRows } from "./stand-in.js";

let data: { sft: string; rl: string };
beforeAll(async () => {
  const folder = runFolder();
  data = { sft: await writeRows(join(folder, "sft.parquet"), "sft", 96), rl: await writeRows(join(folder, "rl.parquet"), "rl", 96) };
});

/** A living process of this pipeline that has these words in its title or command line, and this rank where one is asked for. Ray's workers call themselves by their names. */
function processOf(pipelineId: string, words: string, rank: number | null): number | undefined {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).find((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, "latin1");
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(words) && environment.includes(pipelineId) && (rank === null || environment.split("\0").includes(`RANK=${rank}`));
    } catch {
      return false;
    }
  });
}

test.each([
  ["sft", () => ({ algorithm: "sft", trainFiles: data.sft }), "train/loss", "verl.trainer.sft_trainer", 1],
  ["grpo", () => ({ algorithm: "grpo", trainFiles: data.rl, valFiles: data.rl, maxPromptLength: 64, maxResponseLength: 64 }), "actor/pg_loss", "ray::TaskRunner", null],
] as const)("%s runs over two nodes, and when one of its processes is killed both members begin again from the last checkpoint", async (_algorithm, params, metric, words, rank) => {
  const world = await startPipelineWorld();
  const shared = runFolder();
  for (const name of ["one", "two"]) await world.startAgent({ TRAINYARD_AGENT_NAME: name, TRAINYARD_AGENT_SHARED_DIR: shared, TRAINYARD_AGENT_ADDRESS: "127.0.0.1", TRAINYARD_AGENT_PORTS: "32000-32999" });
  const id = await world.submit([simulated({ ...params(), saveEvery: 2, export: "none" }, { incidents: [{ step: 4, kind: "hang" }] }, { resources: { nodes: 2 }, retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
  await world.until(id, "step 3 is known", async () => (await world.points(id, metric)).length === 3, 90_000);
  process.kill(processOf(id, words, rank)!, "SIGKILL");
  const stage = await world.ended(id, 90_000);
  expect(stage).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1, status: "FAILED" }, { number: 2, status: "COMPLETED" }], outputs: { steps: 6 } });
  const checkpoint = stage.outputs!["checkpoint"] as string;
  expect(checkpoint).toBe(join(shared, id, "train", "2", "checkpoints", "global_step_6"));
  expect(readdirSync(join(checkpoint, metric === "train/loss" ? "." : "actor")).filter((name) => name.startsWith("model_")).sort()).toEqual([0, 1].map((rank) => `model_world_size_2_rank_${rank}.pt`));
  expect((await world.points(id, metric)).map(([step]) => step)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await world.log(id)).toContain("goes on from the checkpoint of step 2 of attempt 1");
}, 240_000);
