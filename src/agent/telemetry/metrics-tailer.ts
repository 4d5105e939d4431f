// Reports what a program appends to its metrics file: points, progress, checkpoints.
//   M1. A line without its end waits for it; at the program's end it counts if it can be read.
//   M2. The points of a step are reported before the checkpoint of that step.
//   M3. No secret leaves the host: not in a metric's name, and not in the path of a checkpoint (which is not reported then).

import { appendFileSync } from "node:fs";
import type { AttemptDirectory } from "../attempt/attempt-directory.js";
import type { MetricsSource } from "../journal/records.js";
import type { Artifact } from "../place/place.js";
import { readFrom } from "./file-reader.js";
import { METRICS_LINE_LIMIT, packPoints, parseMetricsLine, type MetricsLine } from "./metrics-lines.js";
import type { Publisher, Telemetry } from "./publisher.js";
import type { Redactor } from "./redactor.js";

/** Bytes read between two records of how far we are. */
const STEP_BYTES = 512 * 1024;
/** Least time between two progress reports, in milliseconds. */
const PROGRESS_EVERY_MS = 500;

export interface MetricsTailer {
  advance(): Promise<void>;
  finish(): Promise<void>;
}

export function createMetricsTailer(options: {
  directory: AttemptDirectory;
  /** What a reported path names; null when it is no file or folder of the attempt's. */
  artifact: (path: string) => Promise<Artifact | null>;
  redactor: Redactor; source: MetricsSource | null; publisher: Publisher; totalSteps: number | null;
  /** Says something in the attempt's log. */
  notice: (text: string) => void;
}): MetricsTailer {
  const { directory, artifact, redactor, publisher, notice } = options;
  let source: MetricsSource = options.source ?? { offset: 0, lines: 0, badLines: 0, lastStep: null, totalSteps: options.totalSteps };
  let progressAt = Number.NEGATIVE_INFINITY;
  let progressOwed = false;
  let givenUp = false;

  const progress = (): Telemetry[] => {
    if (!progressOwed || source.lastStep === null) return [];
    progressOwed = false;
    progressAt = performance.now();
    return [{ type: "progress", step: source.lastStep, totalSteps: source.totalSteps }];
  };
  const leaveOut = (what: string): void => {
    if (source.badLines === 0) notice(`line ${source.lines} of the metrics file was left out: ${what}. Further ones are counted only.`);
    source = { ...source, badLines: source.badLines + 1 };
  };
  const checkpointReport = async (line: MetricsLine): Promise<Telemetry[]> => {
    const found = await artifact(line.checkpoint as string);
    if (found === null) {
      leaveOut(`the checkpoint ${JSON.stringify(line.checkpoint?.slice(0, 300))} does not exist inside TRAINYARD_OUTPUT_DIR`);
      return [];
    }
    const { path, sizeBytes } = found;
    if (redactor.redact(path) !== path) { // M3
      leaveOut("the checkpoint's path holds the value of a secret; give it another name");
      return [];
    }
    appendFileSync(directory.checkpointsFile, `${JSON.stringify(path)}\n`, { mode: 0o600 });
    return [{ type: "checkpoint", step: line.step, path, sizeBytes }];
  };
  /** Takes the whole lines of `bytes`; returns how many bytes that was. */
  const take = async (bytes: Buffer, ended: boolean): Promise<number> => {
    let reports: Telemetry[] = [];
    let lines: MetricsLine[] = [];
    const pack = (): void => {
      reports.push(...packPoints(lines, Date.now()).map((packed): Telemetry => ({ type: "metrics", ...packed })));
      lines = [];
    };
    let from = 0;
    while (from < bytes.length) {
      const lf = bytes.indexOf(10, from);
      if (lf < 0 && !ended) break; // M1
      const end = lf < 0 ? bytes.length : lf;
      const text = bytes.toString("utf8", from, end).trim();
      from = lf < 0 ? end : lf + 1;
      source = { ...source, lines: source.lines + 1 };
      if (text === "") continue;
      const line = parseMetricsLine(text);
      if ("problem" in line) {
        leaveOut(line.problem);
        continue;
      }
      if (line.leftOut !== null) leaveOut(line.leftOut);
      lines.push({ ...line, values: line.values.map(([name, value]) => [redactor.redact(name), value] as const) }); // M3
      source = { ...source, lastStep: line.step, totalSteps: line.totalSteps ?? source.totalSteps };
      progressOwed = true;
      if (line.checkpoint !== null) {
        pack(); // M2
        reports.push(...(await checkpointReport(line)));
      }
    }
    if (from === 0) return 0;
    pack();
    if (ended || performance.now() - progressAt >= PROGRESS_EVERY_MS) reports.push(...progress());
    source = { ...source, offset: source.offset + from };
    for (let at = 0; at < reports.length && !givenUp; at += 100) givenUp = !(await publisher.publish(reports.slice(at, at + 100), at + 100 >= reports.length ? { metrics: source } : {}));
    reports = [];
    return from;
  };
  const readAll = async (ended: boolean): Promise<void> => {
    for (let want = STEP_BYTES; !givenUp;) {
      const read = readFrom(directory.metricsFile, source.offset, want);
      if (read === null) return;
      if (read.size < source.offset) {
        notice("the metrics file became shorter; it is read again from its beginning.");
        source = { ...source, offset: 0 };
        continue;
      }
      const atEnd = source.offset + read.bytes.length >= read.size;
      const used = await take(read.bytes, ended && atEnd);
      if (used > 0) want = STEP_BYTES;
      else if (atEnd) return;
      else if (want <= METRICS_LINE_LIMIT) want = METRICS_LINE_LIMIT * 2;
      else {
        leaveOut(`it is longer than ${METRICS_LINE_LIMIT} bytes`);
        source = { ...source, offset: source.offset + read.bytes.length }; // its end is then a bad line too
      }
      if (used > 0 && atEnd) return;
    }
  };

  return {
    async advance() {
      await readAll(false);
      if (progressOwed && performance.now() - progressAt >= PROGRESS_EVERY_MS) givenUp ||= !(await publisher.publish(progress(), { metrics: source }));
    },
    async finish() {
      await readAll(true);
      if (progressOwed && !givenUp) await publisher.publish(progress(), { metrics: source });
    },
  };
}
