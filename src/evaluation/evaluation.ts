// One evaluation from its rows to its scores: reads the rows, takes over what earlier attempts have, draws the rest, scores, and says how sure the score is. What it needs of another program it
// wants (wanted-program.ts); when that has run it begins again here and finds on disk how far it was.
//   E1. What is on disk is never asked again; a try after a failure goes on from there.
//   E2. Outputs exist only when the evaluation is whole: not more rows without a score than maxErrorFraction allows.

import { appendFileSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scorerKindOf } from "../domain/evaluation/evaluate-params.js";
import { SIMULATED_OUTPUT } from "../domain/pipeline/simulated.js";
import type { Json } from "../domain/pipeline/state.js";
import { releaseFor } from "../verl/releases.js";
import { createChatClient } from "./chat-client.js";
import { DEFAULT_CONCURRENCY, drawFromEndpoint } from "./endpoint-answers.js";
import { API_KEY_VARIABLE, headerVariable, type EvaluateConfig } from "./evaluate-config.js";
import { EvaluationGaveUpError, EvaluationRefusedError } from "./evaluation-errors.js";
import { readRows, type EvaluationRow } from "./evaluation-rows.js";
import { drawFromModel, scoreWithMainEval, type ModelHost, type SourceScore } from "./model-answers.js";
import { earlierSamples, openSamplesFile, SAMPLES_FILE, samplesIn, scoringHash, settingsHash, type Sample } from "./samples-file.js";
import { createScoreKeeper, type Figures, type MeanScore, type ScoreKeeper, type Scoring } from "./score-keeper.js";
import { createProgramScorer } from "./scorers/program-scorer.js";
import { scorerOf } from "./scorers/scorer.js";
import { hasAsked, toldScores, wantScores } from "./scorers/scores-of-place.js";
import { drawSimulated, SIMULATED_SCORER } from "./simulated-answers.js";
import { isWork, workFolder, type WantedProgram } from "./wanted-program.js";

export interface EvaluationHost {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** TRAINYARD_OUTPUT_DIR. */
  readonly outputDir: string;
  /** TRAINYARD_METRICS_FILE. */
  readonly metricsFile: string;
  /** TRAINYARD_OUTPUTS_FILE. */
  readonly outputsFile: string;
  /** In [0, 1). */
  random(): number;
  say(text: string): void;
}

const DEFAULT_TIMEOUT_SECONDS = 600;
/** Least time between two lines of metrics, in milliseconds. */
const METRICS_EVERY_MS = 1_000;

/** What it wants before it can go on; null: it is over. `begun`: it was here before in this attempt. Throws the errors of evaluation-errors.ts, the signal's reason, and what the file system throws. */
export async function evaluate(config: EvaluateConfig, begun: boolean, host: EvaluationHost): Promise<WantedProgram | null> {
  const { params, simulated } = config;
  const secrets = createSecrets(config, host.environment);
  const say = (text: string): void => host.say(secrets.conceal(text));
  if (simulated && !begun) say(`SIMULATED: ${params.simulate ? "the answers are made up, no model is asked" : "what is evaluated was left by a simulated training"}; the scores say nothing.`);
  const { rows, read, rejected, firstRejects } = await readRows(params, config.files, host.signal);
  if (!begun) say(`${rows.length} of ${read} rows are asked${rejected === 0 ? "" : `; ${rejected} are broken, the first: ${firstRejects.join("; ")}`}`);
  const folder = host.outputDir;
  const release = config.verl === null ? null : releaseFor(config.verl)?.release ?? null;
  const model: ModelHost | null = release === null ? null : { params, python: config.python, release, gpus: config.gpus, signal: host.signal, folder, placeOutput: config.placeOutput, say };

  const settings = { drawnWith: settingsHash(params), scoredWith: scoringHash(params) };
  if (!begun) for (const name of readdirSync(folder)) if (name === SAMPLES_FILE || isWork(name)) rmSync(join(folder, name), { recursive: true, force: true });
  mkdirSync(workFolder(folder), { recursive: true, mode: 0o700 });
  const told = begun && hasAsked(folder);
  const scoring = told ? ({ kind: "program", program: toldScores(folder) } as const) : createScoring(config, secrets.others, say);
  const own = begun ? await samplesIn(folder) : null;
  const metrics = createMetrics(host.metricsFile, { totalSteps: rows.length, simulated, told: own?.size ?? 0, last: told });
  const judgedLater = scoring === null && scorerKindOf(params) === "program";
  const file = openSamplesFile(folder, settings, judgedLater);
  const keeper: ScoreKeeper = createScoreKeeper({ params, scoring, file, conceal: secrets.conceal, progressed: () => metrics.at(keeper) });
  try {
    const open = own === null ? await takeOver(rows, await earlierSamples(config.earlier, settings), config, keeper, say) : await recall(rows, own, keeper, told); // E1
    if (params.simulate) {
      await drawSimulated(open, params, host.signal, (row, answers) => keeper.took(row, { answers }));
    } else if (params.endpoint === undefined) {
      const wanted = await drawFromModel(open, model!, (row, responses) => keeper.took(row, { answers: responses.map((text) => ({ text, truncated: false })) }));
      if (wanted !== null) return wanted;
    } else if (open.length > 0) {
      const client = createChatClient({ url: params.endpoint.url, headers: secrets.headers, timeoutMs: (params.requestTimeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS) * 1_000, concurrency: params.concurrency ?? DEFAULT_CONCURRENCY });
      await drawFromEndpoint(open, { client, params, signal: host.signal, random: host.random, say, took: (row, drawn) => keeper.took(row, drawn) }).finally(() => client.close());
    }
    metrics.last(keeper);
  } finally {
    if (scoring?.kind === "program") await scoring.program.close();
    file.close();
  }
  const figures = keeper.figures();
  refuseIncomplete(figures, rows.length, params.maxErrorFraction);
  if (judgedLater) return wantScores(rows, await samplesIn(folder), folder, config.python, params);
  const asked = scoring === null ? await scoreWithMainEval(new Set(rows.map(({ id }) => id)), model!) : null;
  if (asked !== null && "wanted" in asked) return asked.wanted;
  for (const name of readdirSync(folder)) if (isWork(name)) rmSync(join(folder, name), { recursive: true, force: true });
  const verl = asked?.result ?? null;
  const scores: ReadonlyMap<string, MeanScore | SourceScore> = verl === null ? figures.scores : new Map([...verl.bySource, ["score", verl.score]]);
  writeOutputs(host.outputsFile, {
    scores: Object.fromEntries([...scores].map(([name, { mean }]) => [name, mean])),
    intervals: Object.fromEntries([...scores].map(([name, one]) => [name, { n: one.n, ...one.confidence }])),
    sampleCount: figures.counted, errors: figures.errors, rejected, truncated: figures.truncated, samplesFile: file.path, ...(simulated ? { [SIMULATED_OUTPUT]: true } : {}),
  });
  const score = scores.get("score")!;
  say(`${simulated ? "simulated " : ""}score ${score.mean.toFixed(4)} over ${score.n} rows${score.confidence !== undefined ? `, 95 % between ${score.confidence.low.toFixed(4)} and ${score.confidence.high.toFixed(4)}` : ""}${figures.errors === 0 ? "" : `; ${figures.errors} rows without a score`}`);
  return null;
}

/** What this attempt's programs before this one have answered: counted, or, with `again`, written with their scores. Resolves with the rows that are still to be asked. */
async function recall(rows: readonly EvaluationRow[], own: ReadonlyMap<string, Sample>, keeper: ScoreKeeper, again: boolean): Promise<readonly EvaluationRow[]> {
  let writing: Promise<void>[] = [];
  for (const row of rows) {
    const sample = own.get(row.id);
    if (sample === undefined) continue;
    if (!again) {
      keeper.recall(sample);
      continue;
    }
    writing.push(sample.responses.length === 0 ? keeper.keep(sample) : keeper.reuse(row, sample, false));
    if (writing.length >= 500) await Promise.all(writing), writing = [];
  }
  await Promise.all(writing);
  return rows.filter(({ id }) => !own.has(id));
}

/** Hands over what earlier attempts answered; resolves with the rows that are still to be asked. */
async function takeOver(rows: readonly EvaluationRow[], earlier: Awaited<ReturnType<typeof earlierSamples>>, { params }: EvaluateConfig, keeper: ScoreKeeper, say: (text: string) => void): Promise<readonly EvaluationRow[]> {
  const open: EvaluationRow[] = [];
  let writing: Promise<void>[] = [];
  for (const row of rows) {
    const found = earlier.get(row.id);
    const fits = found !== undefined && found.sample.responses.length === params.generation.n && found.sample.groundTruth === row.groundTruth && samePrompt(found.sample.prompt, row.prompt);
    if (!fits) {
      open.push(row);
      continue;
    }
    writing.push(keeper.reuse(row, found.sample, found.scored));
    if (writing.length >= 500) await Promise.all(writing), writing = [];
  }
  await Promise.all(writing);
  if (earlier.size > 0) say(`${rows.length - open.length} rows were answered by an earlier try and are taken over`);
  return open;
}

function samePrompt(a: EvaluationRow["prompt"], b: EvaluationRow["prompt"]): boolean {
  return a.length === b.length && a.every(({ role, content }, index) => role === b[index]!.role && content === b[index]!.content);
}

function createScoring({ params, scorerIsHere }: EvaluateConfig, environment: EvaluationHost["environment"], say: (text: string) => void): Scoring {
  const { scorer } = params;
  if (typeof scorer === "string") return { kind: "ours", score: scorerOf(scorer, params) };
  if ("verl" in scorer) return params.simulate ? { kind: "program", program: SIMULATED_SCORER } : null;
  return !scorerIsHere ? null : { kind: "program", program: createProgramScorer({ argv: scorer.program.map(String), environment, timeoutMs: scorer.timeoutSeconds * 1_000, say }) };
}

/** E2. */
function refuseIncomplete({ errors, counted, firstError, somePassing }: Figures, total: number, most: number): void {
  if (counted > 0 && errors / total <= most) return;
  const message = `${errors} of ${total} rows have no score, more than maxErrorFraction (${most}) allows; the first: ${firstError ?? "nothing was said"}`;
  throw somePassing ? new EvaluationGaveUpError(message) : new EvaluationRefusedError(message);
}

/** Whole or not there at all. */
function writeOutputs(path: string, outputs: Readonly<Record<string, Json>>): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(outputs)}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}

type Progress = Pick<ScoreKeeper, "done" | "score" | "errors">;

/** `told`: rows of which an earlier program of the attempt has told. `last`: all rows were told of, and what is new is the score. */
function createMetrics(path: string, { totalSteps, simulated, told, last }: { totalSteps: number; simulated: boolean; told: number; last: boolean }): { at(progress: Progress): void; last(progress: Progress): void } {
  let [written, at] = [told === 0 ? -1 : told, Number.NEGATIVE_INFINITY];
  const write = (step: number, data: Record<string, number>): void => appendFileSync(path, `${JSON.stringify({ step, totalSteps, data })}\n`);
  const line = ({ done, score, errors }: Progress): void => {
    if (done === written) return;
    written = done;
    at = performance.now();
    write(done, { ...(score === null ? {} : { "eval/score": score }), "eval/errors": errors, ...(simulated ? { simulated: 1 } : {}) });
  };
  if (last) return { at: () => undefined, last: ({ done, score }) => (score === null ? undefined : write(done, { "eval/score": score })) };
  return {
    at: (progress) => (performance.now() - at >= METRICS_EVERY_MS ? line(progress) : undefined),
    last: line,
  };
}

interface Secrets {
  /** Of the endpoint's requests. */
  readonly headers: Readonly<Record<string, string>>;
  /** The environment without the endpoint's secrets, for programs that are started. */
  readonly others: Readonly<Record<string, string | undefined>>;
  conceal(text: string): string;
}

/** Shortest secret that is looked for in texts: shorter ones are part of too much. */
const SHORTEST = 4;

function createSecrets({ params: { endpoint } }: EvaluateConfig, environment: EvaluationHost["environment"]): Secrets {
  const others: Record<string, string | undefined> = { ...environment };
  const headers: Record<string, string> = {};
  const values: string[] = [];
  const take = (variable: string): string => {
    const value = environment[variable];
    delete others[variable];
    if (value === undefined || value === "") throw new EvaluationRefusedError(`the agent gave no value for ${variable}`);
    values.push(value);
    return value;
  };
  for (const [index, [name, value]] of Object.entries(endpoint?.headers ?? {}).entries()) headers[name] = value.startsWith("secret://") ? take(headerVariable(index)) : value;
  if (endpoint?.apiKey !== undefined) headers["authorization"] = `Bearer ${take(API_KEY_VARIABLE)}`;
  const sought = values.filter((value) => value.length >= SHORTEST).sort((a, b) => b.length - a.length);
  return { headers, others, conceal: (text) => sought.reduce((left, secret) => left.replaceAll(secret, "[redacted]"), text) };
}
