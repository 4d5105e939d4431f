// When the rows of a preprocess stage do not make files that could be trained on, and how that is told.

import type { PreprocessParams } from "../domain/data/preprocess-params.js";
import type { Accounts, AccountTotals } from "./accounts.js";
import { PreprocessRefusedError } from "./preprocess-refused.js";
import { REJECT_REASONS } from "./read/records.js";
import { DROP_REASONS } from "./rows/drop-reasons.js";
import type { SplitName } from "./write/output-columns.js";

/** Throws PreprocessRefusedError when more rows are broken than `maxRejectedFraction` allows. To be asked when every input was read. */
export function refuseTooManyRejects(params: PreprocessParams, accounts: Accounts, firstRejects: readonly string[]): void {
  const { rows, rejected } = accounts.totals();
  if (params.maxRejectedFraction === undefined || rejected <= rows * params.maxRejectedFraction) return;
  throw new PreprocessRefusedError(
    `${count(rejected)} of ${count(rows)} rows are broken (${percent(rejected / rows)}), more than maxRejectedFraction ${params.maxRejectedFraction} allows. ${first(firstRejects)} ` +
      "rejects.jsonl lists all of them. Correct the rows, or raise maxRejectedFraction.", firstRejects);
}

/** Throws PreprocessRefusedError when a file would be empty. To be asked when every row has its place. */
export function refuseEmptyFiles(params: PreprocessParams, accounts: Accounts, outputs: ReadonlyMap<SplitName, { readonly rows: number }>, firstRejects: readonly string[]): void {
  const totals = accounts.totals();
  if (totals.rows === 0) throw new PreprocessRefusedError("The input holds no rows. Check that the right files are named.");
  if (totals.kept === 0) throw new PreprocessRefusedError(`None of the ${count(totals.rows)} rows is left: ${reasonsInWords(totals)}. ${nothingKeptHint(totals)}${firstRejects.length === 0 ? "" : ` ${first(firstRejects)}`}`, firstRejects);
  for (const [side, { rows }] of outputs) {
    if (rows > 0 || params.split === undefined) continue;
    throw new PreprocessRefusedError(
      `None of the ${count(totals.kept)} kept rows falls into the ${side} file (split.validation ${params.split.validation}, seed ${params.split.seed ?? params.seed}), and training cannot load an empty file. ` +
        `${side === "validation" ? "Raise" : "Lower"} split.validation, choose another split.seed, or leave split out. The side of a row follows from its prompt alone, so none is moved over.`);
  }
}

function nothingKeptHint({ rejected, reasons }: AccountTotals): string {
  if (rejected > 0 && reasons["UNKNOWN_SHAPE"] === rejected) return "Say in columns which column plays which part.";
  if (reasons["NOT_SAMPLED"] !== undefined) return "An input with a weight of which no row is left bounds the whole mixture to nothing: leave that input out, or look why its rows go.";
  return rejected > 0 ? "Correct the rows, or say in columns which column plays which part." : "Loosen filter.";
}

function reasonsInWords({ reasons }: AccountTotals): string {
  const meanings: Readonly<Record<string, unknown>> = { ...REJECT_REASONS, ...DROP_REASONS };
  return Object.entries(reasons)
    .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
    .map(([reason, rows]) => `${count(rows)} ${reason}${typeof meanings[reason] === "string" ? ` (${meanings[reason]})` : ""}`)
    .join(", ");
}

function first(rejects: readonly string[]): string {
  return `The first: ${rejects.map((reject) => reject.replace(/\.$/, "")).join("; ")}.`;
}

function count(number: number): string {
  return number.toLocaleString("en-US");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.01 ? 3 : 1)} %`;
}
