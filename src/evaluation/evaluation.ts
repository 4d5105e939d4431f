// One evaluation from its rows to its scores: reads the rows, takes over what earlier attempts have, draws the rest, scores, and says how sure the score is.
//   E1. What is on disk is never asked again; a try after a failure goes on from there.
//   E2. Outputs exist only when the evaluation is whole: not more rows without a score than maxErrorFraction allows.

import { appendFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scorerKindOf } from "../domain/evaluation/evaluate-params.js";
import { SIMULATED_OUTPUT } from "../domain/pipeline/simulated.js";
import type { Json } from "../domain/pipeline/state.js";
import { createChatClient } from "./chat-client.js";
import { DEFAULT_CONCURRENCY, drawFromEndpoint } from "./endpoint-answers.js";
import { API_KEY_VARIABLE, headerVariable, type EvaluateConfig } from "./evaluate-config.js";
import { EvaluationGaveUpError, EvaluationRefusedError } from "./evaluation-errors.js";
import { readRows, type EvaluationRow } from "./evaluation-rows.js";
import { drawFromModel, installedVerl, scoreWithMainEval, type ModelHost, type SourceScore } from "./model-answers.js";
import { createSamplesFile, earlierSamples, SAMPLES_FILE, scoringHash, settingsHash } from "./samples-file.js";
import { createScoreKeeper, type Figures, type MeanScore, type ScoreKeeper, type Scoring } from "./score-keeper.js";
import { createProgramScorer } from "./scorers/program-scorer.js";
import { scorerOf } from "./scorers/scorer.js";
import { drawSimulated, SIMULATED_SCORER } from "./simulated-answers.js";

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

/** Throws the errors of evaluation-errors.ts, the signal's reason, and what the file system throws. */
export async function evaluate(config: EvaluateConfig, host: EvaluationHost): Promise<void> {
  const { params, simulated } = config;
  const secrets = createSecrets(config, host.environment);
  const say = (text: string): void => host.say(secrets.conceal(text));
  if (simulated) say(`SIMULATED: ${params.simulate ? "the answers are made up, no model is asked" : "what is evaluated was left by a simulated training"}; the scores say nothing.`);
  const { rows, read, rejected, firstRejects } = await readRows(params, config.files, host.signal);
  say(`${rows.length} of ${read} rows are asked${rejected === 0 ? "" : `; ${rejected} are broken, the first: ${firstRejects.join("; ")}`}`);
  const model: ModelHost = { params, python: config.python, gpus: config.gpus, environment: secrets.others, signal: host.signal, folder: join(host.outputDir, "work"), say };
  const release = params.simulate ? null : params.endpoint === undefined || scorerKindOf(params) === "verl" ? await installedVerl(model) : null;

  const settings = { drawnWith: settingsHash(params), scoredWith: scoringHash(params) };
  const earlier = await earlierSamples(config.earlier, settings);
  for (const name of [SAMPLES_FILE, "work"]) rmSync(join(host.outputDir, name), { recursive: true, force: true });
  const file = createSamplesFile(host.outputDir, settings);
  const scoring = createScoring(config, secrets.others, say);
  const metrics = createMetrics(host.metricsFile, rows.length, simulated);
  const keeper: ScoreKeeper = createScoreKeeper({ params, scoring, file, conceal: secrets.conceal, progressed: () => metrics.at(keeper) });
  try {
    const open = await takeOver(rows, earlier, config, keeper); // E1
    if (earlier.size > 0) say(`${rows.length - open.length} rows were answered by an earlier try and are taken over`);
    if (params.simulate) {
      await drawSimulated(open, params, host.signal, (row, answers) => keeper.took(row, { answers }));
    } else if (params.endpoint === undefined) {
      await drawFromModel(open, release!, model, (row, responses) => keeper.took(row, { answers: responses.map((text) => ({ text, truncated: false })) }));
    } else {
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
  const verl = scoring === null ? await scoreWithMainEval(file.path, new Set(rows.map(({ id }) => id)), release!, model) : null;
  rmSync(model.folder, { recursive: true, force: true });
  const scores: ReadonlyMap<string, MeanScore | SourceScore> = verl === null ? figures.scores : new Map([...verl.bySource, ["score", verl.score]]);
  writeOutputs(host.outputsFile, {
    scores: Object.fromEntries([...scores].map(([name, { mean }]) => [name, mean])),
    intervals: Object.fromEntries([...scores].map(([name, one]) => [name, { n: one.n, ...one.confidence }])),
    sampleCount: figures.counted, errors: figures.errors, rejected, truncated: figures.truncated, samplesFile: file.path, ...(simulated ? { [SIMULATED_OUTPUT]: true } : {}),
  });
  const score = scores.get("score")!;
  say(`${simulated ? "simulated " : ""}score ${score.mean.toFixed(4)} over ${score.n} rows${score.confidence !== undefined ? `, 95 % between ${score.confidence.low.toFixed(4)} and ${score.confidence.high.toFixed(4)}` : ""}${figures.errors === 0 ? "" : `; ${figures.errors} rows without a score`}`);
}

/** Hands over what earlier attempts answered; resolves with the rows that are still to be asked. */
async function takeOver(rows: readonly EvaluationRow[], earlier: Awaited<ReturnType<typeof earlierSamples>>, { params }: EvaluateConfig, keeper: ScoreKeeper): Promise<readonly EvaluationRow[]> {
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
  return open;
}

function samePrompt(a: EvaluationRow["prompt"], b: EvaluationRow["prompt"]): boolean {
  return a.length === b.length && a.every(({ role, content }, index) => role === b[index]!.role && content === b[index]!.content);
}

function createScoring({ params }: EvaluateConfig, environment: EvaluationHost["environment"], say: (text: string) => void): Scoring {
  const { scorer } = params;
  if (typeof scorer === "string") return { kind: "ours", score: scorerOf(scorer, params) };
  if ("verl" in scorer) return params.simulate ? { kind: "program", program: SIMULATED_SCORER } : null;
  return { kind: "program", program: createProgramScorer({ argv: scorer.program.map(String), environment, timeoutMs: scorer.timeoutSeconds * 1_000, say }) };
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

function createMetrics(path: string, totalSteps: number, simulated: boolean): { at(progress: Progress): void; last(progress: Progress): void } {
  let [written, at] = [-1, Number.NEGATIVE_INFINITY];
  const line = ({ done, score, errors }: Progress): void => {
    if (done === written) return;
    written = done;
    at = performance.now();
    appendFileSync(path, `${JSON.stringify({ step: done, totalSteps, data: { ...(score === null ? {} : { "eval/score": score }), "eval/errors": errors, ...(simulated ? { simulated: 1 } : {}) } })}\n`);
  };
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
