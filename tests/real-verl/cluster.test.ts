// A Ray cluster over two agents as the agents bring it up and down, on their own machine and over SSH: Ray is real, what verl's main_ppo would do on it is a small program.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { nvidiaSmi, trainingFolder, trainingInputs, type TrainingWorld } from "../agent/training/training-world.js";
import { sharedFolder, startTwo, TEST_PORTS, twoMembers } from "../agent/training/two-agents.js";
import { assign, stop, type Peer } from "../support/control-plane-peer.js";
import { leftOf } from "../support/processes.js";
import { startSshAgentWorld } from "../support/ssh-agents.js";
import { sshdIsHere } from "../support/sshd.js";
import { pythonFor } from "./verl-world.js";

const python = pythonFor("verl", "a Ray cluster over two agents and over two SSH hosts, ended well and stopped");
const SETTINGS = (folder: string) => ({ TRAINYARD_AGENT_SHARED_DIR: sharedFolder(), TRAINYARD_AGENT_PYTHON: pythonWithRay(folder), TRAINYARD_AGENT_CPUS: "8" });

interface Pair { readonly one: Peer; readonly two: Peer; grpo: TrainingWorld["grpo"] }

async function startPair(overSsh: boolean): Promise<Pair> {
  const folder = trainingFolder();
  if (!overSsh) {
    const [one, two] = await startTwo(SETTINGS(folder));
    return { one: one.peer, two: two.peer, grpo: one.grpo };
  }
  const { grpo } = await trainingInputs(folder);
  const settings = { ...SETTINGS(folder), TRAINYARD_AGENT_PORTS: `${TEST_PORTS.first}-${TEST_PORTS.last}` };
  const member = async () => startSshAgentWorld({ cpus: 8, place: { nvidiaSmi: nvidiaSmi(folder, 1) }, settings });
  return { one: (await member()).peer, two: (await member()).peer, grpo };
}

/** Ray itself is real; what verl's main_ppo would do on the cluster is a small program that uses its GPUs. */
function pythonWithRay(folder: string): string {
  const program = join(folder, "python");
  const scripted = packagePath("tests", "agent", "training", "scripted-python.mjs");
  writeFileSync(program, `#!/bin/sh
case "$*" in
  *ray_member.py*|*ray.scripts.scripts*|*await_cluster.py*) exec "${python}" "$@";;
  *verl.trainer.main_ppo*) exec "${python}" "${packagePath("tests", "real-verl", "ray_trainer.py")}" "$@";;
  *"importlib import metadata"*) exec "${process.execPath}" "${scripted}" "$@";;
  -c*) exec "${python}" "$@";;
  *) exec "${process.execPath}" "${scripted}" "$@";;
esac
`, { mode: 0o700 });
  return program;
}

const WHERE = [["agents on their own machines", false], ...(sshdIsHere ? [["SSH hosts", true]] as const : [])] as const;

test.runIf(python !== null).each(WHERE)("an RL run over two nodes gets a Ray cluster with the GPUs of both, and nothing of it is left: %s", { timeout: 180_000 }, async (_, overSsh) => {
  const { one, two, grpo } = await startPair(overSsh);
  const [head, other] = twoMembers(grpo({}, { export: "none", graceSeconds: 30 }));
  one.order(assign(head));
  two.order(assign(other));
  const [{ outcome }, ending] = await Promise.all([one.report("ended", head.attemptId, 150_000), two.report("ended", head.attemptId, 150_000)]);
  expect(outcome, one.logOf(head.attemptId) + two.logOf(head.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { metrics: { "cluster/gpus": 2, "cluster/nodes_used": 2 } } });
  expect(ending.outcome).toEqual({ kind: "COMPLETED", outputs: {} });
  expect(leftOf(head.attemptId)).toEqual([]);
});

test.runIf(python !== null).each(WHERE)("a stop takes the whole cluster down on both nodes: %s", { timeout: 180_000 }, async (_, overSsh) => {
  const { one, two, grpo } = await startPair(overSsh);
  const [head, other] = twoMembers(grpo({}, { export: "none", graceSeconds: 30, env: { SCRIPT: "{}", HANG_AFTER_STEP: "1" } }));
  one.order(assign(head));
  two.order(assign(other));
  await one.report("metrics", head.attemptId, 120_000);
  one.order(stop(head));
  two.order(stop(other));
  expect((await one.report("ended", head.attemptId, 60_000)).outcome).toEqual({ kind: "STOPPED" });
  expect((await two.report("ended", head.attemptId, 60_000)).outcome).toEqual({ kind: "STOPPED" });
  expect(leftOf(head.attemptId)).toEqual([]);
});
