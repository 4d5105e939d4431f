// A program that stands where Python with verl would: it answers the version probe, draws answers as main_generation_server does and scores as main_eval does,
// as scripted by the JSON in STAND_IN. It follows what verl does with files (reference page of verl, §6), trains and knows nothing. For tests only.
import { appendFileSync, chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { parquetWriteFile } from "hyparquet-writer";
import { packagePath } from "../../src/package-root.js";

export interface StandInScript {
  /** Null: no verl here. */
  readonly version: string | null;
  /** The answers to the question in a prompt are `<question's number doubled><suffix>`, one per suffix; 0 is the number of other questions. */
  readonly answers?: readonly string[];
  /** Ends like this instead of drawing. */
  readonly fails?: { readonly say: string; readonly exit: number };
  /** One JSON line per start: argv. */
  readonly calls: string;
  /** Draws nothing before there is such a file. */
  readonly waitFor?: string;
  /** Takes so long to load, in milliseconds. */
  readonly slowMs?: number;
  /** What main_eval prints around numbers. */
  readonly numpy?: boolean;
}

/** An executable file that plays the interpreter. */
export function standInPython(folder: string): string {
  const file = join(folder, "python3");
  writeFileSync(file, `#!/usr/bin/env -S ${process.execPath} ${packagePath("scripts", "worker-from-source.mjs")} ${import.meta.url}\n`);
  chmodSync(file, 0o755);
  return file;
}

type Row = Record<string, unknown> & { prompt: { role: string; content: string }[]; responses?: string[]; reward_model?: { ground_truth: string }; data_source?: string };

export async function play(argv: readonly string[]): Promise<void> {
  const script = JSON.parse(process.env["STAND_IN"]!) as StandInScript;
  appendFileSync(script.calls, `${JSON.stringify(argv)}\n`);
  if (argv[0] === "-c") return void (script.version !== null && process.stdout.write(`${script.version}\n`));
  const value = (key: string): string => {
    const found = argv.find((argument) => argument.replace(/^\+*/, "").startsWith(`${key}=`));
    if (found === undefined) throw new Error(`Key '${key}' was not given`);
    return found.slice(found.indexOf("=") + 1).replace(/^\[(.*)\]$/, "$1").replace(/^'(.*)'$/, "$1");
  };
  const read = async (path: string) => (await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors })) as Row[];
  if (argv[1] === "verl.trainer.main_generation_server") {
    if (script.fails !== undefined) {
      process.stderr.write(`${script.fails.say}\n`);
      process.exit(script.fails.exit);
    }
    console.log("(TaskRunner pid=1) loading");
    await delay(script.slowMs ?? 0);
    while (script.waitFor !== undefined && !existsSync(script.waitFor)) await delay(20);
    const rows = await read(value("data.train_files"));
    if (new Set(rows.map(({ prompt }) => prompt.length)).size > 1) throw new Error("ValueError: setting an array element with a sequence: the dialogues have different lengths");
    const suffixes = script.answers ?? [""];
    if (suffixes.length !== Number(value("actor_rollout_ref.rollout.n"))) throw new Error(`n is ${value("actor_rollout_ref.rollout.n")}`);
    const responses = rows.map(({ prompt }) => suffixes.map((suffix) => `${2 * Number(/What is (\d+)/.exec(prompt.at(-1)!.content)?.[1] ?? 0)}${suffix}`));
    console.log("(TaskRunner pid=1) generating");
    parquetWriteFile({ filename: value("data.output_path"), columnData: [
      { name: "id", data: rows.map(({ id }) => id as string), type: "STRING" }, { name: "responses", data: responses, type: "JSON" },
    ], ...listOfStrings(responses, rows) });
    return;
  }
  if (argv[1] !== "verl.trainer.main_eval") throw new Error(`No module named ${argv[1]}`);
  value(script.version!.startsWith("0.7.0") ? "custom_reward_function.path" : "reward.custom_reward_function.path");
  const bySource = new Map<string, number[]>();
  for (const { data_source, responses, reward_model } of await read(value("data.path"))) {
    const scores = responses!.map((response): number => (response === reward_model!.ground_truth ? 1 : 0));
    bySource.set(data_source!, [...(bySource.get(data_source!) ?? []), scores.reduce((a, b) => a + b) / scores.length]);
  }
  const number = (mean: number) => (script.numpy === true ? `np.float64(${mean})` : String(mean));
  console.log(`{${[...bySource].map(([source, scores]) => `'test_score/${source}': ${number(scores.reduce((a, b) => a + b) / scores.length)}`).join(", ")}}`);
}

/** responses as LIST<STRING>, which is how pandas writes a list per row. */
function listOfStrings(responses: string[][], rows: readonly Row[]): object {
  return {
    schema: [
      { name: "root", num_children: 2 }, { name: "id", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
      { name: "responses", repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 }, { name: "list", repetition_type: "REPEATED", num_children: 1 }, { name: "element", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "OPTIONAL" },
    ],
    columnData: [{ name: "id", data: rows.map(({ id }) => id as string) }, { name: "responses", data: responses }],
  };
}

/** The argvs with which the stand-in was started, probes left out. */
export function callsOf(file: string): string[][] {
  return readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line) as string[]).filter(([first]) => first !== "-c");
}

if (process.env["STAND_IN"] !== undefined) await play(process.argv.slice(process.argv.findIndex((word) => word.endsWith("/python3")) + 1));
