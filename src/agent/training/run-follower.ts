// Follows a trainer: metrics from its console, completed by verl's JSON-lines logger; progress; checkpoints; drawn answers.
//   F1. What was reported is a function of the files and of how far they were read; an agent that takes over reads again, silently, what another has reported.
//   F2. A line of the logger is looked at when the console has passed its step, or the run has ended: what the console then has not said is added.
//   F3. A checkpoint is reported when it is complete, and after the metrics of its step (RL saves before it logs).
//   F4. No secret leaves the host, not in a metric's name either.
//   F5. verl's RL trainer begins a resumed run by validating again at the step that it was resumed at. The attempt that reached the step has told of it; were it told
//       again, everything else that was measured there would count as superseded. A checkpoint of another stage is nobody's step here: its validation is told.

import { appendFileSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { ConsolePoint } from "../../verl/output/console-lines.js";
import { missingFromConsole, readFileLine } from "../../verl/output/file-lines.js";
import { createRunReader } from "../../verl/output/run-reader.js";
import { failed, type FollowContext, type Follower } from "../attempt/program-role.js";
import type { TrainingSource } from "../journal/records.js";
import type { Place } from "../place/place.js";
import { packPoints, type MetricsLine } from "../telemetry/metrics-lines.js";
import type { Telemetry } from "../telemetry/publisher.js";
import { sampleReports } from "../telemetry/sample-reports.js";
import { listCheckpoints } from "./checkpoint-folder.js";
import { readLines } from "./growing-lines.js";
import type { RunNote } from "./run-note.js";
import { dumpedSteps, readDump, removeDump } from "./sample-dumps.js";

/** Least time between two progress reports, and between two looks for checkpoints, in milliseconds. */
const PROGRESS_EVERY_MS = 500;
const LOOK_EVERY_MS = 1_000;
/** Steps of which it is remembered what the console said (F2). */
const REMEMBERED_STEPS = 500;
const NAME_LIMIT = 300;
const UNSTORABLE = /\0|\p{Surrogate}/u;

/** Where it runs, and whether that is this machine. */
export interface RunPlace { readonly place: Place; readonly isHere: boolean }

/** `source`: how far an earlier agent process has reported. */
export function createRunFollower(note: RunNote, source: TrainingSource | undefined, { place, isHere }: RunPlace, context: FollowContext): Follower {
  const { directory, publisher, redactor } = context;
  const run = createRunReader(note.trainer, note.resumed?.step ?? 0);
  const begun = note.resumed !== null && note.resumed.path.startsWith(`${dirname(note.sharedFolder ?? directory.root)}/`) ? note.resumed.step : Number.NEGATIVE_INFINITY; // F5
  const said = new Map<number, Set<string>>();
  let at: TrainingSource = source ?? { console: 0, logger: 0, checkpoint: null };
  const toldGone = new Set<string>();
  let recalled = at.console === 0;
  let errorsRead = 0;
  let progressAt = Number.NEGATIVE_INFINITY;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let told = "";
  let givenUp = false;

  /** What the place answers; `otherwise` when the agent leaves meanwhile: what is left is published nowhere any more. */
  const asked = <T, U>(answer: Promise<T>, otherwise: U): Promise<T | U> => {
    answer.catch(() => undefined);
    return Promise.race([answer, context.left.then(() => otherwise)]);
  };
  const remember = (points: readonly ConsolePoint[]): void => {
    if (note.loggerFile === null) return;
    for (const { step, name } of points) {
      const names = said.get(step);
      if (names !== undefined) names.add(name);
      else said.set(step, new Set([name]));
    }
    while (said.size > REMEMBERED_STEPS) said.delete(said.keys().next().value as number);
  };
  const read = (line: string): readonly ConsolePoint[] => {
    const points = run.read(line);
    remember(points);
    return points;
  };
  /** F1. */
  const recall = async (): Promise<void> => {
    for (let from = 0; from < at.console;) {
      const { lines, next } = readLines(directory.stdoutFile, from, false);
      if (next === from) break;
      for (const line of lines) read(line);
      from = next;
      await nextTurn();
    }
    if (note.loggerFile !== null) for (let from = 0; from < at.logger;) {
      const { lines, next } = readLines(note.loggerFile, from, false);
      if (next === from) break;
      for (const line of lines) run.take(readFileLine(line)?.points ?? []);
      from = next;
    }
    recalled = true;
  };

  const publish = async (reports: readonly Telemetry[], next: TrainingSource): Promise<void> => {
    if (givenUp) return;
    at = next;
    if (reports.length === 0) return; // nothing to record: what has no report is read again
    for (let from = 0; from < reports.length && !givenUp; from += 100) givenUp = !(await publisher.publish(reports.slice(from, from + 100), from + 100 >= reports.length ? { training: next } : {}));
  };
  const metricsOf = (points: readonly ConsolePoint[]): Telemetry[] =>
    packPoints(linesOf(points.map(({ name, step, value }) => ({ name: redactor.redact(name), step, value }))), Date.now()).map((packed): Telemetry => ({ type: "metrics", ...packed })); // F4
  const progress = (): Telemetry[] => {
    const totalSteps = run.totalSteps ?? note.totalSteps;
    const now = `${run.lastStep} ${totalSteps}`;
    if (run.lastStep === null || now === told) return [];
    told = now;
    progressAt = performance.now();
    return [{ type: "progress", step: run.lastStep, totalSteps }];
  };

  const followConsole = async (ended: boolean): Promise<void> => {
    for (let more = true; more && !givenUp;) {
      const found = readLines(directory.stdoutFile, at.console, ended);
      more = found.more;
      const points = found.lines.flatMap(read).filter(({ step }) => step > begun);
      const due = points.length > 0 && performance.now() - progressAt >= PROGRESS_EVERY_MS;
      await publish([...metricsOf(points), ...(due ? progress() : [])], { ...at, console: found.next });
    }
  };
  /** Ray says on either output what it waits for; only the console's place is kept. */
  const followErrors = (): void => {
    for (let more = true; more && run.lastStep === null;) {
      const found = readLines(directory.stderrFile, errorsRead, false);
      ({ more } = found);
      errorsRead = found.next;
      for (const line of found.lines) if (line.includes("No available node types")) run.read(line);
    }
  };
  /** F2. */
  const followLogger = async (ended: boolean): Promise<void> => {
    if (note.loggerFile === null || (run.lastStep === null && !ended)) return;
    for (let more = true; more && !givenUp;) {
      const found = readLines(note.loggerFile, at.logger, ended);
      more = found.more;
      let next = at.logger;
      const missing: ConsolePoint[] = [];
      for (const line of found.lines) {
        const logged = readFileLine(line);
        if (logged !== null && !ended && logged.step >= run.lastStep!) {
          more = false;
          break;
        }
        next += Buffer.byteLength(line) + 1;
        if (logged === null || isForgotten(logged.step)) continue;
        missing.push(...missingFromConsole(logged.points, (step, name) => said.get(step)?.has(name) === true));
        run.take(logged.points.filter(({ value }) => Number.isFinite(value)));
      }
      remember(missing);
      await publish(metricsOf(missing.filter(({ step }) => step > begun)), { ...at, logger: Math.min(next, found.next) });
    }
  };
  /** Whether what the console said of a step is not remembered any more. */
  const isForgotten = (step: number): boolean => {
    const oldest = said.keys().next().value as number | undefined;
    return said.size >= REMEMBERED_STEPS && oldest !== undefined && step < oldest;
  };
  /** F3. */
  const followCheckpoints = async (ended: boolean): Promise<void> => {
    for (const { step, path: found, missing } of await asked(listCheckpoints(place, note.checkpointDir, note.trainer, note.expectation, at.checkpoint ?? -1), [])) {
      if (missing.length > 0) continue;
      if (!ended && (run.lastStep ?? -1) < step) return;
      const path = place.there(found);
      if (redactor.redact(path) !== path) continue;
      const gone = await goneSince();
      const sizeBytes = (await (note.sharedFolder === null ? context.artifact(path) : asked(place.artifact({ ...directory, root: note.sharedFolder, output: note.sharedFolder }, path), null)))?.sizeBytes ?? null;
      appendFileSync(directory.checkpointsFile, `${JSON.stringify(path)}\n`, { mode: 0o600 });
      await publish([{ type: "checkpoint", step, path, sizeBytes, ...(gone.length === 0 ? {} : { gone }) }], { ...at, checkpoint: step });
    }
  };
  /** Checkpoints that were reported and that the trainer, or an order, has removed since; each is told once by this process, and telling it again is harmless. */
  const goneSince = async (): Promise<string[]> => {
    const found = await asked(listCheckpoints(place, note.checkpointDir, note.trainer, note.expectation), null);
    if (found === null) return [];
    const whole = new Set(found.filter(({ missing }) => missing.length === 0).map(({ path }) => place.there(path)));
    const gone = listedCheckpoints(directory).filter((path) => !whole.has(path) && !toldGone.has(path)).slice(-1_000);
    for (const path of gone) toldGone.add(path);
    return gone;
  };
  /** verl dumps the answers of a step before it logs the step. */
  const followSamples = async (ended: boolean): Promise<void> => {
    const { samplesDir } = note;
    if (samplesDir === null) return;
    for (const source of ["train", "validation"] as const) {
      for (const step of await asked(dumpedSteps(place, samplesDir, source, Math.max(begun, at.samples?.[source] ?? -1), ended ? null : run.lastStep ?? -1), [])) {
        const dump = await asked(readDump(place, isHere, samplesDir, source, step), null);
        if (dump === null) return;
        await publish(sampleReports(dump, redactor), { ...at, samples: { ...at.samples, [source]: step } });
        if (givenUp) return;
        await asked(removeDump(place, samplesDir, source, step), undefined);
      }
    }
  };
  const giveUpIfUnplaceable = (): void => {
    if (run.unplaceable === null || run.lastStep !== null) return;
    context.giveUp(failed("INVALID_INPUT", `Ray waits for processors or GPUs that this host does not have, and would wait for ever: ${redactor.redact(run.unplaceable)}`,
      "Each GPU of the run wants 3 processors and some more are needed (3 × GPUs + 4). Use fewer GPUs or a host with more processors."));
  };

  const advance = async (ended: boolean): Promise<void> => {
    if (!recalled) await recall();
    await followConsole(ended);
    followErrors();
    await followLogger(ended);
    if (ended || performance.now() - lookedAt >= LOOK_EVERY_MS) {
      lookedAt = performance.now();
      await followCheckpoints(ended);
      await followSamples(ended);
    }
    if (ended || performance.now() - progressAt >= PROGRESS_EVERY_MS) await publish(progress(), at);
    if (!ended) giveUpIfUnplaceable();
  };
  return { advance: () => advance(false), finish: () => advance(true) };
}

function listedCheckpoints({ checkpointsFile }: FollowContext["directory"]): string[] {
  try {
    return readFileSync(checkpointsFile, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as string);
  } catch {
    return []; // none was reported yet
  }
}

/** Points in the shape of the metrics file's lines. */
function linesOf(points: readonly ConsolePoint[]): MetricsLine[] {
  const lines = new Map<number, [string, number | "NaN" | "Infinity" | "-Infinity"][]>();
  for (const { name, step, value } of points) {
    if (name === "" || name.length > NAME_LIMIT || UNSTORABLE.test(name)) continue;
    const wire = Number.isFinite(value) ? value : Number.isNaN(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
    const line = lines.get(step);
    if (line === undefined) lines.set(step, [[name, wire]]);
    else line.push([name, wire]);
  }
  return [...lines].map(([step, values]) => ({ step, values, totalSteps: null, checkpoint: null, leftOut: null }));
}
