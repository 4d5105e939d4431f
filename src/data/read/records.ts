// What every reader of a data file gives, whatever the format.

/** One row as it stands in the file: column → value as JSON has it (Parquet's bigint and dates are turned into JSON values first). */
export interface SourceRecord {
  /** 1-based: the line on which the row begins (jsonl, json, csv, tsv), or its number in the file (parquet). */
  readonly line: number;
  readonly value: Readonly<Record<string, unknown>>;
  readonly refusal?: undefined;
}

/** A row that cannot be read. */
export interface RefusedRecord {
  readonly line: number;
  readonly value?: undefined;
  readonly refusal: Refusal;
}

export interface Refusal {
  readonly reason: RejectReason;
  /** For people: what exactly is wrong. */
  readonly message: string;
  /** The beginning of the row as text, at most SNIPPET_CHARACTERS, well formed. */
  readonly snippet: string;
}

export const SNIPPET_CHARACTERS = 300;

export const REJECT_REASONS = {
  // by the reader
  INVALID_JSON: "the row is not JSON", NOT_AN_OBJECT: "the row is no object", INVALID_UTF8: "the bytes are not UTF-8", LONE_SURROGATE: "half a surrogate pair", NUL_CHARACTER: "a NUL character",
  ROW_TOO_LONG: "longer than maxRowBytes", TOO_DEEP: "nested more than 64 deep", FORBIDDEN_KEY: "a key such as __proto__", UNSAFE_NUMBER: "an integer beyond 2^53 or a number that is not finite", INVALID_CSV: "the row does not fit the header",
  // by the conversion
  UNKNOWN_SHAPE: "none of the known row shapes", MISSING_COLUMN: "a needed column is missing or null", WRONG_TYPE: "a column holds another type than expected", INVALID_ROLE: "a message has an unknown role",
  BAD_DIALOGUE: "the messages do not form a dialogue that can be trained on", UNSUPPORTED_CONTENT: "content other than text", NO_GROUND_TRUTH: "answerPattern finds nothing", TEMPLATE_FIELD: "a field of promptTemplate is missing", SAME_ANSWERS: "chosen and rejected are equal",
  NO_SCORER: "verl has no scorer for the row's data_source",
} as const;
/** Why a row is broken. Filters and duplicates are counted apart (DROP_REASONS in rows/). */
export type RejectReason = keyof typeof REJECT_REASONS;

/** Rows in the order of the file; a batch is what one piece of input gave, so that inner loops stay synchronous. */
export type RecordBatch = readonly (SourceRecord | RefusedRecord)[];

/** A file that cannot be read to its end: truncated gzip, no Parquet, a JSON array that stops. The stage fails as INVALID_INPUT. */
export class UnreadableFileError extends Error {
  readonly code = "UNREADABLE_FILE";
  readonly path: string;
  /** The last line that was read; null when there was none. */
  readonly line: number | null;
  constructor(path: string, line: number | null, why: string) {
    super(`${path}${line === null ? "" : `, after line ${line}`}: ${why}`);
    this.name = "UnreadableFileError";
    this.path = path;
    this.line = line;
  }
}
