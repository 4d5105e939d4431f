// Evaluations, their rows and what changed between two, as text for people.
import { SIMULATED_SCORES, type EvaluationAnswer, type IntervalAnswer, type SampleAnswer } from "../api/evaluations.js";
import type { Style } from "../style.js";
import { count } from "./quantities.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

/** Scores with their intervals where they are known; the one called score last among none, first of all. */
export function scoreTable({ scores, intervals }: Pick<EvaluationAnswer, "scores" | "intervals">, style: Style): string[] {
  const known = new Map(intervals.map((interval) => [interval.score, interval]));
  const names = Object.keys(scores).sort((a, b) => Number(b === "score") - Number(a === "score") || (a < b ? -1 : 1));
  return renderTable(
    [{ title: "SCORE" }, { title: "VALUE", align: "right" }, { title: "95 % BETWEEN" }, { title: "N", align: "right" }],
    names.map((name) => [harmless(name), number(scores[name]!), intervalText(known.get(name)), known.has(name) ? count(known.get(name)!.n) : ""]), style, null);
}

export function intervalText(interval: Pick<IntervalAnswer, "low" | "high"> | undefined): string {
  return interval === undefined || interval.low === null || interval.high === null ? "" : `${number(interval.low)} … ${number(interval.high)}`;
}

/** Four digits behind the point: more is noise in any evaluation. */
export function number(value: number): string {
  return String(Number(value.toFixed(4)));
}

/** A probability. */
export function probability(p: number): string {
  return p < 0.0001 ? "below 0.0001" : number(p);
}

export function describeEvaluation(evaluation: EvaluationAnswer, style: Style): string[] {
  const { stage, checkpoint, datasetName, sampleCount, errorCount, sampleSet, simulated, createdAt } = evaluation;
  const facts: [string, string][] = [
    ["Evaluation", evaluation.id], ["Pipeline", `${harmless(stage.pipeline.name)} (${stage.pipeline.id}), stage ${harmless(stage.name)}`],
    ["Of", checkpoint === null ? "no registered checkpoint" : `step ${count(checkpoint.step)} of ${harmless(checkpoint.stage.name)} (${checkpoint.id})`],
    ...(datasetName === null ? [] : [["On", harmless(datasetName)] as [string, string]]),
    ["Rows", `${sampleCount === 0 ? "not told" : `${count(sampleCount)} scored`}${errorCount === null || errorCount === 0 ? "" : `, ${style.red(`${count(errorCount)} without a score`)}`}`],
    ...(sampleSet === null ? [] : [["Kept", `${count(sampleSet.kept)} rows: ${count(sampleSet.correct)} correct, ${count(sampleSet.wrong)} wrong, ${count(sampleSet.errors)} errors${sampleSet.unscored === 0 ? "" : `, ${count(sampleSet.unscored)} not scored one by one`}${sampleSet.leftOut === 0 ? "" : `; ${count(sampleSet.leftOut)} left out for lack of room`}`] as [string, string]]),
    ["Made", createdAt],
    ...(simulated ? [["Note", style.yellow(SIMULATED_SCORES)] as [string, string]] : []),
  ];
  return [...facts.map(([name, text]) => `${style.dim(name.padEnd(11))} ${text}`), "", ...scoreTable(evaluation, style)];
}

/** A row that was asked; long texts shortened unless `whole`. */
export function describeSample(sample: SampleAnswer, style: Style, whole: boolean): string[] {
  const { verdict, score, nonFinite, truth, error } = sample;
  const colour = verdict === "CORRECT" ? style.green : verdict === "WRONG" || verdict === "ERROR" ? style.red : style.dim;
  const text = (value: string) => {
    const shown = whole || value.length <= SHOWN ? value : `${value.slice(0, SHOWN / 2).toWellFormed()} … ${value.slice(-SHOWN / 2).toWellFormed()}`;
    return (whole ? shown.split("\n") : [shown.replaceAll(/\s+/g, " ").trim()]).map(harmless);
  };
  const block = (name: string, value: string) => text(value).map((line, index) => `  ${style.dim((index === 0 ? name : "").padEnd(7))} ${line}`);
  return [
    `${colour(verdict.toLowerCase())}${score === null && nonFinite === null ? "" : ` ${nonFinite ?? number(score!)}`}  ${style.dim(harmless(sample.key))}`,
    ...block("asked", sample.prompt), ...(sample.output === "" ? [] : block("said", sample.output)), ...(truth === null ? [] : block("truth", truth)), ...(error === null ? [] : block("error", error)),
  ];
}
/** Characters of a text that is shortened. */
const SHOWN = 400;
