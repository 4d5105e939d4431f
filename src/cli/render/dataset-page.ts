// A data set on one page, for `data show` and `data add`.
import type { ColumnAnswer, DatasetAnswer } from "../api/datasets.js";
import { refOf } from "../api/datasets.js";
import type { Style } from "../style.js";
import { bytes, count, shortDuration } from "./quantities.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

export interface StageAnswer { readonly id: string; readonly name: string; readonly pipeline: { readonly id: string; readonly name: string }; readonly datasetsRead?: readonly Named[]; readonly datasetsMade?: readonly Named[] }
interface Named { readonly name: string; readonly version: number }

export interface ShownDataset extends DatasetAnswer {
  readonly columns: readonly ColumnAnswer[];
  readonly files: readonly { readonly host: string; readonly path: string; readonly seenAt: string }[];
  readonly madeBy: StageAnswer | null;
  readonly readBy: readonly StageAnswer[];
  readonly versions: readonly { readonly version: number; readonly rows: number; readonly sizeBytes: number; readonly createdAt: string }[];
}

export const SHOWN_FIELDS = `columns { name type nullCount } files { host path seenAt }
  madeBy { id name pipeline { id name } datasetsRead { name version } } readBy { id name pipeline { id name } datasetsMade { name version } }
  versions { version rows sizeBytes createdAt }`;

/** What it is and what it serves: the head of every page about it. */
export function describeFacts(dataset: DatasetAnswer, style: Style, now: number): string[] {
  const unreadable = dataset.unreadableRows === 0 ? "" : `, ${style.yellow(`${count(dataset.unreadableRows)} of them unreadable`)}`;
  return [
    `${style.bold(harmless(refOf(dataset)))}  ${style.dim(dataset.id)}`,
    `${count(dataset.rows)} rows${unreadable}, ${bytes(dataset.sizeBytes)}, ${dataset.format}`,
    dataset.suitableFor.length === 0 ? "raw: a preprocess stage makes it ready for training" : `ready for ${dataset.tasks.map((task) => task.toLowerCase()).join(", ")} (${dataset.suitableFor.map((one) => one.toLowerCase()).join(", ")})`,
    style.dim(`registered ${shortDuration(now - Date.parse(dataset.createdAt))} ago by ${harmless(dataset.createdBy)}, sha256 ${dataset.contentHash}`),
  ];
}

export function describeDataset(dataset: ShownDataset, style: Style, { now, width }: { now: number; width: number | null }): string[] {
  const section = (title: string, lines: readonly string[]) => (lines.length === 0 ? [] : ["", style.bold(title), ...lines.map((line) => `  ${line}`)]);
  const inner = width === null ? null : width - 2;
  const readable = dataset.rows - dataset.unreadableRows;
  const nulls = (column: ColumnAnswer) => (column.nullCount === 0 ? "0" : `${count(column.nullCount)} (${shareOf(column.nullCount, readable)})`);
  return [
    ...describeFacts(dataset, style, now),
    ...section("columns", dataset.columns.length === 0 ? [] : renderTable([{ title: "COLUMN" }, { title: "NULLS", align: "right" }, { title: "TYPE" }], dataset.columns.map((column) => [harmless(column.name), nulls(column), harmless(column.type)]), style, inner)),
    ...section("lies at", dataset.files.map(({ host, path, seenAt }) => `${harmless(host)}:${harmless(path)}  ${style.dim(`seen ${shortDuration(now - Date.parse(seenAt))} ago`)}`)),
    ...section("made by", dataset.madeBy === null ? [] : [lineage(dataset.madeBy, "from", dataset.madeBy.datasetsRead ?? [], style)]),
    ...section("read by", dataset.readBy.map((stage) => lineage(stage, "which made", stage.datasetsMade ?? [], style))),
    ...section("versions", dataset.versions.length < 2 ? [] : dataset.versions.map(({ version, rows, sizeBytes, createdAt }) => `@${version}  ${count(rows)} rows, ${bytes(sizeBytes)}, ${shortDuration(now - Date.parse(createdAt))} ago${version === dataset.version ? style.dim("  ← this one") : ""}`)),
  ];
}

function lineage(stage: StageAnswer, word: string, others: readonly Named[], style: Style): string {
  return `${harmless(`${stage.pipeline.name} / ${stage.name}`)}  ${style.dim(stage.id)}${others.length === 0 ? "" : `  ${word} ${harmless(others.map(refOf).join(", "))}`}`;
}

/** A share in percent, never "0 %" of something. */
export function shareOf(part: number, whole: number): string {
  if (whole === 0 || part === 0) return "0 %";
  const percent = part / whole * 100;
  return percent < 0.1 ? "<0.1 %" : `${percent < 10 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}
