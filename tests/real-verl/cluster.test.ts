// A Ray cluster over two agents as the agents bring it up and down: Ray is real, what verl's main_ppo would do on it is a small program.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { trainingFolder } from "../agent/training/training-world.js";
import { sharedFolder, startTwo, twoMembers } from "../agent/training/two-agents.js";
import { assign, stop } from "../support/control-plane-peer.js";
import { leftOf } from "../support/processes.js";
import { pythonFor } from "./verl-world.js";

const python = pythonFor("verl", "a Ray cluster over two agents, ended well and stopped");

/** Ray itself is real; what verl's main_ppo would do on the cluster is a small program that uses its GPUs. */
function pythonWithRay(folder: string): string {
  const program = join(folder, "python");
  const scripted = packagePath("tests", "agent", "training", "scripted-python.mjs");
  writeFileSync(program, `#!/bin/sh
case "$*" in
  *ray.scripts.scripts*|*await_cluster.py*) exec "${python}" "$@";;
  *verl.trainer.main_ppo*) exec "${python}" "${packagePath("tests", "real-verl", "ray_trainer.py")}" "$@";;
  *) exec "${process.execPath}" "${scripted}" "$@";;
esac
`, { mode: 0o700 });
  return program;
}

test.runIf(python !== null)("an RL run over two nodes gets a Ray cluster with the GPUs of both, and nothing of it is left", { timeout: 180_000 }, async () => {
  const folder = trainingFolder();
  const [one, two] = await startTwo({ TRAINYARD_AGENT_SHARED_DIR: sharedFolder(), TRAINYARD_AGENT_PYTHON: pythonWithRay(folder), TRAINYARD_AGENT_CPUS: "8" });
  const [head, other] = twoMembers(one.grpo({}, { export: "none", graceSeconds: 30 }));
  one.peer.order(assign(head));
  two.peer.order(assign(other));
  const [{ outcome }, ending] = await Promise.all([one.peer.report("ended", head.attemptId, 150_000), two.peer.report("ended", head.attemptId, 150_000)]);
  expect(outcome, one.peer.logOf(head.attemptId) + two.peer.logOf(head.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { metrics: { "cluster/gpus": 2, "cluster/nodes_used": 2 } } });
  expect(ending.outcome).toEqual({ kind: "COMPLETED", outputs: {} });
  expect(leftOf(head.attemptId)).toEqual([]);
});

test.runIf(python !== null)("a stop takes the whole cluster down on both nodes", { timeout: 180_000 }, async () => {
  const folder = trainingFolder();
  const [one, two] = await startTwo({ TRAINYARD_AGENT_SHARED_DIR: sharedFolder(), TRAINYARD_AGENT_PYTHON: pythonWithRay(folder), TRAINYARD_AGENT_CPUS: "8" });
  const [head, other] = twoMembers(one.grpo({}, { export: "none", graceSeconds: 30, env: { SCRIPT: "{}", HANG_AFTER_STEP: "1" } }));
  one.peer.order(assign(head));
  two.peer.order(assign(other));
  await one.peer.report("metrics", head.attemptId, 120_000);
  one.peer.order(stop(head));
  two.peer.order(stop(other));
  expect((await one.peer.report("ended", head.attemptId, 60_000)).outcome).toEqual({ kind: "STOPPED" });
  expect((await two.peer.report("ended", head.attemptId, 60_000)).outcome).toEqual({ kind: "STOPPED" });
  expect(leftOf(head.attemptId)).toEqual([]);
});
