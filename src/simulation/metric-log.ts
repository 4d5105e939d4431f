// Where a trainer logs its metrics: the console, and verl's JSON-lines file with the habits of the release.
//   M1. Every line carries `simulated:1`: whoever sees the numbers anywhere sees that they are invented.
//   M2. The file is opened anew by every run. 0.7.0 keeps everything in a buffer until a good end, and cannot write NumPy's numbers; from 0.7.1 a line is written at once.

import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { KnownRelease } from "../verl/releases.js";
import { Float, reprText } from "./python-text.js";
import { TrainerFailure } from "./trainer-failure.js";

export type Metrics = Readonly<Record<string, number | Float>>;

export interface MetricLog {
  /** Throws TrainerFailure. */
  log(step: number, metrics: Metrics): void;
  /** After a good end. */
  finish(): void;
}

const LOGGERS: ReadonlySet<string> = new Set(["console", "file", "tensorboard", "wandb", "mlflow", "swanlab", "vemlp_wandb", "clearml", "trackio", "rl_insight"]);

export interface MetricLogOptions {
  readonly release: KnownRelease;
  readonly loggers: readonly string[];
  readonly project: string;
  readonly experiment: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  print(line: string): void;
}

/** Throws TrainerFailure on a logger that verl does not have. */
export function createMetricLog({ release, loggers, project, experiment, environment, print }: MetricLogOptions): MetricLog {
  for (const logger of loggers) if (!LOGGERS.has(logger)) throw new TrainerFailure("AssertionError", `${logger} is not supported`);
  const file = loggers.includes("file") ? openFile(release, filePath(project, experiment, environment, print)) : null;
  return {
    log(step, metrics) {
      const marked = { ...metrics, simulated: 1 }; // M1
      if (loggers.includes("console")) print([`step:${step}`, ...Object.entries(marked).map(([key, value]) => `${key}:${reprText(value)}`)].join(" - "));
      file?.add(step, marked);
    },
    finish: () => file?.finish(),
  };
}

function filePath(project: string, experiment: string, environment: MetricLogOptions["environment"], print: (line: string) => void): string {
  const given = environment["VERL_FILE_LOGGER_PATH"];
  if (given !== undefined) {
    print(`Creating file logger at ${given}`);
    return given;
  }
  const root = (environment["VERL_FILE_LOGGER_ROOT"] ?? ".").replace(/^~(?=\/|$)/, homedir());
  const path = join(root, project, `${experiment}.jsonl`);
  mkdirSync(dirname(path), { recursive: true });
  print(`Creating file logger at ${path}`);
  return path;
}

/** M2. */
function openFile(release: KnownRelease, path: string): { add(step: number, metrics: Metrics): void; finish(): void } {
  const handle = openSync(path, "w");
  const buffered = release === "0.7.0";
  let buffer = "";
  return {
    add(step, metrics) {
      if (buffered && Object.keys(metrics).some((key) => key.startsWith("num_turns/"))) throw new TrainerFailure("TypeError", "Object of type int32 is not JSON serializable");
      const pairs = Object.entries(metrics).map(([key, value]) => `${JSON.stringify(key)}${buffered ? ": " : ":"}${jsonNumber(value instanceof Float ? value.value : value, buffered)}`);
      const line = buffered ? `{"step": ${step}, "data": {${pairs.join(", ")}}}\n` : `{"step":${step},"data":{${pairs.join(",")}}}\n`;
      if (buffered) buffer += line;
      else writeSync(handle, line);
    },
    finish() {
      if (buffer !== "") writeSync(handle, buffer);
      closeSync(handle);
    },
  };
}

/** Python's json writes what JSON does not have; orjson writes null. */
function jsonNumber(value: number, bare: boolean): string {
  if (Number.isFinite(value)) return String(value);
  return !bare ? "null" : Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}
