// Reads captures of real nvidia-smi output and turns them into what the agent's own questions would have been answered with, by rule and never by hand:
// columns are found by name and put in our order, `noheader` drops the header and `nounits` the unit that the header names.

import { readFileSync } from "node:fs";

export const GPU_COLUMNS = ["index", "uuid", "name", "memory.total", "memory.used", "utilization.gpu"];
export const PROCESS_COLUMNS = ["pid", "gpu_uuid"];

interface Section { readonly title: string; readonly columns: readonly string[]; readonly rows: readonly (readonly string[])[] }

export function readCapture(name: string): string {
  return readFileSync(new URL(`captures/${name}`, import.meta.url), "utf8");
}

/** Sections of a .txt capture: `## title`, `## $ command`, then the command's output. */
export function sections(name: string): Section[] {
  return readCapture(name).split(/^## (?!\$)/m).slice(1).map((part) => {
    const [title, command, ...output] = part.trimEnd().split("\n");
    const asked = /--query-[a-z-]+=(\S+)/.exec(command!)![1]!.split(",");
    const given = command!.includes("noheader") ? asked : output.shift()!.split(", ");
    return { title: title!, columns: given.map((column) => column.replace(/ \[.*\]$/, "")), rows: output.map((line) => line.split(", ").map((field, i) => withoutUnit(field, given[i]!))) };
  });
}

/** The section's rows with these columns only, as `--format=csv,noheader,nounits` prints them. A column that the capture lacks reads `absent`, given for those known to be missing. */
export function csv({ columns, rows, title }: Section, wanted: readonly string[], absent: Readonly<Record<string, string | ((row: number) => string)>> = {}): string {
  return rows.map((fields, row) => wanted.map((column) => {
    const at = columns.indexOf(column);
    const instead = absent[column];
    if (at >= 0) return fields[at]!;
    if (instead === undefined) throw new Error(`${title} has no column ${column}`);
    return typeof instead === "string" ? instead : instead(row);
  }).join(", ") + "\n").join("");
}

function withoutUnit(field: string, header: string): string {
  const unit = / \[(.*)\]$/.exec(header)?.[1];
  return unit !== undefined && field.endsWith(` ${unit}`) ? field.slice(0, -unit.length - 1) : field;
}

/**
 * The two answers to our questions from `nvidia-smi -q -x`: GPUs in their order (which the index counts), product_name, fb_memory_usage, utilization/gpu_util; processes of type C are the compute apps.
 * In CSV a value that the XML gives as N/A stands in brackets.
 */
export function fromXml(xml: string): { gpus: string; processes: string } {
  const gpus = [...xml.matchAll(/<gpu id=[\s\S]*?<\/gpu>/g)].map(([gpu]) => gpu);
  const value = (gpu: string, path: RegExp): string => path.exec(gpu)![1]!.replace(/ (MiB|%)$/, "").replace(/^N\/A$/, "[N/A]");
  const uuidOf = (gpu: string): string => value(gpu, /<uuid>(.*?)<\/uuid>/);
  return {
    gpus: gpus.map((gpu, index) => [index, uuidOf(gpu), value(gpu, /<product_name>(.*?)<\/product_name>/), value(gpu, /<fb_memory_usage>\s*<total>(.*?)<\/total>/),
      value(gpu, /<fb_memory_usage>[\s\S]*?<used>(.*?)<\/used>/), value(gpu, /<gpu_util>(.*?)<\/gpu_util>/)].join(", ") + "\n").join(""),
    processes: gpus.flatMap((gpu) => [...gpu.matchAll(/<pid>(\d+)<\/pid>\s*<type>C<\/type>/g)].map(([, pid]) => `${pid}, ${uuidOf(gpu)}\n`)).join(""),
  };
}
