// One attempt of a preprocess stage: finds the input, reuses what an earlier attempt made of the same, otherwise has a worker thread make it; tells and registers the files.
//   P1. The work lives in this process. An attempt that an earlier agent process had begun is run again from its start, its output removed first.
//   P2. `ended` is recorded after log, progress and data sets.
//   P3. A stop takes effect at once and leaves nothing of the output, until the files are being registered: from then on they stay.
//   P4. What is registered is noted beside the output before, so that housekeeping leaves it alone.

import { appendFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { preprocessParamsSchema, preprocessProblems, type PreprocessParams } from "../../domain/data/preprocess-params.js";
import { datasetIdOf } from "../../domain/data/dataset.js";
import type { Json } from "../../domain/pipeline/state.js";
import { failpoint } from "../../failpoints.js";
import type { PreprocessResult } from "../../data/preprocess.js";
import { startPreprocess } from "../../data/preprocess-thread.js";
import { createDataRoots } from "../../data/read/data-roots.js";
import { datasetNameOf } from "../data/dataset-name.js";
import { gatherInputs } from "../data/input-files.js";
import { InputRefusedError } from "../data/input-refused.js";
import { keepResult, reuseResult, type Asked, type ResultOrigin } from "../data/kept-results.js";
import { createWorkProgress, type WorkProgress } from "../data/work-progress.js";
import type { HeldAttempt } from "../journal/records.js";
import { createLogTailer, readLogTail } from "../telemetry/log-tailer.js";
import { reportProgress } from "../telemetry/progress-reports.js";
import { createPublisher, type Telemetry } from "../telemetry/publisher.js";
import { createRedactor } from "../telemetry/redactor.js";
import { startTelemetryLoop } from "../telemetry/telemetry-loop.js";
import { attemptDirectory, claimAttemptDirectory, makeAttemptDirectory, type AttemptDirectory } from "./attempt-directory.js";
import type { AttemptHost } from "./attempt-host.js";
import { failureOf } from "./preprocess-failures.js";
import { sayInputs, sayResult, sayReuse } from "./preprocess-words.js";
import type { Outcome, RunningAttempt, StopRequest } from "./running-attempt.js";

/** Files in one report of what was read. */
const READ_PER_REPORT = 1_000;

/** What a finished attempt leaves. */
interface Made {
  readonly result: PreprocessResult;
  /** The attempt whose files were used again. */
  readonly from: ResultOrigin | null;
}

/** Runs the attempt, from its start. */
export function runPreprocess(host: AttemptHost, held: HeldAttempt): RunningAttempt {
  const { assignment, started: resumed } = held;
  const { attemptId, fence } = assignment;
  const of = { attemptId, fence } as const;
  const log = host.log.child({ attemptId, stage: assignment.stage });
  const publisher = createPublisher(host.spool, of);
  const abort = new AbortController();
  let stopping: StopRequest | null = null;
  let registering = false;
  let silent = false;

  const run = async (): Promise<void> => {
    const directory = attemptDirectory(host.attemptsRoot, assignment);
    if (!resumed && stopping === null && !host.leasesTrusted()) { // this process, or its host, may have stood still since the order was taken
      return report({ kind: "REFUSED", reason: "The agent could not renew its leases before the stage was to start; another agent may have it by now." });
    }
    claimAttemptDirectory(host.attemptsRoot, assignment);
    makeAttemptDirectory(directory);
    emptyOutput(directory); // P1
    if (!resumed && stopping === null) await host.spool.append([{ ...of, type: "started", at: Date.now(), command: null }]);
    const redactor = createRedactor([]);
    const tailer = createLogTailer({ file: directory.logFile, redactor, source: held.log, publisher });
    const telemetry = startTelemetryLoop({ folder: directory.root, log: tailer, metrics: NO_METRICS, failed: host.fatal });
    const say = (...lines: readonly string[]): void => appendFileSync(directory.logFile, lines.map((line) => `${line}\n`).join(""), { mode: 0o600 });
    if (resumed) tailer.notice("the agent was restarted; the stage begins again.");

    const progress = createWorkProgress();
    const reporting = reportProgress(host.spool, of, progress, host.fatal);
    let outcome: Outcome;
    try {
      abort.signal.throwIfAborted();
      const made = await make(directory, progress, say);
      await reporting.finish();
      outcome = await register(directory, made);
    } catch (error) {
      await reporting.stop();
      if (!registering) emptyOutput(directory, stopping === null ? KEPT_AFTER_FAILURE : []); // P3
      if (!abort.signal.aborted) log.info({ err: error }, "the preprocess stage failed");
      outcome = (stopping as StopRequest | null)?.outcome ?? failureOf(error, []);
      if (outcome.kind === "FAILED") trySay(say, `failed: ${outcome.failure.message}`);
    }
    if (silent) return telemetry.halt();
    failpoint("after-exit-before-report");
    publisher.hurry();
    await telemetry.finish(); // P2
    if (silent) return;
    await report(outcome.kind === "FAILED" ? { kind: "FAILED", failure: { ...outcome.failure, logTail: readLogTail(directory.logFile, redactor) } } : outcome);
  };

  /** Finds or makes the files. */
  const make = async (directory: AttemptDirectory, progress: WorkProgress, say: Say): Promise<Made> => {
    const { signal } = abort;
    const params = readParams(assignment.params);
    const roots = createDataRoots([...host.dataDirectories, host.attemptsRoot, ...host.neighbours()]);
    const inputs = await gatherInputs(params, { registry: host.registry, roots, datasetsRoot: host.datasetsRoot, attemptsRoot: host.attemptsRoot, owner: attemptId, signal, progress, say: (text) => say(text) });
    const tokenizer = params.tokenizer === undefined ? null : await roots.locate(params.tokenizer);
    const datasetName = params.dataset ?? datasetNameOf(assignment.pipelineName, assignment.stage);
    const asked: Asked = { params, inputs, tokenizer, datasetName, outputDir: directory.output };
    const options = { datasetsRoot: host.datasetsRoot, attemptsRoot: host.attemptsRoot, signal };
    say(...sayInputs(inputs));
    if (params.cache) {
      const reused = await reuseResult(asked, { ...options, progress });
      if (reused !== null) {
        say(...sayReuse(reused.from), ...sayResult(reused.result));
        return reused;
      }
    }
    const result = await prepare(asked, progress, say);
    say(...sayResult(result));
    await keepResult(result, asked, { attemptId, pipelineId: assignment.pipelineId, stage: assignment.stage }, options)
      .catch((error: unknown) => log.warn({ err: error }, "the result cannot be noted for later stages; they will make it anew"));
    return { result, from: null };
  };

  /** The worker thread. */
  const prepare = async (asked: Asked, progress: WorkProgress, say: Say): Promise<PreprocessResult> => {
    abort.signal.throwIfAborted();
    const part = progress.job();
    part(0, asked.inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    const work = startPreprocess({
      params: asked.params, inputs: asked.inputs.map(({ path, name, spec, format, gzip }) => ({ path, name, spec, format, gzip })),
      tokenizer: asked.tokenizer, outputDir: asked.outputDir, datasetName: asked.datasetName,
    });
    const said = new Set<string>();
    work.onProgress(({ done, total, phase }) => {
      part(done, total);
      if (said.has(phase)) return; // with several files phases alternate
      said.add(phase);
      trySay(say, phase);
    });
    const cancel = (): void => work.cancel();
    abort.signal.addEventListener("abort", cancel);
    if (abort.signal.aborted) cancel();
    try {
      return await work.done;
    } finally {
      abort.signal.removeEventListener("abort", cancel);
    }
  };

  /** Reports what was read and made; resolves with how the attempt ended. */
  const register = async (directory: AttemptDirectory, { result, from }: Made): Promise<Outcome> => {
    abort.signal.throwIfAborted();
    registering = true;
    writeFileSync(directory.datasetsFile, result.files.map(({ path }) => `${JSON.stringify(path)}\n`).join(""), { mode: 0o600, flush: true }); // P4
    const files = result.files.map((file) => ({ ...file, datasetId: datasetIdOf(file.datasetName, file.facts.contentHash) }));
    const reports: Telemetry[] = [];
    for (let at = 0; at < result.read.length; at += READ_PER_REPORT) {
      reports.push({ type: "dataset-read", files: result.read.slice(at, at + READ_PER_REPORT).map(({ path, contentHash, sizeBytes }) => ({ path, contentHash, sizeBytes })) });
    }
    for (const { datasetId, datasetName, path, facts } of files) reports.push({ type: "dataset", datasetId, name: datasetName, path, facts: facts as Extract<Telemetry, { type: "dataset" }>["facts"] });
    const published = await publisher.publish(reports, {});
    abort.signal.throwIfAborted(); // `end` gives the reports up
    if (!published) throw new Error("The reports of the data sets were given up.");
    failpoint("after-datasets-before-end");
    const made = (role: "train" | "validation") => files.find((file) => file.role === role);
    const [train, validation] = [made("train"), made("validation")];
    return {
      kind: "COMPLETED",
      outputs: {
        ...(train === undefined ? {} : { trainFile: train.path }),
        ...(validation === undefined ? {} : { validationFile: validation.path }),
        rows: result.trainRows + result.validationRows, trainRows: result.trainRows, validationRows: result.validationRows, rowsRead: result.rows, dropped: result.dropped + result.rejected, rejected: result.rejected, reasons: { ...result.reasons },
        manifestFile: result.manifestFile, rejectsFile: result.rejectsFile,
        ...(train === undefined ? {} : { trainDataset: train.datasetId }),
        ...(validation === undefined ? {} : { validationDataset: validation.datasetId }),
        ...(from === null ? {} : { cachedFrom: from.attemptId }),
      } satisfies Record<string, Json>,
    };
  };
  const report = (outcome: Outcome): Promise<void> => host.spool.append([{ ...of, type: "ended", at: Date.now(), outcome }]);

  const done = (assignment.rank === 0 ? run() : idle(report, host, held)).catch(async (error: unknown) => {
    if (silent) return;
    log.error({ err: error }, "the attempt failed inside the agent");
    return report(failureOf(error, []));
  }).catch((error: unknown) => host.fatal(error as Error));

  const end = (): void => {
    abort.abort();
    if (registering) publisher.abandon();
  };
  return {
    done,
    stop(request) {
      stopping ??= request;
      end();
    },
    disown() {
      silent = true;
      stopping ??= { graceMs: 0, outcome: { kind: "STOPPED" } };
      publisher.abandon();
      end();
    },
    async leave() {
      silent = true;
      publisher.abandon();
      end();
      await done;
    },
    pids: async () => [],
  };
}

type Say = (...lines: readonly string[]) => void;

const NO_METRICS = { advance: async () => undefined, finish: async () => undefined };

/** What may help after a failure. */
const KEPT_AFTER_FAILURE = ["rejects.jsonl"];

/** Of a stage over several nodes the first prepares the data. */
async function idle(report: (outcome: Outcome) => Promise<void>, host: AttemptHost, { assignment: { attemptId, fence }, started }: HeldAttempt): Promise<void> {
  if (!started) await host.spool.append([{ attemptId, fence, type: "started", at: Date.now(), command: null }]);
  await report({ kind: "COMPLETED", outputs: {} });
}

/** Throws InputRefusedError naming every field that is wrong now that references are filled in. */
function readParams(params: unknown): PreprocessParams {
  const parsed = preprocessParamsSchema.safeParse(params);
  const problems = parsed.success
    ? preprocessProblems(parsed.data, "params").filter(({ severity }) => severity === "ERROR").map(({ path, message }) => `${path}: ${message}`)
    : parsed.error.issues.map((issue) => `params.${issue.path.join(".")}: ${issue.message}`);
  if (problems.length > 0 || !parsed.success) throw new InputRefusedError(`The stage's params are not usable after references were filled in: ${problems.join("; ")}`, "Correct them and fork the pipeline from this stage.");
  return parsed.data;
}

function emptyOutput(directory: AttemptDirectory, keep: readonly string[] = []): void {
  for (const name of readdirSync(directory.output)) if (!keep.includes(name)) rmSync(join(directory.output, name), { recursive: true, force: true });
}

/** A full disk is no reason to end before the work itself meets it. */
function trySay(say: Say, text: string): void {
  try {
    say(text);
  } catch {
    // What could not be told is in the failure, or does not matter.
  }
}
