// The stand-in beside what verl and TRL really wrote (tests/fixtures/verl): lines of the same form, metrics of the same names, in the same order.
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { simulatedPython, SCENARIO_VARIABLE } from "../../src/simulation/stand-in.js";
import { dataLink, dpoCommand } from "../../src/verl/dpo.js";
import { launchContext, trainParams } from "../verl/launch.js";
import { read, runFolder, start, train, writeRows } from "./stand-in.js";

const real = (run: string, file: string): string => read(packagePath("tests", "fixtures", "verl", run, file));

/** What varies from run to run taken out: numbers, times and paths. Lines that only a loaded model prints are left out, and our own mark. */
function shape(line: string): string {
  return line.replace(/(?: - |, )'?simulated'?:\s?1/, "").replace(/np\.\w+\(/g, "np(").replace(/\[\d{4}-\d\d-\d\d [\d:,]+\]/, "[time]").replace(/\[\/\S*?(verl\/[\w/.]+)\]/, "[$1]").replace(/(?<=[:( ])\/\S*\/(?=\S)/g, "/")
    .replace(/-?\b\d+(?:\.\d+)?(?:e[+-]?\d+)?\b|\bnan\b/g, "N");
}
const ONLY_WITH_A_MODEL = /^Monkey patch|^Skipping monkey|parameters$|memory allocated|checkpoint_manager\.py\]|^\{'model'|^\{'checkpoint'|^SIMULATED|^\s|^\*{5}|LoRA|^Checkpoint tracker|^Found checkpoint|^Creating file logger|NUMA affinity/;
const shapes = (text: string): string[] => [...new Set(text.split("\n").filter((line) => line !== "" && !ONLY_WITH_A_MODEL.test(line)).map(shape))];

let folder: string;
beforeAll(async () => {
  folder = runFolder();
  await writeRows(join(folder, "sft.parquet"), "sft", 160);
  await writeRows(join(folder, dataLink("train", 0)), "preference", 56);
  await writeRows(join(folder, dataLink("validation", 0)), "preference", 16);
});

const sft = { algorithm: "sft", batchSize: 16, saveEvery: 4, testEvery: 4, learningRate: 1e-3 };

describe.each([["0.7.1", "0.7.1-sft"], ["0.9.1", "0.9.1-sft"]] as const)("verl %s", (version, fixture) => {
  test("SFT writes the same forms of lines, in the same order, and the same names into its file", async () => {
    const file = join(folder, "sft.parquet");
    const here = runFolder();
    const { stdout, stderr } = await train(here, { ...sft, trainFiles: file, valFiles: file }, { version }).ended;
    expect(shapes(stdout)).toEqual(shapes(real(fixture, "stdout.txt")));
    const names = (text: string) => text.trim().split("\n").map((line) => Object.keys((JSON.parse(line) as { data: object }).data).filter((name) => name !== "simulated").join(" "));
    expect(new Set(names(read(here, "metrics.jsonl")))).toEqual(new Set(names(real(fixture, "metrics.jsonl"))));
    const bar = (text: string) => /Epoch N\/N: {1,3}N%\|.*\| N\/N \[N:N<N:N, {1,2}Ns\/it\]/.test(text.replace(/\d+(?:\.\d+)?/g, "N"));
    expect([bar(stderr), bar(real(fixture, "stderr.txt"))]).toEqual([true, true]);
  });
});

test("DPO writes dictionaries of the same names", async () => {
  const here = runFolder();
  const params = trainParams({ algorithm: "dpo", trainFiles: "unused", valFiles: "unused", batchSize: 8, saveEvery: 3, testEvery: 3 });
  const argv = dpoCommand(params, { ...launchContext({ gpusPerNode: 1, python: simulatedPython("0.7.1"), checkpointDir: join(here, "checkpoints") }), dataFolder: folder, validates: true });
  const { code, stdout } = await start(argv, { [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 1 }) }).ended;
  expect(code).toBe(0);
  const keys = (text: string) => [...new Set(text.split("\n").filter((line) => line.startsWith("{'")).map((line) => [...line.matchAll(/'([\w/]+)':/g)].map((match) => match[1]!).filter((name) => name !== "simulated").join(" ")))];
  const [step, evaluation, end] = keys(real("trl-0.28-dpo", "stdout.txt"));
  const ours = keys(stdout);
  expect(ours).toHaveLength(3);
  expect([ours[0], ours[2]]).toEqual([step, end]);
  expect(evaluation!.split(" ")).toEqual(expect.arrayContaining(ours[1]!.split(" ")));
});
