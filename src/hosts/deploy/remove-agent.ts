// Takes a deployed agent off its host: it finishes what it runs, or is made to stop; then everything of it goes, but for attempts that hold checkpoints or registered data files.

import { setTimeout as delay } from "node:timers/promises";
import { unitOf } from "./deploy-agent.js";
import type { DeployProgress } from "./deploy-progress.js";
import type { Deployer } from "./deployer.js";
import type { HostLook } from "./host-fitness.js";

const LOOK_MS = 1_000;
/** How long the agent may take to hand over its last reports when nothing runs, and to stop what runs, in milliseconds. Then it is killed. */
const FAREWELL_MS = 60_000;
const STOP_MS = 10 * 60_000;

export interface RemoveParts {
  /** No new work for it; resolves with the attempts that it still holds. */
  drain(): Promise<number>;
  /** Whether what runs shall be stopped: may change while we wait. */
  now(): Promise<boolean>;
}

/** Resolves with the folders that stay. Throws SshError, DeployError, and the signal's reason. */
export async function removeAgent(name: string, deployer: Deployer, parts: RemoveParts, progress: DeployProgress, signal: AbortSignal): Promise<{ readonly kept: readonly string[] }> {
  const unit = unitOf(name);
  let step = progress.begin("look at the host");
  const { running } = await deployer.ask<HostLook>("look", { unit });
  step.done(running.agent === null ? "no agent runs there" : `its agent runs (pid ${running.agent.pid})`);

  step = progress.begin("wait for what it runs");
  let held = await parts.drain();
  for (let said = -1; held > 0 && !(await parts.now()); held = await parts.drain()) {
    if (said !== held) step.detail(`${held} attempt${held === 1 ? "" : "s"}; with --now they are stopped`);
    said = held;
    await delay(LOOK_MS, undefined, { signal });
  }
  step.done(held === 0 ? "nothing runs" : "what runs is stopped");

  step = progress.begin("stop the agent");
  const patienceMs = held === 0 ? FAREWELL_MS : STOP_MS;
  await deployer.ask("stop", { unit, mode: held === 0 ? "drain" : "now", patienceMs }, patienceMs + 60_000);
  step.done();

  step = progress.begin("remove its files");
  const { kept } = await deployer.ask<{ kept: string[] }>("remove", { unit, patienceMs: FAREWELL_MS }, 600_000);
  step.done(kept.length === 0 ? "everything" : `all but ${kept.length} attempt${kept.length === 1 ? "" : "s"} with checkpoints or registered data files`);
  return { kept };
}
