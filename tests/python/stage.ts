// A preprocess stage over rows in memory: files written as people have them, the product's own files back.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { inputsOf, preprocessParamsSchema, type PreprocessParams } from "../../src/domain/data/preprocess-params.js";
import { preprocess, type PreprocessResult } from "../../src/data/preprocess.js";
import { formatOf } from "../../src/data/read/format.js";

export interface Stage { readonly train: string; readonly validation: string; readonly result: PreprocessResult }

/** Files by name: .jsonl, .json or .csv, each also .gz. */
export function writeInput(folder: string, name: string, rows: readonly Record<string, unknown>[]): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, name);
  const text = name.includes(".csv") ? asCsv(rows) : name.includes(".jsonl") ? rows.map((row) => `${JSON.stringify(row)}\n`).join("") : JSON.stringify(rows, null, 1);
  writeFileSync(path, name.endsWith(".gz") ? gzipSync(text) : text);
  return path;
}

function asCsv(rows: readonly Record<string, unknown>[]): string {
  const names = Object.keys(rows[0]!);
  const line = (cells: readonly unknown[]) => `${cells.map((cell) => `"${String(cell).replaceAll("\"", "\"\"")}"`).join(",")}\r\n`;
  return `\uFEFF${line(names)}${rows.map((row) => line(names.map((name) => row[name]))).join("")}`;
}

/** Runs the stage over all inputs, with a validation side. */
export async function runStage(folder: string, paths: readonly string[], given: Omit<Partial<PreprocessParams>, "input"> & Pick<PreprocessParams, "task">, tokenizer: string | null = null): Promise<Stage> {
  const params = preprocessParamsSchema.parse({ split: { validation: 0.2 }, ...given, input: paths });
  const specs = inputsOf(params);
  const inputs = paths.map((path, index) => {
    const format = formatOf(path)!;
    return { path, name: `input-${index}`, spec: specs[index]!, ...format };
  });
  const result = await preprocess({ params, inputs, tokenizer, outputDir: folder, datasetName: "proof" }, { signal: new AbortController().signal, onProgress: () => undefined });
  const file = (role: string) => result.files.find((one) => one.role === role)!.path;
  return { train: file("train"), validation: file("validation"), result };
}
