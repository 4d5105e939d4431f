// The stand-in for a trainer's Python: started with the words that Python would get (stand-in.ts), it plays torchrun with verl's SFT trainer, main_ppo with its Ray,
// TRL's DPO and verl's merger, by the book and without training anything. Exit codes, signals and files are theirs; the first line says aloud what this is.
// A run has many such processes: each loads only what its part needs.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { KNOWN_RELEASES, releaseFor, type KnownRelease } from "../verl/releases.js";
import { DPO_MODULE, readInvocation, UsageError } from "./invocation.js";
import { endWithParent, WORKER_MODULE } from "./ray-cluster.js";
import { readScenario, type Scenario } from "./scenario.js";
import { meetingPlaceOf, runTorchrun } from "./torchrun.js";
import { CompositionError, TrainerFailure, tracebackOf } from "./trainer-failure.js";
import type { ComposedConfig } from "./composed-config.js";
import type { RankHost, TrainerHost } from "./trainer-host.js";

const at = process.argv.findIndex((word) => word.startsWith("--plays="));
const plays = KNOWN_RELEASES.find((release) => `--plays=${release}` === process.argv[at]);

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const progress = (text: string): void => void process.stderr.write(text);

function hostOf(release: KnownRelease, scenario: Scenario): TrainerHost {
  return {
    release, scenario, environment: process.env, print, progress, self: process.argv.slice(1, at + 1),
    write: (path, content) => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    },
  };
}

function rankOf(host: TrainerHost): RankHost {
  const { RANK, WORLD_SIZE } = process.env;
  if (RANK === undefined || WORLD_SIZE === undefined) throw new TrainerFailure("ValueError", "Error initializing torch.distributed using env:// rendezvous: environment variable RANK expected, but not set");
  return { ...host, rank: Number(RANK), worldSize: Number(WORLD_SIZE), place: meetingPlaceOf(process.env) };
}

function announce({ release }: TrainerHost): void {
  print(`SIMULATED RUN: nothing is trained here. This is Trainyard's stand-in for verl ${release}; every number, answer and checkpoint below is invented.`);
}

/** Resolves with the exit code. */
async function run(host: TrainerHost): Promise<number> {
  const invocation = readInvocation(process.argv.slice(at + 1));
  if (invocation.kind === "torchrun") {
    announce(host);
    return runTorchrun(invocation.words, host);
  }
  if (invocation.kind === "ray member") return (await import("./ray-member.js")).runRayMember(invocation.ordersFile, progress);
  const { module, rest } = invocation;
  const release = releaseFor(host.release)!.release;
  switch (module) {
    case release.sftModule:
      await (await import("./sft-run.js")).runSft(await compose("sft_trainer_engine", rest, host), rankOf(host));
      return 0;
    case "verl.trainer.main_ppo":
    case release.rlModule:
      announce(host);
      return (await import("./rl-driver.js")).runDriver(await compose("ppo_trainer", rest, host), module, rest, host);
    case WORKER_MODULE:
      await runWorker(rest, host);
      return 0;
    case DPO_MODULE:
      announce(host);
      await (await import("./dpo-run.js")).runDpo(rest, host);
      return 0;
    case "verl.model_merger":
      announce(host);
      (await import("./merger.js")).runMerger(rest, host);
      return 0;
    default: throw new UsageError(`python3: Error while finding module specification for '${module}' (ModuleNotFoundError: No module named '${module}')`, 1);
  }
}

async function compose(base: "ppo_trainer" | "sft_trainer_engine", words: readonly string[], { release }: TrainerHost): Promise<ComposedConfig> {
  return (await import("./composed-config.js")).composeConfig(release, base, words);
}

async function runWorker([name, ...words]: readonly string[], host: TrainerHost): Promise<void> {
  endWithParent();
  process.title = `ray::${name?.slice("--name=".length) ?? ""}`;
  if (name !== "--name=TaskRunner") {
    const { rank, place } = rankOf(host);
    const [{ joinGroup }, { writeShards }] = await Promise.all([import("./rank-group.js"), import("./checkpoint-writer.js")]);
    await joinGroup(place, (order) => writeShards(order, rank));
    return;
  }
  try {
    await (await import("./rl-run.js")).runTaskRunner(await compose("ppo_trainer", words.slice(1), host), host);
  } catch (error) {
    if (error instanceof TrainerFailure || error instanceof CompositionError) await new Promise((sent) => process.send?.({ kind: error.kind, message: error.message }, sent));
    throw error;
  }
}

/** Hydra's own refusals come without Python's trace unless it is asked for. */
function tell(error: unknown): number {
  if (error instanceof UsageError) {
    progress(`${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof CompositionError) {
    const full = process.env["HYDRA_FULL_ERROR"] === "1";
    const module = error.kind === "MissingMandatoryValue" ? "omegaconf.errors" : "hydra.errors";
    progress(full ? tracebackOf({ kind: `${module}.${error.kind}`, message: error.message }, "hydra/_internal/config_loader_impl.py") : `${error.message}\n\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n`);
    return 1;
  }
  progress(error instanceof TrainerFailure ? tracebackOf(error, "verl/trainer/main.py") : `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}

async function main(): Promise<number> {
  try {
    if (plays === undefined) throw new UsageError(`The stand-in plays verl ${KNOWN_RELEASES.join(", ")}: name one by --plays=….`, 2);
    const scenario = readScenario(process.env);
    if (scenario.deaf) for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => undefined);
    return await run(hostOf(plays, scenario));
  } catch (error) {
    return tell(error);
  }
}

process.exit(await main());
