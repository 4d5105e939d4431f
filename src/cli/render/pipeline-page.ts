// A pipeline on one page, for `show`.
import { newestLast } from "./stage-page.js";
import type { PipelineView } from "../follow/pipeline-view.js";
import { statusStyle, type Style } from "../style.js";
import { anomalyLine } from "./anomaly-lines.js";
import { shortOutputs } from "./pipeline-frame.js";
import { elapsed, progressInWords } from "./quantities.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

export interface ShownPipeline {
  readonly labels: Readonly<Record<string, unknown>>;
  readonly createdBy: string;
  readonly layers: readonly (readonly string[])[];
  readonly forkedFrom: { readonly id: string } | null;
}

/** Of each stage. */
const MOST_ANOMALIES = 5;

export function describePipeline(view: PipelineView, shown: ShownPipeline, style: Style, { now, width }: { now: number; width: number | null }): string[] {
  const labels = Object.entries(shown.labels).map(([key, value]) => `${key}=${String(value)}`).join(", ");
  const rows = [...view.stages.values()].map((stage) => [
    harmless(stage.name), stage.kind.toLowerCase(), statusStyle(style, stage.status)(stage.status), harmless(stage.agent ?? ""), (stage.attempt ?? 0) > 1 ? String(stage.attempt) : "",
    elapsed(stage.startedAt, stage.finishedAt, now), harmless([stage.simulated ? "simulated" : "", remarkOf(stage)].filter((part) => part !== "").join("  ")),
  ]);
  const columns = ["STAGE", "KIND", "STATUS", "AGENT", "TRIES", "TIME", ""].map((title) => ({ title, align: title === "TRIES" || title === "TIME" ? "right" as const : "left" as const }));
  return [
    `${style.bold(harmless(view.name))}  ${style.dim(view.id)}  ${statusStyle(style, view.status)(view.status)}  ${elapsed(view.createdAt, view.finishedAt, now)}`,
    style.dim(`submitted ${view.createdAt} by ${harmless(shown.createdBy)}${labels === "" ? "" : `, ${harmless(labels)}`}${shown.forkedFrom === null ? "" : `, forked from ${shown.forkedFrom.id}`}`),
    ...(view.error === null ? [] : [style.red(harmless(view.error))]),
    "",
    ...renderTable(columns, rows, style, width),
    ...[...view.stages.values()].filter(({ error }) => error !== null).flatMap((stage) => [
      "",
      style.red(`${stage.name}: ${stage.error!.code}: ${harmless(stage.error!.message)}`),
      ...(stage.error!.hint === null ? [] : [`  ${harmless(stage.error!.hint)}`]),
      ...newestLast(stage.error!.logTail, 10, style),
    ]),
    ...[...view.stages.values()].filter(({ anomalies }) => anomalies.length > 0).flatMap((stage) => [
      "", `${harmless(stage.name)}: ${stage.anomalies.length === 1 ? "an anomaly" : `${stage.anomalies.length} anomalies`}`, ...stage.anomalies.slice(-MOST_ANOMALIES).map((anomaly) => `  ${anomalyLine(anomaly, style)}`),
    ]),
    ...[...view.stages.values()].filter(({ waitReasons }) => waitReasons.length > 0).flatMap((stage) => ["", `${stage.name} waits:`, ...stage.waitReasons.map((reason) => `  ${harmless(reason)}`)]),
  ];
}

function remarkOf(stage: PipelineView["stages"] extends Map<string, infer Stage> ? Stage : never): string {
  if (stage.remark !== null) return stage.remark;
  if (stage.status === "RUNNING" && stage.progress !== null) return progressInWords(stage.kind, stage.progress);
  if (stage.status === "PENDING") return `after ${stage.dependsOn.join(", ")}`;
  return stage.status === "COMPLETED" ? shortOutputs(stage.outputs) : "";
}
