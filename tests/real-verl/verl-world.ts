// A world with a real control plane, agents whose Python has verl, and examples/verl-on-cpu. Its tests take minutes and gigabytes: they run by `npm run test:verl` and
// say aloud everywhere else that they did not.

import { execFile, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { inject, onTestFinished } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { findPython } from "../python/python.js";
import { processesBelow } from "../support/processes.js";
import { startProcessesWorld, type ProcessesWorld, type Running } from "../support/processes-world.js";

export const EXAMPLE = packagePath("examples", "verl-on-cpu");
const WANTED = process.env["TRAINYARD_TEST_VERL"] === "1";

/** The environment's python; null, said aloud, where the test is not to run or cannot. */
export function pythonFor(environment: "verl" | "verl-0.9", what: string): string | null {
  if (WANTED) return findPython(environment, what);
  console.warn(`\nNOT RUN: ${what}: it takes minutes; \`npm run test:verl\` runs it\n`);
  return null;
}

/** How long a pipeline may take on a busy machine of two processors, in milliseconds. */
export const PIPELINE_MS = 900_000;

/** What a stage needs for verl to train without a GPU. */
export const ON_CPU = {
  strategy: "fsdp2",
  overrides: { "model.override_config.attn_implementation": "sdpa", "data.num_workers": 0 },
  env: { PYTHONPATH: EXAMPLE, VERL_USE_EXTERNAL_MODULES: "verl_on_cpu", OMP_NUM_THREADS: "1" },
} as const;

export const MODEL = (python: string) => ({ name: "model", kind: "command", params: { run: [python, join(EXAMPLE, "tiny_model.py")] } });
export const REPORTS = { name: "prepare", kind: "preprocess", params: { input: "reports.jsonl", task: "sft", split: { validation: 0.1 } } };
/** 216 rows in batches of 16: 13 steps an epoch. */
export const SFT = {
  algorithm: "sft", model: "${stages.model.outputs.model}", trainFiles: "${stages.prepare.outputs.trainFile}", batchSize: 16, maxLength: 128, learningRate: 0.01, epochs: 3, saveEvery: 10, ...ON_CPU,
};

export interface StageView { readonly name: string; readonly status: string; readonly outputs: Record<string, unknown> | null; readonly attempts: readonly { readonly number: number; readonly status: string; readonly error: { readonly code: string; readonly message: string } | null }[] }

export interface VerlWorld extends ProcessesWorld {
  readonly python: string;
  readonly server: Running;
  /** An agent with the environment's Python first on its path. */
  startVerlAgent(name?: string, settings?: Record<string, string>): Running;
  stages(pipelineId: string): Promise<ReadonlyMap<string, StageView>>;
  /** Waits for the end; rejects with the log of what failed unless every stage is COMPLETED. */
  completed(pipelineId: string): Promise<ReadonlyMap<string, StageView>>;
  /** Points of one metric: attempt → steps and values, in order. */
  points(pipelineId: string, stage: string, metric: string): Promise<ReadonlyMap<number, readonly (readonly [step: number, value: number])[]>>;
  /** Resolves when a point of that attempt at that step, or a later one, is stored. */
  reached(pipelineId: string, stage: string, attempt: number, step: number, metric?: string): Promise<void>;
  log(pipelineId: string, stage: string): Promise<string>;
  /** Pids of processes of an agent's programs whose command line holds the text; the launcher's shells, which repeat it, are left out. */
  programs(agent: string, text: string): readonly number[];
}

export async function startVerlWorld(python: string): Promise<VerlWorld> {
  // A machine that trains answers late: nobody is lost for that.
  const world = await startProcessesWorld({ link: "https", settings: { TRAINYARD_LEASE_TTL_MS: "120000", TRAINYARD_UNRESPONSIVE_AFTER_MS: "60000" } });
  onTestFinished(() => world.stop());
  const server = world.startServer();
  await world.ready(server);

  const log = async (pipelineId: string, stage: string): Promise<string> => {
    const { rows } = await world.db.query<{ data: Buffer }>("select c.data from log_chunks c join stages s on s.id = c.stage_id where s.pipeline_id = $1 and s.name = $2 order by c.from_byte", [pipelineId, stage]);
    return Buffer.concat(rows.map(({ data }) => data)).toString();
  };
  const stages = async (pipelineId: string): Promise<ReadonlyMap<string, StageView>> => {
    const { pipeline } = await world.ask<{ pipeline: { stages: StageView[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { name status outputs attempts { number status error { code message } } } } }", { id: pipelineId });
    return new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  };
  const points = async (pipelineId: string, stage: string, metric: string) => {
    const { rows } = await world.db.query<{ attempt: number; step: string; value: number }>(
      "select m.attempt, p.step, p.value from metric_points p join metric_series m on m.id = p.series_id join stages s on s.id = m.stage_id where s.pipeline_id = $1 and s.name = $2 and m.name = $3 order by m.attempt, p.step", [pipelineId, stage, metric]);
    const found = new Map<number, (readonly [number, number])[]>();
    for (const { attempt, step, value } of rows) found.set(attempt, [...(found.get(attempt) ?? []), [Number(step), value]]);
    return found;
  };
  return Object.assign(world, {
    python, server, log, stages, points,
    startVerlAgent: (name = "agent", settings: Record<string, string> = {}) => world.startAgent({
      name, settings: { PATH: `${dirname(python)}:${process.env["PATH"]}`, TRAINYARD_AGENT_PYTHON: python, TRAINYARD_DATA_DIRS: EXAMPLE, TRAINYARD_NVIDIA_SMI: "/nonexistent/nvidia-smi", ...settings },
    }),
    async completed(pipelineId: string) {
      await world.settled(PIPELINE_MS);
      const found = await stages(pipelineId);
      const failed = [...found.values()].find(({ status }) => status === "FAILED");
      if (failed !== undefined) throw new Error(`${failed.name} failed: ${JSON.stringify(failed.attempts)}\n${(await log(pipelineId, failed.name)).slice(-6_000)}`);
      return found;
    },
    async reached(pipelineId: string, stage: string, attempt: number, step: number, metric = "train/loss") {
      await world.until(`step ${step} of attempt ${attempt} of ${stage}`, async () => ((await points(pipelineId, stage, metric)).get(attempt)?.at(-1)?.[0] ?? 0) >= step, PIPELINE_MS)
        .catch(async (error: unknown) => { throw new Error(`${(error as Error).message}\n${JSON.stringify([...(await stages(pipelineId)).values()])}\n${(await log(pipelineId, stage)).slice(-4_000)}`); });
    },
    programs: (agent: string, text: string) => processesBelow(world.agentDirectory(agent)).filter((pid) => !commandLine(pid).startsWith("/bin/sh") && commandLine(pid).includes(text)),
  });
}

export function commandLine(pid: number): string {
  return existsSync(`/proc/${pid}/cmdline`) ? readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") : "";
}

/** Server of answers (examples/verl-on-cpu/chat_server.py); its address, as a stage wants it. */
export async function startChatServer(python: string): Promise<string> {
  const child = spawn(python, [join(EXAMPLE, "chat_server.py")], { env: { PATH: process.env["PATH"], PYTHONUNBUFFERED: "1", HF_HUB_OFFLINE: "1", OMP_NUM_THREADS: "1" }, stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  let said = "";
  return new Promise((resolve, reject) => {
    child.stdout.on("data", (text: Buffer) => {
      said += text.toString();
      const port = /listening on (\d+)/.exec(said)?.[1];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}/v1`);
    });
    child.once("exit", (code) => reject(new Error(`the server of answers ended with ${code}`)));
  });
}

/** Runs judge_model.py; what it found out. */
export async function judgeModel<T>(python: string, question: Record<string, unknown>): Promise<T> {
  const { stdout } = await promisify(execFile)(python, [packagePath("tests", "real-verl", "judge_model.py"), JSON.stringify(question)], { timeout: PIPELINE_MS, env: { PATH: process.env["PATH"], HOME: inject("runFolder"), HF_HUB_OFFLINE: "1", OMP_NUM_THREADS: "1", PYTHONWARNINGS: "ignore" } });
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as T;
}

/** Rows as a file that preprocess stages may read. */
export function writeRows(folder: string, name: string, rows: readonly Record<string, unknown>[]): string {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  return path;
}
