// A plain table: a header and rows, columns two spaces apart, the last one never filled up.
import type { Style } from "../style.js";
import { cut, fill, widthOf } from "./text-width.js";

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** Lines without line ends. `width` columns at most where it is given: the widest column gives way first, but none below eight. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[], style: Style, width: number | null): string[] {
  const widths = columns.map((column, index) => Math.max(widthOf(column.title), ...rows.map((row) => widthOf(row[index] ?? ""))));
  if (width !== null) shrink(widths, width);
  const line = (cells: readonly string[]) =>
    cells.map((cell, index) => {
      const text = cut(cell, widths[index]!);
      return index === cells.length - 1 && columns[index]!.align !== "right" ? text : fill(text, widths[index]!, columns[index]!.align === "right" ? "right" : "left");
    }).join("  ");
  return [style.dim(line(columns.map((column) => column.title))), ...rows.map((row) => line(columns.map((_, index) => row[index] ?? "")))];
}

function shrink(widths: number[], width: number): void {
  const gaps = 2 * (widths.length - 1);
  for (;;) {
    const over = widths.reduce((sum, part) => sum + part, gaps) - width;
    const widest = Math.max(...widths);
    if (over <= 0 || widest <= 8) return;
    const second = Math.max(8, ...widths.filter((part) => part < widest));
    widths[widths.indexOf(widest)] = Math.max(second, widest - over, 8) === widest ? widest - 1 : Math.max(second, widest - over);
  }
}
