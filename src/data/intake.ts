// Reads the inputs of a preprocess stage and judges every row: converts it, filters it, drops what was there before.
//   I1. A broken row is counted and written to the rejects, and the next one is read.
//   I2. A file's hash is of the bytes its rows were read from; a file that changes meanwhile is refused.

import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import type { DataFormat, PreprocessInput, PreprocessParams } from "../domain/data/preprocess-params.js";
import type { Accounts } from "./accounts.js";
import { PreprocessRefusedError, throwIfCancelled } from "./preprocess-refused.js";
import type { Progress } from "./preprocess-progress.js";
import { hashFile } from "./read/file-hash.js";
import { readRecords } from "./read/read-records.js";
import { UnreadableFileError, type RefusedRecord, type SourceRecord } from "./read/records.js";
import { createConverter } from "./rows/converter.js";
import type { DropReason } from "./rows/drop-reasons.js";
import { createFilter } from "./rows/filter.js";
import { contentFingerprint, createFingerprintSet } from "./rows/fingerprint.js";
import { createNearDuplicates } from "./rows/near-duplicates.js";
import type { TokenCounter } from "./rows/tokens.js";
import type { TrainingRow } from "./rows/training-row.js";
import { snippetOf, type RejectedRow, type RejectsFile } from "./write/rejects-file.js";

/** One file to be read. */
export interface InputFile {
  readonly path: string;
  /** How it is called in manifest and rejects: no absolute path. */
  readonly name: string;
  /** The entry of `params.input` that named it. Files of one entry share its cap and its weight. */
  readonly spec: PreprocessInput;
  readonly format: DataFormat;
  readonly gzip: boolean;
}

export interface ReadFile {
  readonly path: string;
  readonly contentHash: string;
  readonly sizeBytes: number;
}

export interface IntakeParts {
  readonly params: PreprocessParams;
  readonly tokens: TokenCounter | null;
  readonly signal: AbortSignal;
  readonly accounts: Accounts;
  readonly rejects: RejectsFile;
  readonly progress: Progress;
  /** A row that passed every check. */
  accept(row: TrainingRow, source: number): Promise<void> | null;
}

/** How many broken rows an error names. */
const FIRST_REJECTS = 5;

/** Reads all inputs to their end. Throws PreprocessRefusedError and AbortError. */
export async function readInputs(inputs: readonly InputFile[], parts: IntakeParts): Promise<{ read: readonly ReadFile[]; firstRejects: readonly string[] }> {
  const { params, accounts, rejects, progress, signal } = parts;
  const judge = createJudge(params, parts.tokens);
  const firstRejects: string[] = [];
  const read: ReadFile[] = [];

  function reject(source: number, row: RejectedRow): Promise<void> | null {
    accounts.reject(source, row.reason);
    if (firstRejects.length < FIRST_REJECTS) firstRejects.push(`${row.file}:${row.line} ${row.reason}: ${row.message}`);
    return rejects.add(row);
  }

  function take(record: SourceRecord | RefusedRecord, source: number, file: string, convert: ReturnType<typeof createConverter>): Promise<void> | null {
    accounts.read(source);
    const { line } = record;
    if (record.refusal !== undefined) return reject(source, { file, line, ...record.refusal });
    const conversion = convert(record);
    if (conversion.row === undefined) return reject(source, { file, line, reason: conversion.reason, message: conversion.message, snippet: snippetOf(record.value) });
    const dropped = judge(conversion.row);
    if (dropped === null) return parts.accept(conversion.row, source);
    accounts.drop(source, dropped);
    return null;
  }

  for (const [source, input] of inputs.entries()) {
    const convert = createConverter(params, input.spec);
    read.push(await readWhole(input, source, { progress, signal, maxRowBytes: params.maxRowBytes }, async (batch) => {
      for (const record of batch) {
        const writing = take(record, source, input.name, convert);
        if (writing !== null) await writing;
      }
    }));
  }
  return { read, firstRejects };
}

/** The checks that come after the conversion: null when the row may stay. */
function createJudge(params: PreprocessParams, tokens: TokenCounter | null): (row: TrainingRow) => DropReason | null {
  const filter = createFilter(params.filter, tokens);
  const { dedupe } = params;
  const seen = createFingerprintSet();
  const near = params.nearDuplicates === undefined ? null : createNearDuplicates(params.nearDuplicates);
  return (row) => {
    const failed = filter(row);
    if (failed !== null) return failed;
    if (dedupe !== "none" && !seen.add(contentFingerprint(row, dedupe))) return "DUPLICATE";
    return near !== null && near.seenBefore(row) ? "NEAR_DUPLICATE" : null;
  };
}

/** Gives every batch of the file in order, and its hash at the end (I2). */
async function readWhole(
  input: InputFile, source: number, options: { progress: Progress; signal: AbortSignal; maxRowBytes: number },
  each: (batch: readonly (SourceRecord | RefusedRecord)[]) => Promise<void>,
): Promise<ReadFile> {
  const { path, name, format, gzip } = input;
  const { progress, signal, maxRowBytes } = options;
  try {
    const before = await stat(path);
    const hash = createHash("sha256");
    let hashed = 0;
    const apart = format === "parquet" ? await hashFile(path, { signal, onBytes: (bytes) => progress.hashed(source, bytes) }) : null;
    const onContent = (chunk: Uint8Array) => {
      hash.update(chunk);
      hashed += chunk.length;
    };
    for await (const batch of readRecords(path, { format, gzip, maxRowBytes, signal, onBytes: (bytes) => progress.read(source, bytes), ...(apart === null ? { onContent } : {}) })) {
      throwIfCancelled(signal);
      await each(batch);
    }
    const after = await stat(path);
    const content = apart ?? { sha256: hash.digest("hex"), sizeBytes: hashed };
    if (after.mtimeMs !== before.mtimeMs || after.size !== content.sizeBytes) throw new PreprocessRefusedError(`${name} changed while it was read. Run the stage again once nobody writes to the file.`);
    return { path, contentHash: content.sha256, sizeBytes: content.sizeBytes };
  } catch (error) {
    throwIfCancelled(signal);
    if (error instanceof UnreadableFileError) throw new PreprocessRefusedError(`${error.message.replace(path, name)}. Nothing was written.`);
    throw error;
  }
}
