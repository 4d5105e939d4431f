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
  let over = widths.reduce((sum, part) => sum + part, 2 * (widths.length - 1)) - width;
  for (; over > 0; over--) {
    const widest = Math.max(...widths);
    if (widest <= 8) return;
    widths[widths.indexOf(widest)] = widest - 1;
  }
}
