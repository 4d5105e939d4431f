// The rows that are asked: read and converted like a preprocess stage of task rl, in the order of the files.
//   R1. A row's id is the hash of its question and ground truth, without template and system prompt: evaluations with other prompts compare row by row.
//   R2. maxRows takes the rows with the lowest hash of seed and id, so that more data moves few of them.

import { createHash } from "node:crypto";
import { inputsOf, type DataFormat } from "../domain/data/preprocess-params.js";
import { readingParams, scorerKindOf, type EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import { readRecords } from "../data/read/read-records.js";
import { UnreadableFileError } from "../data/read/records.js";
import { createConverter } from "../data/rows/converter.js";
import type { Message, RlRow, TrainingRow } from "../data/rows/training-row.js";
import { EvaluationRefusedError } from "./evaluation-errors.js";

export interface EvaluationRow {
  /** R1; a repeated row has -2, -3 … appended. */
  readonly id: string;
  readonly prompt: readonly Message[];
  readonly groundTruth: string;
  readonly dataSource: string;
  /** As the converter gave it, for verl's files. */
  readonly row: TrainingRow & RlRow;
}

export interface EvaluationFile { readonly path: string; readonly name: string; readonly spec: number; readonly format: DataFormat; readonly gzip: boolean }

export interface RowsRead {
  readonly rows: readonly EvaluationRow[];
  /** Rows of the files, broken ones included, before maxRows. */
  readonly read: number;
  readonly rejected: number;
  /** The first broken rows, as `file:line REASON: message`. */
  readonly firstRejects: readonly string[];
}

const MAX_ROW_BYTES = 4 * 1_048_576;
const FIRST_REJECTS = 5;
/** Rows that are held in memory; an evaluation of more is a slip of the pen. */
export const MOST_ROWS = 1_000_000;

/** Throws EvaluationRefusedError when nothing can be asked, or too many rows are broken. */
export async function readRows(params: EvaluateModelParams, files: readonly EvaluationFile[], signal?: AbortSignal): Promise<RowsRead> {
  const reading = readingParams(params);
  const inputs = inputsOf(reading);
  const needsTruth = typeof params.scorer === "string";
  const chosen = createChoice(params.maxRows ?? null, params.seed);
  const perInput = inputs.map(({ maxRows }) => (maxRows === undefined ? null : createChoice(maxRows, params.seed)));
  const seen = new Map<string, number>();
  const firstRejects: string[] = [];
  let [read, rejected, place] = [0, 0, 0];
  const reject = (file: string, line: number, reason: string, message: string): void => {
    rejected++;
    if (firstRejects.length < FIRST_REJECTS) firstRejects.push(`${file}:${line} ${reason}: ${message}`);
  };
  for (const file of files) {
    const convert = createConverter(reading, inputs[file.spec]!);
    const into = perInput[file.spec] ?? chosen;
    try {
      for await (const batch of readRecords(file.path, { format: file.format, gzip: file.gzip, maxRowBytes: MAX_ROW_BYTES, ...(signal === undefined ? {} : { signal }) })) {
        for (const record of batch) {
          read++;
          if (record.refusal !== undefined) {
            reject(file.name, record.line, record.refusal.reason, record.refusal.message);
            continue;
          }
          const { row, ...why } = convert(record);
          if (row === undefined) {
            const { reason, message } = why as { reason: string; message: string };
            reject(file.name, record.line, reason, message);
          } else if (row.task !== "rl" || (needsTruth && row.groundTruth === "")) reject(file.name, record.line, "NO_GROUND_TRUTH", "The row has no ground truth.");
          else into.offer(evaluationRow(row, seen), place++);
        }
        if (chosen.size > MOST_ROWS) throw new EvaluationRefusedError(`More than ${MOST_ROWS} rows are to be asked. Give maxRows.`);
      }
    } catch (error) {
      if (error instanceof UnreadableFileError) throw new EvaluationRefusedError(`${file.name} cannot be read: ${error.message}`);
      throw error;
    }
  }
  for (const one of perInput) for (const { row, place: at } of one?.taken() ?? []) chosen.offer(row, at);
  const rows = chosen.taken().sort((a, b) => a.place - b.place).map(({ row }) => row);
  refuseUnusable(params, { rows, read, rejected, firstRejects });
  return { rows, read, rejected, firstRejects };
}

function evaluationRow(row: TrainingRow & RlRow, seen: Map<string, number>): EvaluationRow {
  const hash = createHash("sha256").update(JSON.stringify([row.promptKey, row.groundTruth])).digest("hex").slice(0, 32);
  const times = (seen.get(hash) ?? 0) + 1;
  seen.set(hash, times);
  return { id: times === 1 ? hash : `${hash}-${times}`, prompt: row.prompt, groundTruth: row.groundTruth, dataSource: row.dataSource, row };
}

interface Placed { readonly row: EvaluationRow; readonly place: number; readonly key: string }

/** R2. Holds at most twice as many rows as it takes. */
function createChoice(most: number | null, seed: number): { readonly size: number; offer(row: EvaluationRow, place: number): void; taken(): Placed[] } {
  let held: Placed[] = [];
  const shrink = (): void => {
    if (most !== null && held.length > most) held = held.sort((a, b) => (a.key < b.key ? -1 : 1)).slice(0, most);
  };
  return {
    get size() { return held.length; },
    offer(row, place) {
      held.push({ row, place, key: most === null ? "" : createHash("sha256").update(`${seed}\0${row.id}`).digest("hex") });
      if (most !== null && held.length >= 2 * most + 1_000) shrink();
    },
    taken() {
      shrink();
      return held;
    },
  };
}

function refuseUnusable(params: EvaluateModelParams, { rows, read, rejected, firstRejects }: RowsRead): void {
  const broken = firstRejects.length === 0 ? "" : ` The first: ${firstRejects.join("; ")}`;
  if (read > 0 && rejected / read > (params.maxRejectedFraction ?? 1)) throw new EvaluationRefusedError(`${rejected} of ${read} rows are broken, more than maxRejectedFraction allows.${broken}`);
  if (rows.length === 0) throw new EvaluationRefusedError(`No row can be asked: of ${read} rows ${rejected} are broken.${broken}${scorerKindOf(params) === "program" ? "" : " Check columns and answerPattern."}`);
}
