// main_ppo: reads the configuration, brings up its Ray, and waits for the TaskRunner that does the rest.
//   R1. SIGINT ends the cluster, exit code 1; SIGTERM makes Ray abort, 134; SIGKILL leaves the dashboard's agents behind.

import type { ChildProcess } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import type { ComposedConfig } from "./composed-config.js";
import { reprText } from "./python-text.js";
import { relayOutput, startIdle, startWorker } from "./ray-cluster.js";
import { tracebackOf } from "./trainer-failure.js";
import type { TrainerHost } from "./trainer-host.js";

/** Between two of Ray's complaints about processors it does not have, in milliseconds. */
const COMPLAINT_MS = 2_000;

/** What the TaskRunner says before it dies of an exception. */
export interface WorkerFailure { readonly kind: string; readonly message: string }

/** Resolves with the exit code. `words`: what the configuration was composed from. */
export async function runDriver(config: ComposedConfig, module: string, words: readonly string[], host: TrainerHost): Promise<number> {
  const dashboard = startIdle("ray::DashboardAgent", host.environment);
  let stopped: NodeJS.Signals | null = null;
  let stop: () => void = () => undefined;
  const stopping = new Promise<"stopped">((done) => { stop = () => done("stopped"); });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (host.scenario.deaf) return;
      stopped ??= signal;
      stop();
    });
  }
  const cpus = config.number("ray_kwargs.ray_init.num_cpus");
  host.print(`ray init kwargs: {'num_cpus': ${cpus ?? "None"}, 'runtime_env': {'env_vars': {'TOKENIZERS_PARALLELISM': 'true', 'NCCL_DEBUG': 'WARN', 'VLLM_LOGGING_LEVEL': 'WARN'}}}`);
  host.progress("INFO worker.py:2013 -- Started a local Ray instance.\n");
  const runner = host.scenario.unplaceable ? null : startWorker("TaskRunner", [module, ...words], host);
  let failure: WorkerFailure | null = null;
  runner?.on("message", (message) => { failure = message as WorkerFailure; });
  const outcome = await Promise.race([stopping, runner === null ? complain(host, config.number("trainer.n_gpus_per_node") ?? 8) : endOf("TaskRunner", runner, host)]);
  if (outcome === "stopped") {
    runner?.kill("SIGKILL");
    dashboard.kill("SIGKILL");
    host.progress(stopped === "SIGINT" ? tracebackOf({ kind: "KeyboardInterrupt", message: "" }, "verl/trainer/main_ppo.py") : "*** SIGTERM received ***\nFatal Python error: Aborted\n");
    return stopped === "SIGINT" ? 1 : 134; // R1
  }
  dashboard.kill("SIGKILL");
  if (outcome.code === 0) return 0;
  const told = failure as WorkerFailure | null;
  host.progress(`Error executing job with overrides: ${reprText(words)}\n`);
  host.progress(told === null
    ? tracebackOf({ kind: "ray.exceptions.ActorDiedError", message: "The actor died unexpectedly before finishing this task.\n\tclass_name: TaskRunner\nThe actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker unexpectedly exits with a connection error code 2. End of file. There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage. (2) ray stop --force is called. (3) The worker is crashed unexpectedly due to SIGSEGV or other unexpected errors." }, "verl/trainer/main_ppo.py")
    : tracebackOf({ kind: `ray.exceptions.RayTaskError(${told.kind.slice(told.kind.lastIndexOf(".") + 1)})`, message: `ray::TaskRunner.run() (pid=${runner?.pid ?? 0}, ip=127.0.0.1)\n${told.kind}: ${told.message}` }, "verl/trainer/main_ppo.py"));
  return 1;
}

async function endOf(name: string, worker: ChildProcess, host: TrainerHost): Promise<{ readonly code: number | null }> {
  const relayed = relayOutput(name, worker, host);
  const code = await new Promise<number | null>((done) => worker.once("exit", done).once("error", () => done(127)));
  await relayed;
  return { code };
}

async function complain(host: TrainerHost, gpus: number): Promise<never> {
  for (let seconds = 29; ; seconds += 35) {
    host.print(`(autoscaler +${seconds}s) Error: No available node types can fulfill resource request {'GPU': ${gpus}.0, 'CPU': 3.0}. Add suitable node types to this cluster to resolve this issue.`);
    await delay(COMPLAINT_MS);
  }
}
