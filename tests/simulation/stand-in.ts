// Data that a trainer could train on, and the stand-in as a process of its own. For the tests of this folder and of tests/agent/training.

import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { outputColumns, type OutputColumns } from "../../src/data/write/output-columns.js";
import { createDurableFile } from "../../src/data/write/durable-file.js";
import { createParquetOutput } from "../../src/data/write/parquet-output.js";
import type { KnownRelease } from "../../src/verl/releases.js";
import { SCENARIO_VARIABLE, simulatedPython } from "../../src/simulation/stand-in.js";
import type { LaunchContext } from "../../src/verl/launch-context.js";
import { trainCommand } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "../verl/launch.js";

const say = (role: string, content: string) => ({ role, content });
const MAKERS = {
  sft: (i: number) => ({ messages: [say("user", `What is ${i} + ${i}?`), say("assistant", `${2 * i}`)] }),
  rl: (i: number) => ({
    data_source: "openai/gsm8k", prompt: [say("user", `What is ${i} + ${i}?`)], ability: "math", reward_model: { style: "rule", ground_truth: `${2 * i}` },
    extra_info: { split: "train", index: BigInt(i), question: `What is ${i} + ${i}?`, answer: `${2 * i}`, extra: null },
  }),
  preference: (i: number) => ({ prompt: [say("user", `What is ${i} + ${i}?`)], chosen: [say("assistant", `${2 * i}`)], rejected: [say("assistant", `${2 * i + 1}`)] }),
} as const;

export type Task = keyof typeof MAKERS;

export function runFolder(): string {
  return mkdtempSync(join(inject("runFolder"), "simulation-"));
}

/** A Parquet file of so many rows, as a preprocess stage writes it. */
export async function writeRows(path: string, task: Task, rows: number, change: (row: Record<string, unknown>) => Record<string, unknown> = (row) => row): Promise<string> {
  const columns: OutputColumns = outputColumns({ task, preferenceForm: "messages", keepColumns: [] });
  const output = createParquetOutput({ file: await createDurableFile(path), columns, createdBy: "test" });
  for (let i = 0; i < rows; i++) await output.add(change({ ...MAKERS[task](i) }), 100);
  await output.finish();
  return path;
}

export interface Finished { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly stdout: string; readonly stderr: string }
export interface StandIn { readonly child: ChildProcess; readonly ended: Promise<Finished>; /** Resolves when standard output has matched. */ said(pattern: RegExp): Promise<void> }

/** Starts an argv; whatever it leaves is the test's business. */
export function start(argv: readonly string[], environment: Record<string, string>): StandIn {
  const child = spawn(argv[0]!, argv.slice(1), { env: { PATH: process.env["PATH"], ...environment }, stdio: ["ignore", "pipe", "pipe"] });
  const texts = { stdout: "", stderr: "" };
  const watchers = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      texts[name] += text;
      for (const watcher of watchers) watcher();
    });
  }
  const ended = new Promise<Finished>((done) => child.once("close", (code, signal) => done({ code, signal, ...texts })));
  onTestFinished(() => void child.kill("SIGKILL"));
  return {
    child, ended,
    said: (pattern) => new Promise((done, failed) => {
      const look = (): void => {
        if (!pattern.test(texts.stdout)) return;
        watchers.delete(look);
        done();
      };
      watchers.add(look);
      look();
      void ended.then(({ stdout, stderr }) => failed(new Error(`it ended without saying ${pattern}:\n${stdout.slice(-2_000)}\n${stderr.slice(-2_000)}`)));
    }),
  };
}

export interface RunOptions { readonly version?: KnownRelease; readonly scenario?: Record<string, unknown>; readonly context?: Partial<LaunchContext>; readonly environment?: Record<string, string> }

/** A training as Trainyard would start it, the stand-in where Python would be. */
export function train(folder: string, params: Record<string, unknown>, { version = "0.7.1", scenario = {}, context = {}, environment = {} }: RunOptions = {}): StandIn {
  const command = trainCommand(trainParams(params), release(version), launchContext({
    gpusPerNode: 1, python: simulatedPython(version), checkpointDir: join(folder, "checkpoints"), hydraDir: join(folder, "hydra"), samplesDir: join(folder, "samples"), ...context,
  }));
  return start(command.argv, { ...command.environment, VERL_FILE_LOGGER_PATH: join(folder, "metrics.jsonl"), [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 5, ...scenario }), ...environment });
}

export const read = (...path: string[]): string => readFileSync(join(...path), "utf8");
