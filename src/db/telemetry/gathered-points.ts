// The points of one ingest batch, sorted by series before anything is sent to the database. Pure.
//   G1. A step that comes twice for one series counts once, with the value that came last.
//   G2. Within a series the points leave in rising order of step.

import type { StageId } from "../../domain/ids.js";
import type { ReportOf } from "../../protocol/messages.js";
import type { Point } from "./metric-block.js";

/** Latest time that is stored, milliseconds since 1970: the year 9999. An agent's clock is information only and must not be able to break a transaction. */
const LATEST_MS = 253_402_300_799_000;

/** Points of one metric of one attempt. */
export interface GatheredSeries {
  readonly name: string;
  readonly points: Point[];
  /** False once a step came that is not above the one before it: then `sorted` has work to do. */
  rising: boolean;
}

/** What one attempt of a stage reported. */
export interface GatheredAttempt {
  readonly stageId: StageId;
  readonly attempt: number;
  readonly series: Map<string, GatheredSeries>;
  /** The point with the highest step, and the lowest step. */
  newest: Point | null;
  lowestStep: number;
}

export interface GatheredPoints {
  readonly attempts: Map<string, GatheredAttempt>;
  add(stageId: StageId, attempt: number, report: ReportOf<"metrics">): void;
}

export function gatherPoints(): GatheredPoints {
  const attempts = new Map<string, GatheredAttempt>();
  return {
    attempts,
    add(stageId, attempt, report) {
      if (report.points.length === 0) return;
      const key = `${stageId}#${attempt}`;
      let gathered = attempts.get(key);
      if (gathered === undefined) attempts.set(key, (gathered = { stageId, attempt, series: new Map(), newest: null, lowestStep: Infinity }));
      addReport(gathered, report);
    },
  };
}

function addReport(into: GatheredAttempt, report: ReportOf<"metrics">): void {
  const byIndex: (GatheredSeries | undefined)[] = new Array(report.names.length);
  for (const [index, step, at, wire] of report.points) {
    let series = byIndex[index];
    if (series === undefined) {
      const sent = report.names[index];
      if (sent === undefined) continue; // names no metric: there is nothing to store it under
      series = byIndex[index] = seriesOf(into, storableText(sent));
    }
    const point: Point = { step, at: storableTime(at), value: typeof wire === "number" ? wire : Number(wire) };
    const { points } = series;
    if (points.length > 0 && points[points.length - 1]!.step >= step) series.rising = false;
    points.push(point);
    if (into.newest === null || step > into.newest.step) into.newest = point;
    if (step < into.lowestStep) into.lowestStep = step;
  }
}

function seriesOf(into: GatheredAttempt, name: string): GatheredSeries {
  let series = into.series.get(name);
  if (series === undefined) into.series.set(name, (series = { name, points: [], rising: true }));
  return series;
}

/** G1, G2. */
export function sorted(series: GatheredSeries): readonly Point[] {
  if (series.rising) return series.points;
  const bySteps = new Map<number, Point>();
  for (const point of series.points) bySteps.set(point.step, point);
  return [...bySteps.values()].sort((a, b) => a.step - b.step);
}

/** Text that Postgres takes and gives back as it is: no zero character, no half of a surrogate pair. */
export function storableText(text: string): string {
  return /[\0\ud800-\udfff]/.test(text) ? Buffer.from(text.replaceAll("\0", "\ufffd")).toString() : text;
}

/** A sender's time within what Postgres can hold; milliseconds since 1970. */
export function storableTime(at: number): number {
  return Math.min(Math.max(0, at), LATEST_MS);
}
