// What a step of the conversion gives instead of its result when the row is broken. Given, not thrown: in a bad file it is the common case, and a stack trace
// costs more than the whole conversion.

import type { RejectReason } from "../read/records.js";

export class Reject {
  readonly row?: undefined;
  readonly reason: RejectReason;
  /** For people: which column, what is wrong. */
  readonly message: string;
  constructor(reason: RejectReason, message: string) {
    this.reason = reason;
    this.message = message;
  }
}

const SHOWN_CHARACTERS = 60;

/** A value from a row as it may stand in a message. */
export function shown(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  if (typeof value !== "string") return `${typeof value === "number" ? "the number" : "the value"} ${String(value)}`;
  return value.length <= SHOWN_CHARACTERS ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, SHOWN_CHARACTERS).toWellFormed())}…`;
}
