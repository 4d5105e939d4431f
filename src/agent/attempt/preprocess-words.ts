// What a preprocess attempt says in its log, in lines for people.

import type { InputFile } from "../data/input-files.js";
import type { ResultOrigin } from "../data/kept-results.js";
import type { PreprocessResult } from "../../data/preprocess.js";

/** Files named one by one; of more only the sum is told. */
const FILES_NAMED = 20;

export function sayInputs(files: readonly InputFile[]): string[] {
  const total = files.reduce((sum, file) => sum + file.sizeBytes, 0);
  const named = files.slice(0, FILES_NAMED).map((file) => `  ${oneLine(file.name)}  ${file.format}${file.gzip ? ", gzip" : ""}, ${size(file.sizeBytes)}`);
  const more = files.length - named.length;
  return [`input: ${files.length} file${files.length === 1 ? "" : "s"}, ${size(total)}`, ...named, ...(more > 0 ? [`  and ${more} more`] : [])];
}

export function sayReuse(from: ResultOrigin): string[] {
  return [`the input and the params are those of ${from.attemptId} (stage ${from.stage} of ${from.pipelineId}): its files are used again. cache: false makes them anew.`];
}

export function sayResult(result: PreprocessResult): string[] {
  const { rows, trainRows, validationRows, dropped, rejected, reasons } = result;
  const kept = trainRows + validationRows;
  return [
    `rows: ${count(rows)} read, ${count(kept)} kept${validationRows > 0 ? ` (${count(trainRows)} to train on, ${count(validationRows)} to validate)` : ""}, ${count(dropped)} dropped, ${count(rejected)} rejected`,
    ...Object.entries(reasons).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([reason, number]) => `  ${reason}  ${count(number)}`),
    ...(rejected > 0 ? [`rejected rows, with line and reason: ${result.rejectsFile}`, ...result.firstRejects.map((line) => `  ${oneLine(line)}`)] : []),
    ...result.files.map((file) => `${file.role}: ${file.path}  ${count(file.facts.rows)} rows, ${size(file.facts.sizeBytes)}, registered as ${file.datasetName}`),
    `manifest: ${result.manifestFile}`,
  ];
}

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"];

/** Bytes for people: 1.4 MiB. */
export function size(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Names of files and what rows hold may break lines. */
function oneLine(text: string): string {
  return text.replace(/[\0-\x1f\x7f]+/g, " ").slice(0, 1_000);
}
