// What came out of the demo: every stage with its time and outputs, the two variants with their scores, and the choice.
import type { PipelineView, StageView } from "../follow/pipeline-view.js";
import { statusStyle, type Style } from "../style.js";
import { shortOutputs } from "./pipeline-frame.js";
import { elapsed, metricValue } from "./quantities.js";
import { renderTable } from "./table.js";

type Outputs = Readonly<Record<string, unknown>>;

export function renderDemoResult(view: PipelineView, style: Style, width: number | null): string[] {
  const now = Date.now();
  const stages = [...view.stages.values()];
  const rows = stages.map((stage) => [stage.name, statusStyle(style, stage.status)(stage.status), elapsed(stage.startedAt, stage.finishedAt, now), (stage.attempt ?? 1) > 1 ? String(stage.attempt) : "", shortOutputs(stage.outputs)]);
  const columns = ["STAGE", "STATUS", "TIME", "TRIES", "OUTPUTS"].map((title) => ({ title, align: title === "TIME" || title === "TRIES" ? "right" as const : "left" as const }));
  return [
    "",
    `${style.bold(view.name)} ${style.dim(view.id)} ${statusStyle(style, view.status)(view.status)} in ${elapsed(view.createdAt, view.finishedAt, now)}`,
    "",
    ...renderTable(columns, rows, style, width),
    ...variants(view, stages, style),
  ];
}

/** Each `train-x` beside its `evaluate-x`; the checkpoint that `choose` names tells which one was taken. */
function variants(view: PipelineView, stages: readonly StageView[], style: Style): string[] {
  const chosen = view.stages.get("choose")?.outputs?.["checkpoint"];
  const scored = stages.flatMap((training) => {
    const scores = view.stages.get(training.name.replace(/^train-/, "evaluate-"))?.outputs?.["scores"] as Outputs | undefined;
    if (!training.name.startsWith("train-") || scores === undefined) return [];
    return [{ name: training.name.slice("train-".length), weights: training.outputs?.["weights"], scores, isChosen: chosen !== undefined && training.outputs?.["checkpoint"] === chosen }];
  });
  if (scored.length === 0) return [];
  const names = [...new Set(scored.flatMap(({ scores }) => Object.keys(scores)))];
  const number = (value: unknown) => (typeof value === "number" ? metricValue(value, null) : "");
  const rows = scored.map(({ name, weights, scores, isChosen }) => [name, number(weights), ...names.map((key) => number(scores[key])), isChosen ? style.green("← chosen") : ""]);
  const columns = ["VARIANT", "WEIGHTS", ...names, ""].map((title, index) => ({ title, align: index > 0 && title !== "" ? "right" as const : "left" as const }));
  return ["", ...renderTable(columns, rows, style, null)];
}
