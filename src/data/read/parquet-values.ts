// Values as the Parquet decoder gives them, made into values that JSON has.
//   V1. Nothing changes its meaning on the way: what JSON cannot hold is a fault of the row, never a rounded or replaced value.

import { isUtf8 } from "node:buffer";
import type { ParquetParsers } from "hyparquet";
import { faultInKey, MAX_DEPTH, parseJson, type Fault } from "./json-row.js";

/** What is known of a row while its values are converted. */
export interface Conversion {
  /** "record": what JSON cannot hold is a fault. "preview": it is shown as text. */
  readonly mode: "record" | "preview";
  fault: Fault | null;
  /** Characters of all texts so far. */
  characters: number;
}

/** Stands in a column where the decoder met something that is no value. */
class Faulty {
  readonly fault: Fault;
  readonly shown: string;
  constructor(fault: Fault, shown: string) {
    this.fault = fault;
    this.shown = shown;
  }
}

export const PARSERS: Partial<ParquetParsers> = {
  stringFromBytes: (bytes: Uint8Array | undefined) => bytes && textOf(bytes),
  jsonFromBytes(bytes: Uint8Array | undefined) {
    const text = bytes && textOf(bytes);
    if (typeof text !== "string") return text;
    const read = parseJson(text);
    return read === null ? null : "fault" in read ? new Faulty(read.fault, text) : read.value;
  },
  dateFromDays: (days: number) => isoOf(days * 86_400_000)?.slice(0, 10),
  timestampFromMilliseconds: (time: bigint) => isoOf(Number(time)),
  timestampFromMicroseconds: (time: bigint) => isoOf(Number(time / 1_000n)),
  timestampFromNanoseconds: (time: bigint) => isoOf(Number(time / 1_000_000n)),
};

function textOf(bytes: Uint8Array): string | Faulty {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(bytes) ? buffer.toString() : new Faulty({ reason: "INVALID_UTF8", message: "a text that is not UTF-8" }, buffer.toString());
}

function isoOf(millis: number): string | undefined {
  return Math.abs(millis) <= 8.64e15 ? new Date(millis).toISOString() : undefined;
}

/** `value` as JSON has it. Objects and lists are changed in place: each belongs to one row. Bytes become their text, or {bytes: <length>} when they are none. */
export function jsonValueOf(value: unknown, into: Conversion, depth = 1): unknown {
  switch (typeof value) {
    case "string":
      into.characters += value.length;
      if (into.mode === "record" && into.fault === null && value.includes("\0")) into.fault = { reason: "NUL_CHARACTER", message: "a NUL character" };
      return value;
    case "number":
      return Number.isFinite(value) ? value : unfit(value, String(value), "is not finite", into);
    case "bigint":
      return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : unfit(value, String(value), "is an integer beyond 2^53", into);
    case "boolean": return value;
    case "object": return value === null ? null : jsonObjectOf(value, into, depth);
    default: return null;
  }
}

function jsonObjectOf(value: object, into: Conversion, depth: number): unknown {
  if (value instanceof Faulty) {
    if (into.mode === "record") into.fault ??= value.fault;
    return value.shown;
  }
  if (value instanceof Uint8Array) return isUtf8(value) ? jsonValueOf(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString(), into, depth) : { bytes: value.length };
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (depth >= MAX_DEPTH) {
    if (into.mode === "record") into.fault ??= { reason: "TOO_DEEP", message: `nested more than ${MAX_DEPTH} deep` };
    return null;
  }
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<unknown>, (one) => jsonValueOf(one, into, depth + 1));
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) value[index] = jsonValueOf(value[index], into, depth + 1);
    return value;
  }
  const record = value as Record<string, unknown>;
  for (const key of Object.keys(record)) {
    const fault = into.mode === "record" ? faultInKey(key, true) : null; // keys of a map are data
    if (fault !== null) into.fault ??= fault;
    record[key] = jsonValueOf(record[key], into, depth + 1);
  }
  return record;
}

function unfit(value: unknown, shown: string, why: string, into: Conversion): unknown {
  if (into.mode === "preview") return shown;
  into.fault ??= { reason: "UNSAFE_NUMBER", message: `${shown} ${why}` };
  return null;
}
