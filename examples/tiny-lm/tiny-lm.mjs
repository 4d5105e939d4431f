#!/usr/bin/env node
// Trains, scores and samples a tiny character-level language model. Node 20 and nothing else; the model itself is in model.mjs.
//
//   tiny-lm.mjs split    --data words.txt
//   tiny-lm.mjs train    --data train.txt --held-out-data held-out.txt --hidden 128 --context 5 --steps 6500
//   tiny-lm.mjs evaluate --model checkpoint.json --data held-out.txt
//   tiny-lm.mjs choose   --model a.json --score 2.9 --model b.json --score 2.8        (a lower score is better)
//   tiny-lm.mjs sample   --model model.json --count 12
// Every option and its default: COMMANDS, below.
//
// It is an ordinary user of the protocol of Trainyard's `command` stages, and that protocol's documentation:
//   P1. The program is started as an argv, never by a shell, in a working directory of its own for each attempt. What it prints is
//       the stage's log. Exit code 0 is success; anything else is a failure, which is classified and, if the stage says so, retried.
//   P2. Before it exits with 0 it writes its outputs, one JSON object of at most 64 KiB, to the file TRAINYARD_OUTPUTS_FILE. Later
//       stages refer to them as ${stages.<name>.outputs.<key>}. An `evaluate` stage writes {"scores": {…}, "sampleCount": n}.
//   P3. It appends metrics to the file TRAINYARD_METRICS_FILE, one JSON object a line: {"step": 12, "data": {"train/loss": 1.2}}.
//       NaN and infinities are data too, bare or as strings ("NaN"). Beside `data` a line may carry
//         "totalSteps": n      where it will end, for progress and the time left;
//         "checkpoint": path   a checkpoint of this step inside TRAINYARD_OUTPUT_DIR, complete when the line is written.
//   P4. Whatever later stages may read goes into the directory TRAINYARD_OUTPUT_DIR (absolute).
//   P5. SIGTERM: save and leave within the grace period, but not with exit code 0, for the work is not done.
//   P6. A later attempt finds the output directory of the one before in TRAINYARD_PREVIOUS_OUTPUT_DIR and continues from there.
//       TRAINYARD_PIPELINE_ID, TRAINYARD_STAGE and TRAINYARD_ATTEMPT (1, 2, …) tell it who it is.
// Without these variables it runs by hand: metrics and outputs are printed, files go to ./tiny-lm-output.
import { createHash } from "node:crypto";
import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate as letSignalsIn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { createModel, examplesOf, lossOf, randomNumbers, sampleLine, trainStep, vocabularyOf } from "./model.mjs";

const env = process.env;
const outputDir = resolve(env.TRAINYARD_OUTPUT_DIR ?? "tiny-lm-output");
const REQUIRED = Symbol("required");
/** What each command does, and its options with their defaults: a number, a text, a list (given several times), or required. */
const COMMANDS = {
  split: { run: split, options: { data: REQUIRED, "held-out": 0.1, seed: 1 } },
  train: {
    run: train,
    options: {
      data: REQUIRED, "held-out-data": REQUIRED, context: 4, embedding: 12, hidden: 64, steps: 4000, batch: 32, "learning-rate": 0.01, seed: 1,
      "report-every": 10, "evaluate-every": 250, "checkpoint-every": 1000, resume: env.TRAINYARD_PREVIOUS_OUTPUT_DIR ?? "",
    },
  },
  evaluate: { run: evaluate, options: { model: REQUIRED, data: REQUIRED } },
  choose: { run: choose, options: { model: [], score: [] } },
  sample: { run: sample, options: { model: REQUIRED, count: 12, temperature: 0.8, seed: 1 } },
};

/** Divides the lines of a file in two. A line's own hash decides its side: adding lines moves no old one, and no line is on both. */
function split(options) {
  const isHeldOut = (line) => createHash("sha256").update(`${options.seed}:${line}`).digest().readUInt32BE(0) / 2 ** 32 < options["held-out"];
  const lines = linesOf(options.data);
  const write = (name, part) => {
    writeWhole(join(outputDir, name), part.join("\n") + "\n");
    console.log(`${name}: ${part.length} lines`);
    return join(outputDir, name);
  };
  const [trainLines, heldOutLines] = [lines.filter((line) => !isHeldOut(line)), lines.filter(isHeldOut)];
  finish({
    trainFile: write("train.txt", trainLines), trainLines: trainLines.length,
    heldOutFile: write("held-out.txt", heldOutLines), heldOutLines: heldOutLines.length,
  });
}

/** Trains a model, from the newest checkpoint under `--resume` if there is one. Killed at any moment, it loses one interval. */
async function train(options) {
  const { steps, batch, seed, context, embedding, hidden } = options;
  const lines = linesOf(options.data);
  const shape = { vocabulary: vocabularyOf(lines), context, embedding, hidden };
  const model = newestCheckpoint(options.resume, shape) ?? createModel(shape, seed);
  const examples = examplesOf(lines, shape);
  const heldOut = examplesOf(linesOf(options["held-out-data"]), shape);
  const someHeldOut = pick(heldOut, 2000);
  const from = model.step === 0 ? "from scratch" : `from step ${model.step} of ${options.resume}`;
  console.log(`${model.weights.length} weights, ${examples.targets.length} characters to learn from, to step ${steps} ${from}`);

  let stopping = false;
  process.once("SIGTERM", () => (stopping = true));
  const gradient = new Float64Array(model.weights.length);
  let [checkpoint, recent, since] = ["", [], performance.now()];
  if (model.step > 0) {
    checkpoint = saveCheckpoint(model); // a third attempt will look into this one's directory, not into the first one's
    reportMetrics({ step: model.step, totalSteps: steps, data: { "eval/loss": lossOf(model, heldOut, someHeldOut).loss }, checkpoint });
  }
  while (model.step < steps && !stopping) {
    const { loss, rate, gradientNorm } = trainStep(model, examples, { batch, steps, seed, learningRate: options["learning-rate"] }, gradient);
    recent.push(loss);
    await letSignalsIn();
    const isDue = (every) => model.step % every === 0 || model.step === steps || stopping || !Number.isFinite(loss);
    if (!isDue(options["report-every"])) continue;

    const data = { "train/loss": mean(recent), "train/lr": rate, "train/grad_norm": gradientNorm };
    data["perf/characters_per_second"] = (recent.length * batch * 1000) / (performance.now() - since);
    const line = { step: model.step, totalSteps: steps, data };
    if (isDue(options["evaluate-every"]) || isDue(options["checkpoint-every"])) {
      data["eval/loss"] = lossOf(model, heldOut, someHeldOut).loss;
      console.log(`step ${model.step}/${steps}  train loss ${data["train/loss"].toFixed(3)}  held-out loss ${data["eval/loss"].toFixed(3)}`);
    }
    if (isDue(options["checkpoint-every"]) && Number.isFinite(loss)) line.checkpoint = checkpoint = saveCheckpoint(model);
    reportMetrics(line);
    if (!Number.isFinite(loss)) throw new Error(`The loss is ${loss} at step ${model.step}: try a lower --learning-rate.`);
    [recent, since] = [[], performance.now()];
  }
  if (stopping && model.step < steps) {
    console.log(`Asked to stop: saved step ${model.step} of ${steps}.`);
    process.exit(143); // 128 + 15, as the shell names an end by SIGTERM
  }
  console.log(`Words it makes up: ${samples(model, 12, 0.8, seed).join(" ")}`);
  finish({ checkpoint, steps: model.step, weights: model.weights.length, heldOutLoss: lossOf(model, heldOut, someHeldOut).loss });
}

/** Scores a model on lines that it has not seen. */
function evaluate(options) {
  const model = readModel(options.model);
  const lines = linesOf(options.data);
  const examples = examplesOf(lines, model.shape);
  const { loss, accuracy } = lossOf(model, examples, [...examples.targets.keys()]);
  const scores = { nats_per_char: loss, bits_per_char: loss / Math.LN2, perplexity: Math.exp(loss), accuracy };
  const uniform = Math.log2(model.shape.vocabulary.length).toFixed(2);
  console.log(`${scores.bits_per_char.toFixed(3)} bits per character (blind guessing: ${uniform}), ${(100 * accuracy).toFixed(1)} % of next characters right`);
  finish({ scores, sampleCount: lines.length });
}

/** Takes the model with the lowest score. */
function choose({ model: models, score }) {
  const scores = score.map(Number);
  if (models.length === 0 || models.length !== scores.length || scores.some(Number.isNaN)) usage("choose needs one numeric --score for each --model.");
  const best = scores.indexOf(Math.min(...scores));
  const model = join(outputDir, "model.json");
  mkdirSync(outputDir, { recursive: true });
  copyFileSync(models[best], model);
  console.log(`Chosen: ${models[best]} with ${scores[best]}, of ${scores.join(", ")}`);
  console.log(`Words it makes up: ${samples(readModel(model), 12, 0.8, 1).join(" ")}`);
  finish({ model, chosen: best + 1, checkpoint: models[best], score: scores[best] });
}

function sample({ model, count, temperature, seed }) {
  console.log(samples(readModel(model), count, temperature, seed).join("\n"));
}

// ── The protocol ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** P2. The last thing a successful run does. */
function finish(outputs) {
  const text = JSON.stringify(outputs, nonFiniteAsText);
  if (env.TRAINYARD_OUTPUTS_FILE) writeWhole(env.TRAINYARD_OUTPUTS_FILE, text);
  else console.log(text);
}

/** P3. A line is written by a single append, line end included, so that none is torn when the program is killed. */
function reportMetrics(line) {
  const text = JSON.stringify(line, nonFiniteAsText);
  if (env.TRAINYARD_METRICS_FILE) appendFileSync(env.TRAINYARD_METRICS_FILE, text + "\n");
  else console.log(text);
}

/** JSON would turn NaN and the infinities into null. */
function nonFiniteAsText(_key, value) {
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

/** P4. Saves weights and optimizer, so that training can go on as if it had never stopped. Returns the absolute path. */
function saveCheckpoint(model) {
  const path = join(outputDir, "checkpoints", `step-${String(model.step).padStart(6, "0")}.json`);
  const asText = (vector) => Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64");
  const { shape, step, weights, mean, square } = model;
  writeWhole(path, JSON.stringify({ shape, step, weights: asText(weights), mean: asText(mean), square: asText(square) }));
  return path;
}

function readModel(path) {
  const saved = JSON.parse(readFileSync(path, "utf8"));
  const asVector = (text) => new Float64Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
  return { ...saved, weights: asVector(saved.weights), mean: asVector(saved.mean), square: asVector(saved.square) };
}

/** P6. The newest checkpoint of an earlier attempt that is whole and of this shape; undefined means: start from nothing. */
function newestCheckpoint(directory, shape) {
  const folder = join(directory, "checkpoints");
  if (!directory || !existsSync(folder)) return undefined;
  for (const name of readdirSync(folder).filter((name) => name.endsWith(".json")).sort().reverse()) {
    try {
      const model = readModel(join(folder, name));
      if (JSON.stringify(model.shape) === JSON.stringify(shape)) return model;
      console.log(`${name} is a model of another shape: left alone.`);
    } catch (error) {
      console.log(`${name} cannot be read (${error.message}): left alone.`);
    }
  }
}

/** Under its own name a file is always whole: written beside, then renamed. */
function writeWhole(path, text) {
  mkdirSync(resolve(path, ".."), { recursive: true });
  writeFileSync(`${path}.partial`, text);
  renameSync(`${path}.partial`, path);
}

// ── Small things ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

function linesOf(path) {
  const lines = readFileSync(path, "utf8").split(/\r?\n/).filter((line) => line !== "");
  if (lines.length === 0) throw new Error(`${path} holds no lines: give a text file with one word or name a line.`);
  return lines;
}

function samples(model, count, temperature, seed) {
  const random = randomNumbers(`${seed}:samples`);
  return Array.from({ length: count }, () => sampleLine(model, random, temperature));
}

/** The same random examples at every call, so that the points of one curve can be compared. */
function pick(examples, count) {
  const random = randomNumbers("held-out examples");
  return Array.from({ length: count }, () => Math.floor(random() * examples.targets.length));
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function usage(problem) {
  console.error(`tiny-lm: ${problem}\nUsage: tiny-lm.mjs ${Object.keys(COMMANDS).join("|")} --option value …; the head of the file lists them.`);
  process.exit(2);
}

function optionsFor(command, args) {
  const defaults = Object.entries(COMMANDS[command].options);
  const { values } = parseArgs({ args, options: Object.fromEntries(defaults.map(([name, value]) => [name, { type: "string", multiple: Array.isArray(value) }])) });
  return Object.fromEntries(defaults.map(([name, fallback]) => {
    const value = values[name] ?? fallback;
    if (value === REQUIRED) usage(`${command} needs --${name}.`);
    if (typeof fallback !== "number") return [name, value];
    if (value === "" || !(Number(value) >= 0)) usage(`--${name} must be a number, not less than 0; "${value}" is not.`);
    return [name, Number(value)];
  }));
}

const [command, ...args] = process.argv.slice(2);
if (!Object.hasOwn(COMMANDS, command ?? "")) usage(command ? `There is no command "${command}".` : "Which command?");
try {
  await COMMANDS[command].run(optionsFor(command, args));
} catch (error) {
  console.error(`tiny-lm: ${error.message}`);
  process.exitCode = error.code?.startsWith("ERR_PARSE_ARGS") ? 2 : 1;
}
