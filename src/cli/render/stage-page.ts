// A stage on one page, for `show`.
import { statusStyle, type Style } from "../style.js";
import { bytes, count, duration, elapsed, metricValue, progressInWords } from "./quantities.js";
import { anomalyLine, type ShownAnomaly } from "./anomaly-lines.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

export const STAGE_FIELDS = `id name kind status simulated queue priority dependsOn params outputs reason waitReasons startedAt finishedAt
  pipeline { id name }
  error { code message hint exitCode logTail }
  progress { step totalSteps etaSeconds }
  attempts { id number status agent { name } command startedAt finishedAt error { code message } }
  metrics(maxPoints: 1) { name points { step value nonFinite } }
  checkpoints { id step path host sizeBytes isBest isPinned deletedAt }
  evaluations { id datasetName scores sampleCount simulated }
  trainingJob { id anomalies { id kind severity step message suggestion action would createdAt } }`;

export interface ShownStage {
  readonly id: string; readonly name: string; readonly kind: string; readonly status: string; readonly simulated: boolean; readonly queue: string; readonly priority: number; readonly dependsOn: readonly string[];
  readonly params: unknown; readonly outputs: Readonly<Record<string, unknown>> | null; readonly reason: string | null; readonly waitReasons: readonly string[];
  readonly startedAt: string | null; readonly finishedAt: string | null;
  readonly pipeline: { readonly id: string; readonly name: string };
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | null; readonly exitCode: number | null; readonly logTail: readonly string[] } | null;
  readonly progress: { readonly step: number; readonly totalSteps: number | null; readonly etaSeconds: number | null } | null;
  readonly attempts: readonly { readonly id: string; readonly number: number; readonly status: string; readonly agent: { readonly name: string } | null; readonly command: readonly string[] | null; readonly startedAt: string | null; readonly finishedAt: string | null; readonly error: { readonly code: string; readonly message: string } | null }[];
  readonly metrics: readonly { readonly name: string; readonly points: readonly { readonly step: number; readonly value: number | null; readonly nonFinite: string | null }[] }[];
  readonly checkpoints: readonly { readonly id: string; readonly step: number; readonly path: string; readonly host: string; readonly sizeBytes: number | null; readonly isBest: boolean; readonly isPinned: boolean; readonly deletedAt: string | null }[];
  readonly trainingJob: { readonly id: string; readonly anomalies: readonly (ShownAnomaly & { readonly suggestion: string })[] } | null;
  readonly evaluations: readonly { readonly datasetName: string | null; readonly scores: Readonly<Record<string, unknown>>; readonly sampleCount: number; readonly simulated: boolean }[];
}

const MOST_ANOMALIES = 10;

export function describeStage(stage: ShownStage, style: Style, now: number): string[] {
  const section = (title: string, lines: readonly string[]) => (lines.length === 0 ? [] : ["", style.bold(title), ...lines.map((line) => `  ${line}`)]);
  const { progress } = stage;
  return [
    `${style.bold(harmless(`${stage.pipeline.name} / ${stage.name}`))}  ${style.dim(stage.id)}  ${statusStyle(style, stage.status)(stage.status)}  ${elapsed(stage.startedAt, stage.finishedAt, now)}`,
    style.dim(`${stage.kind.toLowerCase()} in queue ${stage.queue}${stage.priority === 0 ? "" : `, priority ${stage.priority}`}${stage.dependsOn.length === 0 ? "" : `, after ${stage.dependsOn.join(", ")}`}`),
    ...(stage.simulated ? [style.yellow(stage.kind === "TRAIN" ? "simulated: a stand-in runs that trains nothing" : "simulated: its results are made up, by a stand-in or of what one left")] : []),
    ...(stage.reason === null ? [] : [harmless(stage.reason)]),
    ...(progress === null ? [] : [`${progressInWords(stage.kind, progress)}${progress.etaSeconds === null || stage.status !== "RUNNING" ? "" : `, ${duration(progress.etaSeconds * 1000)} to go`}`]),
    ...(stage.error === null ? [] : ["", style.red(`${stage.error.code}: ${harmless(stage.error.message)}`), ...(stage.error.hint === null ? [] : [harmless(stage.error.hint)]), ...newestLast(stage.error.logTail, 20, style)]),
    ...section("anomalies", (stage.trainingJob?.anomalies ?? []).slice(-MOST_ANOMALIES).flatMap((anomaly) => [anomalyLine(anomaly, style), style.dim(`  ${harmless(anomaly.suggestion)}`)])),
    ...section("waits", stage.waitReasons.map(harmless)),
    ...section("attempts", stage.attempts.length === 0 ? [] : renderTable(["TRY", "STATUS", "AGENT", "TIME", ""].map((title) => ({ title })), stage.attempts.map((attempt) => [
      String(attempt.number), statusStyle(style, attempt.status)(attempt.status), harmless(attempt.agent?.name ?? ""), elapsed(attempt.startedAt, attempt.finishedAt, now),
      harmless(attempt.error === null ? "" : `${attempt.error.code}: ${attempt.error.message}`),
    ]), style, null)),
    ...section("command", stage.attempts.at(-1)?.command == null ? [] : asShellWords(stage.attempts.at(-1)!.command!).split("\n").map(harmless)),
    ...section("outputs", Object.entries(stage.outputs ?? {}).map(([key, value]) => `${harmless(key)}  ${harmless(JSON.stringify(value))}`)),
    ...section("scores", stage.evaluations.flatMap(({ scores, sampleCount, datasetName, simulated }) => [`${simulated ? "simulated, " : ""}${datasetName ?? "data"}${sampleCount === 0 ? "" : `, ${count(sampleCount)} samples`}: ${Object.entries(scores).map(([name, value]) => `${name} ${typeof value === "number" ? metricValue(value, null) : String(value)}`).join(", ")}`].map(harmless))),
    ...section("newest metrics", stage.metrics.flatMap(({ name, points }) => points.slice(-1).map((point) => `${harmless(name)}  ${metricValue(point.value, point.nonFinite)}  ${style.dim(`step ${count(point.step)}`)}`))),
    ...section("checkpoints", stage.checkpoints.map((checkpoint) => `step ${count(checkpoint.step)}  ${style.dim(checkpoint.id)}  ${checkpoint.sizeBytes === null ? "" : bytes(checkpoint.sizeBytes)}${stage.simulated ? `  ${style.yellow("simulated")}` : ""}${checkpoint.isBest ? `  ${style.green("best")}` : ""}${checkpoint.isPinned ? "  pinned" : ""}${checkpoint.deletedAt === null ? "" : style.dim("  deleted")}`)),
  ];
}

/** The last lines of a log, as a quotation. */
export function newestLast(lines: readonly string[], most: number, style: Style): string[] {
  return lines.slice(-most).map((line) => style.dim(`  | ${harmless(line)}`));
}

/** An argv as one could type it. */
function asShellWords(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
