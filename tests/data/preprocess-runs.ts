// Runs of the preprocess engine over real files, for tests.

import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { inject } from "vitest";
import { inputsOf, preprocessParamsSchema } from "../../src/domain/data/preprocess-params.js";
import { manifestSchema, type Manifest } from "../../src/data/manifest.js";
import { preprocess, type PreprocessRequest, type PreprocessResult } from "../../src/data/preprocess.js";
import { formatOf } from "../../src/data/read/format.js";

export type Row = Record<string, unknown>;

/** File name → what it holds: its text, or rows that are written as the ending says. */
export type InputFiles = Record<string, string | readonly Row[]>;

export interface FinishedRun {
  readonly result: PreprocessResult;
  readonly output: string;
  readonly manifest: Manifest;
  readonly train: Row[];
  readonly validation: Row[];
  readonly rejects: Row[];
}

export function newFolder(): string {
  return mkdtempSync(join(inject("runFolder"), "data-"));
}

/** Writes the files and says what to do with them. Without `input` in the params, each file is an input of its own, in order. */
export function requestFor(files: InputFiles, params: Row, outputDir = join(newFolder(), "output")): PreprocessRequest {
  const folder = newFolder();
  const names = Object.keys(files);
  for (const name of names) writeFileSync(join(folder, name), bytesOf(name, files[name]!));
  const { inputs: extras = {}, ...rest } = params as { inputs?: Record<string, Row> };
  const parsed = preprocessParamsSchema.parse({ input: names.map((name) => ({ path: name, ...extras[name] })), ...rest });
  const specs = inputsOf(parsed);
  const inputs = names.map((name, index) => ({ path: join(folder, name), name, spec: specs[index] ?? specs[0]!, ...formatOf(name)! }));
  return { params: parsed, inputs, tokenizer: null, outputDir, datasetName: "tests/prepare" };
}

export async function run(files: InputFiles, params: Row, options: { spillBytes?: number } = {}): Promise<FinishedRun> {
  const request = requestFor(files, params);
  return finished(request, await preprocess(request, { signal: new AbortController().signal, onProgress: () => undefined, ...options }));
}

/** What a run left on disk, read by other means than those it was written with where there are any. */
export async function finished(request: PreprocessRequest, result: PreprocessResult): Promise<FinishedRun> {
  const pathOf = (role: string) => result.files.find((file) => file.role === role)?.path;
  const manifest = manifestSchema.parse(JSON.parse(readFileSync(result.manifestFile, "utf8")));
  return { result, output: request.outputDir, manifest, train: await rowsOf(pathOf("train")), validation: await rowsOf(pathOf("validation")), rejects: linesOf(result.rejectsFile) };
}

export function linesOf(path: string): Row[] {
  return readFileSync(path, "utf8").split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as Row);
}

async function rowsOf(path: string | undefined): Promise<Row[]> {
  return path === undefined ? [] : parquetReadObjects({ file: await asyncBufferFromFile(path) });
}

export function jsonLines(rows: readonly Row[]): string {
  return rows.map((row) => `${JSON.stringify(row)}\n`).join("");
}

function bytesOf(name: string, content: string | readonly Row[]): Uint8Array {
  const { format, gzip } = formatOf(name)!;
  const bytes = typeof content === "string" ? Buffer.from(content) : format === "parquet" ? parquetOf(content) : Buffer.from(textOf(format, content));
  return gzip ? gzipSync(bytes) : bytes;
}

function textOf(format: string, rows: readonly Row[]): string {
  if (format === "jsonl") return jsonLines(rows);
  if (format === "json") return JSON.stringify(rows, null, 1);
  const separator = format === "csv" ? "," : "\t";
  const names = Object.keys(rows[0]!);
  const cell = (value: unknown) => `"${(textIn(value) ?? "").replaceAll('"', '""')}"`;
  return `${names.join(separator)}\n${rows.map((row) => `${names.map((name) => cell(row[name])).join(separator)}\n`).join("")}`;
}

function parquetOf(rows: readonly Row[]): Uint8Array {
  const names = Object.keys(rows[0]!);
  return new Uint8Array(parquetWriteBuffer({ columnData: names.map((name) => ({ name, data: rows.map((row) => textIn(row[name])), type: "STRING" as const })) }));
}

/** What a cell holds: text as such, everything else as JSON. */
function textIn(value: unknown): string | null {
  return value == null ? null : typeof value === "string" ? value : JSON.stringify(value);
}

const THINGS = ["apples", "pencils", "stamps", "marbles", "tickets", "books", "cookies", "shells"];
const PEOPLE = ["Ada", "Bo", "Chen", "Dina", "Emeka", "Fatima", "Goran", "Hana"];

/** Arithmetic in words as GSM8K has it: a worked answer that ends with the number after ####. */
export function sums(count: number, from = 0): { question: string; answer: string }[] {
  return Array.from({ length: count }, (_, index) => {
    const number = index + from;
    const [has, gets] = [number * 37 + 1_200, number + 3];
    const [who, what] = [PEOPLE[number % 8]!, THINGS[Math.floor(number / 8) % 8]!];
    return {
      question: `${who} has ${has} ${what} and gets ${gets} more on day ${number}. How many ${what} does ${who} have now?`,
      answer: `${who} has ${has}+${gets} = <<${has}+${gets}=${has + gets}>>${has + gets} ${what}.\n#### ${(has + gets).toLocaleString("en-US")}`,
    };
  });
}

/** The number after #### without separators, as RL wants it. */
export function truthOf({ answer }: { answer: string }): string {
  return answer.slice(answer.indexOf("#### ") + 5).replaceAll(",", "");
}
