// The example program of examples/tiny-lm as its readers meet it: the mathematics through its exports, the rest as a process that speaks the protocol
// of `command` stages (the numbers P1–P6 are those of the program's header).
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { cleanupParamsSchema, commandParamsSchema, evaluateProgramParamsSchema, pipelineSchema } from "../../src/domain/pipeline/spec.js";

vi.setConfig({ testTimeout: 60_000 }); // each test starts real processes, perhaps on a busy machine

interface Shape { vocabulary: string; context: number; embedding: number; hidden: number }
interface Model { shape: Shape; step: number; weights: Float64Array }
interface Examples { contexts: Uint16Array; targets: Uint16Array }
interface TinyLm {
  createModel(shape: Shape, seed: number): Model;
  lossOf(model: Model, examples: Examples, rows: number[], gradient?: Float64Array): { loss: number; accuracy: number };
  trainStep(model: Model, examples: Examples, options: { batch: number; learningRate: number; steps: number; seed: number }, gradient: Float64Array): { loss: number };
  examplesOf(lines: string[], shape: Shape): Examples;
  vocabularyOf(lines: string[]): string;
}
interface MetricLine { step: number; totalSteps: number; data: Record<string, number | string>; checkpoint?: string }

const folder = new URL("../../examples/tiny-lm/", import.meta.url);
const program = fileURLToPath(new URL("tiny-lm.mjs", folder));
const wordsFile = fileURLToPath(new URL("data/words.txt", folder));
const words = readFileSync(wordsFile, "utf8").trimEnd().split("\n");
const lm = (await import(new URL("model.mjs", folder).href)) as TinyLm;

const scratch = mkdtempSync(join(tmpdir(), "tiny-lm-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Starts the program as a stage's attempt would be started: an own directory, and an environment that holds the protocol and nothing else.
 *  With `environment` null it is started by hand: without any of these variables. */
function attempt(args: (string | number)[], environment: Record<string, string> | null = {}) {
  const directory = mkdtempSync(join(scratch, "attempt-"));
  const files = { outputs: join(directory, "outputs.json"), metrics: join(directory, "metrics.jsonl"), outputDir: join(directory, "out") };
  const child = spawn(process.execPath, [program, ...args.map(String)], {
    cwd: directory,
    env: environment ? { TRAINYARD_OUTPUTS_FILE: files.outputs, TRAINYARD_METRICS_FILE: files.metrics, TRAINYARD_OUTPUT_DIR: files.outputDir, ...environment } : {},
  });
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => { log += chunk.toString(); });
  const ended = new Promise<{ code: number | null; log: string }>((resolve) => child.on("close", (code) => resolve({ code, log })));
  const metrics = () => (existsSync(files.metrics) ? readFileSync(files.metrics, "utf8").split("\n").slice(0, -1).map((line) => JSON.parse(line) as MetricLine) : []);
  const readOutputs = () => JSON.parse(readFileSync(files.outputs, "utf8")) as Record<string, unknown>;
  return { child, directory, ...files, ended, metrics, readOutputs };
}

async function success(args: (string | number)[], environment?: Record<string, string> | null) {
  const run = attempt(args, environment);
  const { code, log } = await run.ended;
  expect(code, log).toBe(0);
  return { ...run, log };
}

const linesIn = (path: unknown) => readFileSync(path as string, "utf8").trimEnd().split("\n");
const tiny = ["--data", wordsFile, "--held-out-data", wordsFile, "--hidden", 16, "--context", 3, "--embedding", 6, "--batch", 16, "--report-every", 10];

describe("the model", () => {
  test("its hand-written backward pass agrees with finite differences at every weight", () => {
    const shape = { vocabulary: lm.vocabularyOf(["abc", "cab", "bb"]), context: 3, embedding: 2, hidden: 5 };
    fc.assert(fc.property(fc.integer({ min: 0, max: 1000 }), (seed) => {
      const model = lm.createModel(shape, seed);
      const examples = lm.examplesOf(["abc", "cab", "bb"], shape);
      const rows = [...examples.targets.keys()];
      const gradient = new Float64Array(model.weights.length);
      lm.lossOf(model, examples, rows, gradient);
      for (let i = 0; i < gradient.length; i++) {
        const weight = model.weights[i]!;
        const lossAt = (value: number) => { model.weights[i] = value; return lm.lossOf(model, examples, rows).loss; };
        const slope = (lossAt(weight + 1e-5) - lossAt(weight - 1e-5)) / 2e-5;
        model.weights[i] = weight;
        expect(Math.abs(slope - gradient[i]!), `weight ${i} of seed ${seed}`).toBeLessThan(1e-8);
      }
    }), { numRuns: 10 });
  });

  test("before training it guesses blindly, after a few hundred steps it beats the letter frequencies on words it has not seen", () => {
    const [seen, unseen] = [words.filter((_, i) => i % 10 !== 0), words.filter((_, i) => i % 10 === 0)];
    const shape = { vocabulary: lm.vocabularyOf(seen), context: 3, embedding: 8, hidden: 32 };
    const [examples, heldOut] = [lm.examplesOf(seen, shape), lm.examplesOf(unseen, shape)];
    const rows = [...heldOut.targets.keys()];
    const model = lm.createModel(shape, 1);
    const gradient = new Float64Array(model.weights.length);
    expect(lm.lossOf(model, heldOut, rows).loss).toBeCloseTo(Math.log(27), 0);
    const options = { batch: 32, learningRate: 0.01, steps: 600, seed: 1 };
    while (model.step < options.steps) lm.trainStep(model, examples, options, gradient);
    expect(lm.lossOf(model, heldOut, rows).loss).toBeLessThan(letterFrequencyLoss(examples, heldOut) - 0.4);
  });

  test("a character it was never trained on is refused by name", () => {
    expect(() => lm.examplesOf(["naïve"], { vocabulary: "\naenv", context: 2, embedding: 1, hidden: 1 })).toThrow(/"naïve" holds "ï"/);
  });
});

/** Cross-entropy in nats per character of always predicting the letters by their frequency. */
function letterFrequencyLoss(seen: Examples, unseen: Examples): number {
  const counts = new Map<number, number>();
  for (const letter of seen.targets) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  return unseen.targets.reduce((sum, letter) => sum - Math.log(counts.get(letter)! / seen.targets.length), 0) / unseen.targets.length;
}

describe("split", () => {
  test("is repeatable, and puts every line on exactly one side", async () => {
    const [first, second] = [await success(["split", "--data", wordsFile]), await success(["split", "--data", wordsFile])];
    const [train, heldOut] = [linesIn(first.readOutputs().trainFile), linesIn(first.readOutputs().heldOutFile)];
    expect([...train, ...heldOut].sort()).toEqual([...words].sort());
    expect(train.filter((line) => heldOut.includes(line))).toEqual([]);
    expect(heldOut.length / words.length).toBeCloseTo(0.1, 1);
    expect(linesIn(second.readOutputs().heldOutFile)).toEqual(heldOut);
    expect(first.readOutputs()).toMatchObject({ trainLines: train.length, heldOutLines: heldOut.length });
  });

  test("moves no old line when lines are added, and another seed divides otherwise", async () => {
    const [older, newer] = [join(scratch, "older.txt"), join(scratch, "newer.txt")];
    writeFileSync(older, words.slice(0, 500).join("\n"));
    writeFileSync(newer, words.slice(0, 800).reverse().join("\n"));
    const heldOutOf = async (...args: string[]) => new Set(linesIn((await success(["split", ...args])).readOutputs().heldOutFile));
    const [before, after, otherSeed] = [await heldOutOf("--data", older), await heldOutOf("--data", newer), await heldOutOf("--data", older, "--seed", "2")];
    expect(words.slice(0, 500).filter((word) => after.has(word))).toEqual([...before]);
    expect([...otherSeed]).not.toEqual([...before]);
  });
});

describe("train", () => {
  test("writes metrics, whole checkpoints and outputs as the protocol says (P2, P3, P4)", async () => {
    const run = await success(["train", ...tiny, "--steps", 300, "--evaluate-every", 100, "--checkpoint-every", 150]);
    const lines = run.metrics();
    expect(lines.map((line) => line.step)).toEqual(Array.from({ length: 30 }, (_, i) => 10 * (i + 1)));
    expect(lines.every((line) => line.totalSteps === 300 && typeof line.data["train/loss"] === "number")).toBe(true);
    expect(lines.filter((line) => "eval/loss" in line.data).map((line) => line.step)).toEqual([100, 150, 200, 300]);
    expect(lines.at(-1)!.data["eval/loss"] as number).toBeLessThan(lines[0]!.data["train/loss"] as number);

    const checkpoints = lines.filter((line) => line.checkpoint);
    expect(checkpoints.map((line) => line.step)).toEqual([150, 300]);
    for (const { checkpoint, step } of checkpoints) {
      expect(checkpoint!.startsWith(run.outputDir)).toBe(true);
      expect(JSON.parse(readFileSync(checkpoint!, "utf8"))).toMatchObject({ step });
    }
    expect(run.readOutputs()).toMatchObject({ checkpoint: checkpoints.at(-1)!.checkpoint, steps: 300 });
    expect(run.log).toMatch(/Words it makes up: \w+/);
  });

  test("SIGTERM leaves a checkpoint, and the next attempt ends with the very weights of a run that was never stopped (P5, P6)", async () => {
    const args = ["train", ...tiny, "--steps", 5000, "--evaluate-every", 1000, "--checkpoint-every", 1000];
    const stopped = attempt(args);
    while (stopped.metrics().length < 3) await new Promise((resolve) => setTimeout(resolve, 5)); // the test's deadline ends it at the latest
    stopped.child.kill("SIGTERM");
    const { code, log } = await stopped.ended;
    expect(code, log).toBe(143);
    expect(existsSync(stopped.outputs)).toBe(false);
    const saved = stopped.metrics().at(-1)!;
    expect(saved.checkpoint).toBeDefined();
    expect(saved.step).toBeLessThan(5000);

    const resumed = await success(args, { TRAINYARD_ATTEMPT: "2", TRAINYARD_PREVIOUS_OUTPUT_DIR: stopped.outputDir });
    expect(resumed.metrics()[0]).toMatchObject({ step: saved.step, checkpoint: expect.stringContaining(resumed.outputDir) });
    expect(resumed.log).toContain(`from step ${saved.step} `);
    const uninterrupted = await success(args);
    const weightsOf = (run: { readOutputs(): Record<string, unknown> }) => (JSON.parse(readFileSync(run.readOutputs().checkpoint as string, "utf8")) as { weights: string }).weights;
    expect(weightsOf(resumed) === weightsOf(uninterrupted)).toBe(true);
  });

  test("a torn checkpoint or one of another shape is passed over for the newest that fits", async () => {
    const first = await success(["train", ...tiny, "--steps", 40, "--checkpoint-every", 10]);
    const checkpoints = join(first.outputDir, "checkpoints");
    expect(readdirSync(checkpoints)).toEqual(["step-000010.json", "step-000020.json", "step-000030.json", "step-000040.json"]);
    writeFileSync(join(checkpoints, "step-000040.json"), '{"shape": {');
    writeFileSync(join(checkpoints, "step-000030.json"), readFileSync(join(checkpoints, "step-000030.json"), "utf8").replace('"hidden":16', '"hidden":17'));
    const second = await success(["train", ...tiny, "--steps", 40], { TRAINYARD_PREVIOUS_OUTPUT_DIR: first.outputDir });
    expect(second.log).toMatch(/step-000040.json cannot be read/);
    expect(second.log).toMatch(/step-000030.json is a model of another shape/);
    expect(second.metrics()[0]!.step).toBe(20);
  });

  test("a loss that is no longer finite is reported as data, saved nowhere, and ends the run with what to do", async () => {
    const run = attempt(["train", ...tiny, "--steps", 200, "--learning-rate", "1e306"]);
    const { code, log } = await run.ended;
    expect(code).toBe(1);
    expect(log).toMatch(/The loss is (NaN|Infinity) at step \d+: try a lower --learning-rate/);
    expect(["NaN", "Infinity"]).toContain(run.metrics().at(-1)!.data["train/loss"]);
    expect(run.metrics().at(-1)!.checkpoint).toBeUndefined();
  });
});

describe("evaluate and choose", () => {
  test("the scores agree with each other, and the model with the lower one is copied out (P2, P4)", async () => {
    const { trainFile, heldOutFile } = (await success(["split", "--data", wordsFile])).readOutputs() as Record<string, string>;
    const candidates = [];
    for (const steps of [20, 400]) {
      const { checkpoint } = (await success(["train", "--data", trainFile!, "--held-out-data", heldOutFile!, "--hidden", 16, "--context", 3, "--steps", steps])).readOutputs() as { checkpoint: string };
      const outputs = (await success(["evaluate", "--model", checkpoint, "--data", heldOutFile!])).readOutputs() as { scores: Record<string, number>; sampleCount: number };
      const { nats_per_char: nats, bits_per_char: bits, perplexity, accuracy } = outputs.scores as Record<"nats_per_char" | "bits_per_char" | "perplexity" | "accuracy", number>;
      expect(2 ** bits).toBeCloseTo(perplexity, 6);
      expect(Math.exp(nats)).toBeCloseTo(perplexity, 6);
      expect(accuracy).toBeGreaterThan(0);
      expect(outputs.sampleCount).toBe(linesIn(heldOutFile).length);
      candidates.push({ checkpoint, bits });
    }
    const chosen = await success(["choose", ...candidates.flatMap(({ checkpoint, bits }) => ["--model", checkpoint, "--score", bits])]);
    expect(chosen.readOutputs()).toMatchObject({ chosen: 2, checkpoint: candidates[1]!.checkpoint, score: candidates[1]!.bits });
    expect(readFileSync(chosen.readOutputs().model as string)).toEqual(readFileSync(candidates[1]!.checkpoint));
  });

  test("without any TRAINYARD_ variable it works by hand: results are printed, files lie beside", async () => {
    const { directory, log } = await success(["train", ...tiny, "--steps", 10], null);
    expect(log).toMatch(/^\{"step":10,"totalSteps":10,"data":\{"train\/loss":/m);
    expect(log).toMatch(/^\{"checkpoint":".*step-000010\.json"/m);
    expect(readdirSync(directory)).toEqual(["tiny-lm-output"]);
  });

  test.each([
    [["fly"], 2, /There is no command "fly"/],
    [["train"], 2, /train needs --data/],
    [["sample", "--model", "a.json", "--count", "many"], 2, /--count must be a number/],
    [["train", "--data", wordsFile, "--stesp", "3"], 2, /--stesp/],
    [["choose", "--model", "a.json"], 2, /one numeric --score for each --model/],
    [["evaluate", "--model", "nowhere.json", "--data", wordsFile], 1, /ENOENT.*nowhere\.json/],
  ])("%j ends with code %i and says why", async (args, expected, message) => {
    const { code, log } = await attempt(args).ended;
    expect(log).toMatch(message);
    expect(code).toBe(expected);
  });
});

test("pipeline.yaml is a valid specification, and refers only to outputs that the program writes", () => {
  const text = readFileSync(new URL("pipeline.yaml", folder), "utf8");
  const spec = pipelineSchema.parse(parse(text));
  const paramsOf = { command: commandParamsSchema, evaluate: evaluateProgramParamsSchema, cleanup: cleanupParamsSchema } as Record<string, { parse(value: unknown): unknown }>;
  for (const stage of spec.stages) expect(() => paramsOf[stage.kind]!.parse(stage.params)).not.toThrow();
  const written: Record<string, string[]> = { split: ["trainFile", "heldOutFile"], train: ["checkpoint"], evaluate: ["scores.bits_per_char"] };
  const references = [...text.matchAll(/\$\{stages\.([a-z-]+)\.outputs\.([\w.]+)\}/g)];
  expect(references.length).toBeGreaterThan(0);
  for (const [, stage, key] of references) expect(written[stage!.split("-")[0]!]).toContain(key);
});
