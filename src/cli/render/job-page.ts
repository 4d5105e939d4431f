// A training job on one page, for `job show`.
import { algorithmOf, JOB_FIELDS, type JobAnswer } from "../api/jobs.js";
import { statusStyle, type Style } from "../style.js";
import { anomalyLine } from "./anomaly-lines.js";
import { bytes, count, duration, elapsed, metricValue, progressInWords } from "./quantities.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

export const SHOWN_JOB_FIELDS = `${JOB_FIELDS} modelResolved
  stage { error { code message hint } attempts { number status agent { name } diagnosis { cause suggestion evidence } } }
  metrics(maxPoints: 1) { name points { step value nonFinite } }
  checkpoints { id step sizeBytes isBest isPinned deletedAt }
  evaluations { datasetName scores sampleCount simulated }
  sampleSets { source step kept leftOut }
  memoryEstimate { bytesPerGpu error gpus gpuBytes parts { name bytesPerGpu how } }`;

export interface ShownJob extends JobAnswer {
  readonly modelResolved: string | null;
  readonly stage: JobAnswer["stage"] & {
    readonly error: { readonly code: string; readonly message: string; readonly hint: string | null } | null;
    readonly attempts: readonly { readonly number: number; readonly status: string; readonly agent: { readonly name: string } | null; readonly diagnosis: { readonly cause: string; readonly suggestion: string; readonly evidence: readonly string[] } | null }[];
  };
  readonly metrics: readonly { readonly name: string; readonly points: readonly { readonly step: number; readonly value: number | null; readonly nonFinite: string | null }[] }[];
  readonly checkpoints: readonly { readonly id: string; readonly step: number; readonly sizeBytes: number | null; readonly isBest: boolean; readonly isPinned: boolean; readonly deletedAt: string | null }[];
  readonly evaluations: readonly { readonly datasetName: string | null; readonly scores: Readonly<Record<string, unknown>>; readonly sampleCount: number; readonly simulated: boolean }[];
  readonly sampleSets: readonly { readonly source: string; readonly step: number | null; readonly kept: number; readonly leftOut: number }[];
  readonly memoryEstimate: { readonly bytesPerGpu: number; readonly error: number; readonly gpus: number; readonly gpuBytes: number | null; readonly parts: readonly { readonly name: string; readonly bytesPerGpu: number; readonly how: string }[] } | null;
}

/** Anomalies and metrics shown at most. */
const MOST_ANOMALIES = 10;

export function describeJob(job: ShownJob, style: Style, now: number): string[] {
  const section = (title: string, lines: readonly string[]) => (lines.length === 0 ? [] : ["", style.bold(title), ...lines.map((line) => `  ${line}`)]);
  const { progress, error } = job.stage;
  const model = job.modelResolved !== null && job.modelResolved !== job.model ? `${job.modelResolved} (${job.model})` : job.model;
  const diagnosis = job.stage.attempts.at(-1)?.diagnosis ?? null;
  const there = job.checkpoints.filter(({ deletedAt }) => deletedAt === null);
  return [
    `${style.bold(harmless(`${job.pipeline.name} / ${job.stage.name}`))}  ${style.dim(job.id)}  ${statusStyle(style, job.status)(job.status)}  ${elapsed(job.stage.startedAt, job.stage.finishedAt, now)}`,
    `${algorithmOf({ ...job, simulated: false })} of ${harmless(model)}`,
    ...(job.simulated ? [style.yellow("simulated: a stand-in runs that trains nothing; metrics, checkpoints and samples are made up")] : []),
    ...(progress === null ? [] : [`${progressInWords("TRAIN", progress)}${progress.etaSeconds === null || job.status !== "RUNNING" ? "" : `, ${duration(progress.etaSeconds * 1000)} to go`}`]),
    ...(error === null ? [] : ["", style.red(`${error.code}: ${harmless(error.message)}`), ...(error.hint === null ? [] : [harmless(error.hint)])]),
    ...section("diagnosis", diagnosis === null ? [] : [`${diagnosis.cause}: ${harmless(diagnosis.suggestion)}`, ...diagnosis.evidence.map((line) => style.dim(`| ${harmless(line)}`))]),
    ...section("anomalies", job.anomalies.slice(-MOST_ANOMALIES).flatMap((anomaly) => [anomalyLine(anomaly, style), style.dim(`  ${harmless(anomaly.suggestion)}`)])),
    ...section("checkpoints", there.map((checkpoint) => `step ${count(checkpoint.step)}  ${style.dim(checkpoint.id)}${checkpoint.sizeBytes === null ? "" : `  ${bytes(checkpoint.sizeBytes)}`}${job.simulated ? `  ${style.yellow("simulated")}` : ""}${checkpoint.isBest ? `  ${style.green("best")}` : ""}${checkpoint.isPinned ? "  pinned" : ""}`)),
    ...section("scores", job.evaluations.map(({ scores, sampleCount, datasetName, simulated }) => harmless(`${simulated ? "simulated, " : ""}${datasetName ?? "data"}${sampleCount === 0 ? "" : `, ${count(sampleCount)} samples`}: ${Object.entries(scores).map(([name, value]) => `${name} ${typeof value === "number" ? metricValue(value, null) : String(value)}`).join(", ")}`))),
    ...section("samples", sampleLines(job)),
    ...section("memory per GPU", memoryLines(job, style)),
    ...section("newest metrics", job.metrics.flatMap(({ name, points }) => points.slice(-1).map((point) => `${harmless(name)}  ${metricValue(point.value, point.nonFinite)}  ${style.dim(`step ${count(point.step)}`)}`))),
  ];
}

function sampleLines({ sampleSets }: ShownJob): string[] {
  const kept = sampleSets.reduce((sum, set) => sum + set.kept, 0), leftOut = sampleSets.reduce((sum, set) => sum + set.leftOut, 0);
  return kept === 0 ? [] : [`${count(kept)} of ${count(sampleSets.length)} step${sampleSets.length === 1 ? "" : "s"} kept${leftOut === 0 ? "" : `, ${count(leftOut)} left out`}`];
}

function memoryLines({ memoryEstimate: estimate }: ShownJob, style: Style): string[] {
  if (estimate === null) return [];
  const parts = [...estimate.parts].sort((a, b) => b.bytesPerGpu - a.bytesPerGpu);
  const over = estimate.gpuBytes !== null && estimate.bytesPerGpu > estimate.gpuBytes;
  const room = estimate.gpuBytes === null ? "" : `; the largest GPU known here has ${bytes(estimate.gpuBytes)}`;
  return [
    (over ? style.yellow : (text: string) => text)(`about ${bytes(estimate.bytesPerGpu)}, ± ${Math.round(estimate.error * 100)} %, on each of ${count(estimate.gpus)}${room}`),
    ...renderTable([{ title: "PART" }, { title: "SIZE", align: "right" }, { title: "HOW" }], parts.map((part) => [part.name, bytes(Math.round(part.bytesPerGpu)), part.how]), style, null),
  ];
}
