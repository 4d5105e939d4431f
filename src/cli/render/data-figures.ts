// Statistics of a data set, and how those of two differ, as tables.
import type { CategoryShift, ColumnChange, DatasetDiff, LengthShift } from "../../domain/data/dataset-diff.js";
import type { DatasetStatistics, Distribution } from "../../domain/data/dataset.js";
import type { Style } from "../style.js";
import { describeRow, type RowLimits } from "./data-rows.js";
import { shareOf } from "./dataset-page.js";
import { count } from "./quantities.js";
import { renderTable } from "./table.js";
import { harmless } from "./text-width.js";

const PERCENTILES = ["min", "p5", "p25", "p50", "p75", "p95", "p99", "max", "mean"] as const;
/** Values of a category that are listed. */
const VALUES_SHOWN = 12;
const right = (title: string) => ({ title, align: "right" as const });

/** Percentiles per role or column, turns and tokens, then the counted values. */
export function describeStatistics(statistics: DatasetStatistics, style: Style, width: number | null): string[] {
  const line = (name: string, what: string, { count: rows, ...figures }: Distribution) => [harmless(name), what, count(rows), ...PERCENTILES.map((name) => figure(figures[name]))];
  const { turns, tokens } = statistics;
  const rows = [
    ...Object.entries(statistics.characters).map(([name, distribution]) => line(name, "characters", distribution)),
    ...(turns === null ? [] : [line("turns", "messages", turns)]),
    ...(tokens === null ? [] : [line("tokens", tokens.by === "tokenizer" ? "counted" : "estimated", tokens.distribution)]),
  ];
  return [
    ...renderTable([{ title: "PER ROW" }, { title: "IN" }, right("ROWS"), ...PERCENTILES.map((name) => right(name.toUpperCase()))], rows, style, width),
    ...(tokens === null ? [] : ["", `${count(tokens.total)} tokens in all, ${tokens.by === "tokenizer" ? "counted by the tokenizer that the stage was given" : "estimated from characters; a preprocess stage with a tokenizer counts them"}`]),
    ...Object.entries(statistics.categories).flatMap(([column, values]) => ["", style.bold(harmless(column)), ...valueLines(values, statistics.rows, style)]),
  ];
}

function valueLines(values: Readonly<Record<string, number>>, rows: number, style: Style): string[] {
  const entries = Object.entries(values).sort((a, b) => b[1] - a[1]);
  const shown = entries.slice(0, VALUES_SHOWN).map(([value, number]) => [harmless(value), count(number), shareOf(number, rows)]);
  return [
    ...renderTable([{ title: "VALUE" }, right("ROWS"), right("SHARE")], shown, style, null).slice(1).map((line) => `  ${line}`),
    ...(entries.length > VALUES_SHOWN ? [style.dim(`  … and ${entries.length - VALUES_SHOWN} more values`)] : []),
  ];
}

/** What changed, most general first: rows, columns, lengths, categories, then some rows themselves. */
export function describeDiff(diff: DatasetDiff, names: { readonly from: string; readonly to: string }, style: Style, { width, limits }: { width: number | null; limits: RowLimits }): string[] {
  const section = (title: string, lines: readonly string[]) => (lines.length === 0 ? [] : ["", style.bold(title), ...lines.map((line) => `  ${line}`)]);
  const inner = width === null ? null : width - 2;
  const head = `${style.bold(harmless(names.from))} → ${style.bold(harmless(names.to))}`;
  if (diff.sameContent) return [head, "the same content, byte for byte"];
  const shifts = diff.categories.filter(({ distance }) => distance > 0);
  const steady = diff.categories.filter(({ distance }) => distance === 0).map(({ column }) => column);
  const rows = (title: string, total: number, examples: DatasetDiff["added"]) => (examples.length === 0 ? [] : ["", style.bold(`${title}${examples.length < total ? ` (${examples.length} of ${count(total)})` : ""}`), ...examples.flatMap(({ row, value }) => describeRow(row, value, style, limits)).map((line) => `  ${line}`.trimEnd())]);
  return [
    head,
    `${style.green(`+${count(diff.rowsAdded)}`)} rows added, ${style.red(`−${count(diff.rowsRemoved)}`)} removed, ${count(diff.rowsSame)} the same${diff.rowsAdded + diff.rowsRemoved === 0 ? ": only order or form differ" : ""}`,
    ...section("columns", diff.columns.map((column) => columnLine(column, style))),
    ...section("lengths", diff.lengths.length === 0 ? [] : lengthTable(diff.lengths, style, inner)),
    ...section("categories", [...shifts.flatMap((shift) => categoryLines(shift, style)), ...(steady.length === 0 ? [] : [style.dim(`unchanged: ${harmless(steady.join(", "))}`)])]),
    ...rows("rows added", diff.rowsAdded, diff.added),
    ...rows("rows removed", diff.rowsRemoved, diff.removed),
  ];
}

function columnLine({ name, change, from, to }: ColumnChange, style: Style): string {
  switch (change) {
    case "ADDED": return `${style.green("+")} ${harmless(`${name}: ${to!.type}`)}`;
    case "REMOVED": return `${style.red("−")} ${harmless(`${name}: ${from!.type}`)}`;
    case "TYPE": return `${style.yellow("~")} ${harmless(`${name}: ${from!.type} → ${to!.type}`)}`;
    case "NULLS": return `${style.yellow("~")} ${harmless(name)}: null in ${count(from!.nullCount)} → ${count(to!.nullCount)} rows`;
  }
}

function lengthTable(lengths: readonly LengthShift[], style: Style, width: number | null): string[] {
  const pair = (shift: LengthShift, name: "p5" | "p50" | "p95" | "max" | "mean") => {
    const [before, after] = [shift.from?.[name] ?? null, shift.to?.[name] ?? null];
    return before === after ? figure(before) : `${figure(before)} → ${figure(after)}`;
  };
  const change = ({ from, to }: LengthShift) => (from === null || to === null || from.mean === to.mean ? "" : from.mean === 0 ? "+" : `${to.mean > from.mean ? "+" : "−"}${shareOf(Math.abs(to.mean - from.mean), from.mean)}`);
  return renderTable(["PER ROW", "P5", "P50", "P95", "MAX", "MEAN", "MEAN BY"].map((title, index) => (index === 0 ? { title } : right(title))),
    lengths.map((shift) => [harmless(shift.name === null ? (shift.kind === "TURNS" ? "turns" : "tokens (estimated)") : shift.name), pair(shift, "p5"), pair(shift, "p50"), pair(shift, "p95"), pair(shift, "max"), pair(shift, "mean"), change(shift)]), style, width);
}

function categoryLines({ column, from, to, distance }: CategoryShift, style: Style): string[] {
  const total = (values: Readonly<Record<string, number>>) => Object.values(values).reduce((sum, number) => sum + number, 0);
  const [before, after] = [total(from), total(to)];
  const at = (values: Readonly<Record<string, number>>, value: string) => (Object.hasOwn(values, value) ? values[value]! : 0);
  const share = (values: Readonly<Record<string, number>>, value: string, all: number) => (all === 0 ? 0 : at(values, value) / all);
  const values = [...new Set([...Object.keys(from), ...Object.keys(to)])].map((value) => ({ value, moved: Math.abs(share(to, value, after) - share(from, value, before)) })).filter(({ moved }) => moved > 0).sort((a, b) => b.moved - a.moved);
  return [
    `${harmless(column)}  ${style.dim(`${shareOf(distance, 1)} moved`)}`,
    ...values.slice(0, VALUES_SHOWN).map(({ value }) => `  ${harmless(value)}  ${shareOf(at(from, value), before)} → ${shareOf(at(to, value), after)}  ${style.dim(`${count(at(from, value))} → ${count(at(to, value))} rows`)}`),
    ...(values.length > VALUES_SHOWN ? [style.dim(`  … and ${values.length - VALUES_SHOWN} more values`)] : []),
  ];
}

function figure(value: number | null): string {
  return value === null ? "–" : Number.isInteger(value) ? count(value) : value >= 100 ? count(Math.round(value)) : value.toFixed(1);
}
