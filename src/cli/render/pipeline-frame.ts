// A pipeline on a terminal, redrawn as it goes: one line per stage with state, agent, time, progress and newest metric values.
import type { PipelineView, StageView } from "../follow/pipeline-view.js";
import { statusStyle, type Style } from "../style.js";
import { anomalySummary } from "./anomaly-lines.js";
import { count, duration, elapsed, metricValue, progressBar } from "./quantities.js";
import { cut, fill, harmless, widthOf } from "./text-width.js";

export interface FrameOptions {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly width: number;
  readonly height: number;
  readonly style: Style;
}

const BAR_WIDTH = 16;
const MARKS: Readonly<Record<string, string>> = {
  PENDING: "·", QUEUED: "◦", RUNNING: "▶", PAUSED: "‖", WAITING_APPROVAL: "?", COMPLETED: "✓", FAILED: "✗", CANCELLED: "⊘", SKIPPED: "−",
};
/** Stages that are cut from a long list first. */
const LEAST_INTERESTING = ["PENDING", "COMPLETED", "SKIPPED", "CANCELLED", "QUEUED"];

/** At most `height` lines of at most `width` columns. */
export function renderPipelineFrame(view: PipelineView, options: FrameOptions): string[] {
  const { width, height, style, now } = options;
  const stages = [...view.stages.values()];
  const shown = choose(stages, Math.max(3, height - 3));
  const nameWidth = Math.min(32, Math.max(...shown.map(({ name }) => widthOf(name)), 5));
  const agentWidth = Math.min(20, Math.max(...shown.map(({ agent }) => widthOf(agent ?? "")), 0));
  const lines = shown.map((stage) => stageLine(stage, { nameWidth, agentWidth, style, now }));
  const hidden = stages.length - shown.length;
  return [header(view, stages, style, now), ...lines, ...(hidden === 0 ? [] : [style.dim(`  … and ${count(hidden)} more stages`)])].map((line) => cut(line, width)).slice(0, height);
}

function header(view: PipelineView, stages: readonly StageView[], style: Style, now: number): string {
  const done = stages.filter(({ status }) => status === "COMPLETED").length;
  const parts = [style.bold(harmless(view.name)), style.dim(view.id), statusStyle(style, view.status)(view.status), `${count(done)} of ${count(stages.length)} stages`, elapsed(view.createdAt, view.finishedAt, now)];
  return parts.join("  ") + (view.error === null ? "" : `  ${style.red(harmless(view.error))}`);
}

function stageLine(stage: StageView, { nameWidth, agentWidth, style, now }: { nameWidth: number; agentWidth: number; style: Style; now: number }): string {
  const colour = statusStyle(style, stage.status);
  const attempt = (stage.attempt ?? 1) > 1 ? `try ${stage.attempt}` : "";
  const columns = [
    `${colour(MARKS[stage.status] ?? " ")} ${fill(cut(stage.name, nameWidth), nameWidth)}`,
    fill(colour(stage.status === "WAITING_APPROVAL" ? "APPROVAL?" : stage.status), 9),
    ...(agentWidth === 0 ? [] : [style.dim(fill(cut(harmless(stage.agent ?? ""), agentWidth), agentWidth))]),
    fill(elapsed(stage.startedAt, stage.finishedAt, now), 12, "right"),
  ];
  return `  ${columns.join("  ")}  ${[style.dim(attempt), stage.simulated ? style.yellow("simulated") : "", anomalySummary(stage.anomalies, style), ...details(stage, style)].filter((part) => part !== "").join("  ")}`.trimEnd();
}

function details(stage: StageView, style: Style): string[] {
  switch (stage.status) {
    case "RUNNING": return [progress(stage, style), newestMetrics(stage, style)];
    case "COMPLETED": return [style.dim(stage.remark ?? ""), style.dim(shortOutputs(stage.outputs))];
    case "FAILED": return stage.error === null ? [] : [style.red(`${stage.error.code}: ${harmless(stage.error.message)}`)];
    case "QUEUED": return [style.dim(harmless([stage.remark, stage.waitReasons[0]].filter(Boolean).join(" · ")))];
    default: return [style.dim(harmless(stage.remark ?? ""))];
  }
}

function progress({ progress: at }: StageView, style: Style): string {
  if (at === null) return "";
  if (at.totalSteps === null || at.totalSteps <= 0) return `step ${count(at.step)}`;
  const share = Math.min(1, at.step / at.totalSteps);
  const eta = at.etaSeconds === null ? "" : `  ETA ${duration(at.etaSeconds * 1000)}`;
  return `${style.cyan(progressBar(share, BAR_WIDTH))} ${String(Math.floor(share * 100)).padStart(3)} %${eta}`;
}

/** What people look at first; without any of these, the names in alphabetical order. */
const TELLING = ["loss", "reward", "score", "acc", "kl", "entropy"];

/** The newest values of the metrics that tell most. */
export function newestMetrics(stage: StageView, style: Style, most = 3): string {
  const rank = (name: string) => TELLING.findIndex((word) => name.toLowerCase().includes(word));
  const all = [...stage.metrics.keys()].sort();
  const telling = all.filter((name) => rank(name) >= 0).sort((a, b) => rank(a) - rank(b));
  return (telling.length > 0 ? telling : all).slice(0, most).map((name) => {
    const { value, nonFinite } = stage.metrics.get(name)!;
    const text = metricValue(value, nonFinite);
    return `${style.dim(harmless(name))} ${value === null ? style.red(text) : text}`;
  }).join("  ");
}

/** Outputs shown of a stage. */
const MOST_OUTPUTS = 12;

/** Numbers and short texts among the outputs, the first of them, and before all that they are made up; paths and long texts are left to `show`. */
export function shortOutputs(outputs: Readonly<Record<string, unknown>> | null): string {
  const { simulated, ...others } = outputs ?? {};
  const all = simulated === true ? ["simulated", ...shortValues(others)] : shortValues(outputs ?? {});
  return [...all.slice(0, MOST_OUTPUTS), ...(all.length > MOST_OUTPUTS ? [`and ${all.length - MOST_OUTPUTS} more`] : [])].join(" ");
}

function shortValues(outputs: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(outputs).flatMap(([key, value]) => {
    if (typeof value === "number") return [`${key}=${metricValue(value, null)}`];
    if (typeof value === "boolean" || (typeof value === "string" && value.length <= 24)) return [`${key}=${harmless(String(value))}`];
    return value !== null && typeof value === "object" && !Array.isArray(value) ? shortValues(value as Record<string, unknown>) : [];
  });
}

/** The stages that fit, in their order; what is finished or not yet ready gives way to what moves. */
function choose(stages: readonly StageView[], room: number): StageView[] {
  if (stages.length <= room) return [...stages];
  const rank = ({ status }: StageView) => LEAST_INTERESTING.length - 1 - LEAST_INTERESTING.indexOf(status);
  const ranked = stages.map((stage, index) => ({ stage, index, rank: LEAST_INTERESTING.includes(stage.status) ? rank(stage) + 1 : LEAST_INTERESTING.length + 1 }));
  return ranked.sort((a, b) => b.rank - a.rank || a.index - b.index).slice(0, room - 1).sort((a, b) => a.index - b.index).map(({ stage }) => stage);
}
