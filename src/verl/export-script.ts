// A training run as a plain shell script that reproduces it without Trainyard.
//   E1. Every word is quoted, whatever it holds. What differs from host to host are variables of the script, never words.
//   E2. Values of secrets are never written: the script asks for them by name.

import { readFileSync } from "node:fs";
import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import { filesOf, type TrainParams } from "../domain/training/train-params.js";
import type { Resources } from "../domain/pipeline/spec.js";
import { dataLink, dpoCommand, RESUME_PROGRAM } from "./dpo.js";
import type { LaunchContext } from "./launch-context.js";
import type { Release } from "./releases.js";
import { trainCommand } from "./train-command.js";

export interface RunToExport {
  /** What the script says of where it is from, one line. */
  readonly about: string;
  readonly project: string;
  readonly experiment: string;
  /** References filled in. */
  readonly params: TrainParams;
  readonly resources: Pick<Resources, "gpus" | "nodes">;
  readonly release: Release;
}

/** Stand for the script's variables in words (E1). */
const VARIABLES = { RUN_DIR: "/__trainyard_RUN_DIR__", HEAD_ADDRESS: "__trainyard_HEAD_ADDRESS__" } as const;
const MEETING_PORT = 29_500;
const RAY_PORT = 6_379;

/** A POSIX shell script. Throws RangeError on a NUL character, which no shell can carry, and on values that no override can. */
export function exportRun(run: RunToExport): string {
  const { params, resources } = run;
  const { nodes } = resources;
  const members = Array.from({ length: nodes }, (_, rank) => memberOf(run, rank));
  const trainer = ALGORITHM_FACTS[params.algorithm].trainer === "trl-dpo" ? "TRL" : `verl ${run.release.release}`;
  const needs = `Needs a Python with ${trainer}${resources.gpus === 0 ? "" : `, and ${resources.gpus} GPU${resources.gpus === 1 ? "" : "s"}${nodes === 1 ? "" : ` on each of ${nodes} hosts that share the model, the data and RUN_DIR`}`}.`;
  const lines = [
    "#!/bin/sh",
    `# ${oneLine(run.about)}.`,
    ...(params.simulate ? ["# The run was SIMULATED: a stand-in ran that trained nothing. This script trains in earnest."] : []),
    `# ${needs}`,
    "set -eu",
    "",
    "# An absolute path: checkpoints, samples and logs go there.",
    'RUN_DIR="${RUN_DIR:-$PWD/run}"',
    ...(nodes === 1 ? [] : ["# Run this on every host, with RANK 0 on the head and 1, 2, … on the others.", 'RANK="${RANK:?set RANK: 0 on the head}"', 'HEAD_ADDRESS="${HEAD_ADDRESS:?set HEAD_ADDRESS: the address of the host with RANK 0}"']),
    'mkdir -p "$RUN_DIR"',
    "",
    ...environmentOf(run).map(([name, value]) => `export ${name}=${value}`),
    "",
    ...(nodes === 1 ? written(members[0]!) : ['case "$RANK" in', ...members.flatMap((commands, rank) => [`${rank})`, ...written(commands), ";;"]), `*) echo "RANK is 0 to ${nodes - 1}" >&2; exit 2 ;;`, "esac"]),
  ];
  return `${lines.join("\n")}\n`;
}

/** Commands of one member, in order; the last one is the training. */
function memberOf({ params, resources: { nodes, gpus }, release, project, experiment }: RunToExport, rank: number): readonly (readonly string[])[] {
  const context: LaunchContext = {
    nodes, gpusPerNode: gpus, rank, meeting: nodes > 1 ? { address: VARIABLES.HEAD_ADDRESS, port: MEETING_PORT } : null, python: [params.python ?? "python3"], checkpointDir: `${VARIABLES.RUN_DIR}/checkpoints`,
    hydraDir: `${VARIABLES.RUN_DIR}/hydra`, samplesDir: `${VARIABLES.RUN_DIR}/samples`, project, experiment, resumeFrom: typeof params.resume === "object" ? params.resume.from : null, cpus: null, device: gpus === 0 ? "cpu" : "cuda",
  };
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  if (trainer === "trl-dpo") {
    const folder = `${VARIABLES.RUN_DIR}/data`;
    const links = (["train", "validation"] as const).flatMap((split) => filesOf(split === "train" ? params.trainFiles : params.valFiles).map((file, position) => ["ln", "-sf", file, `${folder}/${dataLink(split, position)}`]));
    const command = dpoCommand(params, { ...context, dataFolder: folder, validates: params.valFiles !== undefined });
    if (!command.includes(RESUME_PROGRAM)) return [["mkdir", "-p", folder], ...links, command];
    const program = `${VARIABLES.RUN_DIR}/resume_dpo.py`; // a file of ours travels in the script
    const writes = [...context.python, "-c", "import sys\nopen(sys.argv[1], 'w').write(sys.argv[2])", program, readFileSync(RESUME_PROGRAM, "utf8")];
    return [["mkdir", "-p", folder], ...links, writes, command.map((word) => (word === RESUME_PROGRAM ? program : word))];
  }
  const command = trainCommand(params, release, context).argv;
  if (trainer === "verl-sft" || nodes === 1) return [command];
  const ray = [...context.python, "-m", "ray.scripts.scripts", "start"];
  if (rank > 0) return [[...ray, `--address=${VARIABLES.HEAD_ADDRESS}:${RAY_PORT}`, "--block"]];
  const everyHost = `import time, ray\nray.init(address="auto")\nwhile sum(node["Alive"] for node in ray.nodes()) < ${nodes}: time.sleep(2)`;
  return [[...ray, "--head", `--port=${RAY_PORT}`], [...context.python, "-c", everyHost], command];
}

/** E2. */
function environmentOf({ params, release, resources }: RunToExport): (readonly [string, string])[] {
  const { trainer } = ALGORITHM_FACTS[params.algorithm];
  const own = trainer === "trl-dpo" ? {} : trainCommand(params, release, { ...NO_PLACE, nodes: resources.nodes, gpusPerNode: resources.gpus }).environment;
  const logger = trainer === "trl-dpo" || !release.fileLogger ? {} : { VERL_FILE_LOGGER_PATH: `${VARIABLES.RUN_DIR}/metrics.jsonl` };
  return Object.entries({ ...own, ...logger, ...params.env }).map(([name, value]) => {
    const secret = /^secret:\/\/(.+)$/.exec(String(value))?.[1];
    return [name, secret === undefined ? shellWord(String(value)) : `"\${${name}:?set it to the secret ${secret.replaceAll(/[^\w.-]/g, "_")}}"`];
  });
}
const NO_PLACE: LaunchContext = { nodes: 1, gpusPerNode: 1, rank: 0, meeting: null, python: ["python3"], checkpointDir: "/", hydraDir: "/", samplesDir: "/", project: "", experiment: "", resumeFrom: null, cpus: null, device: "cuda" };

function written(commands: readonly (readonly string[])[]): string[] {
  return commands.flatMap((argv, index) => {
    const isLast = index === commands.length - 1;
    if (!isLast) return [argv.map(shellWord).join(" ")];
    const words = argv.map((word, at) => (at === 0 ? `exec ${shellWord(word)}` : `  ${shellWord(word)}`));
    return words.map((line, at) => (at === words.length - 1 ? line : `${line} \\`));
  });
}

/** One word of a shell, whatever it holds; the script's variables within it stay variables (E1). Throws RangeError on NUL. */
export function shellWord(text: string): string {
  if (text.includes("\0")) throw new RangeError("a NUL character cannot stand in a shell script");
  const found = (Object.entries(VARIABLES) as [keyof typeof VARIABLES, string][]).find(([, mark]) => text.includes(mark));
  if (found !== undefined) return text.split(found[1]).map((part) => (part === "" ? "" : shellWord(part))).join(`"$${found[0]}"`);
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\r\n]+/g, " ");
}
