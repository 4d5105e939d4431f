// From the text of one row to its value, or to the reason why it is none.
//   J1. What is accepted survives a round trip: no number that lost digits, no half of a surrogate pair, no NUL, no key that could reach a prototype, nothing nested beyond MAX_DEPTH.
//   J2. The usual row pays for JSON.parse and one walk over its values; texts are looked into only where the source holds an escape that could hide something.
//   J3. Nothing here recurses deeper than MAX_DEPTH, and a long row is measured before it is parsed: a row of brackets costs no more than its bytes.

import { refused } from "./refusals.js";
import type { RejectReason, SourceRecord, RefusedRecord } from "./records.js";

/** Nesting that a row may have; the row itself counts. */
export const MAX_DEPTH = 64;

/** Rows with more characters are measured for depth before they are parsed. */
const LONG_ROW = 65_536;

export interface Fault { readonly reason: RejectReason; readonly message: string }

/** The row in `text`, which is well-formed Unicode; null when there is nothing but white space. */
export function jsonRow(text: string, line: number): SourceRecord | RefusedRecord | null {
  const read = parseJson(text);
  if (read === null) return null;
  if ("fault" in read) return refused(line, read.fault.reason, read.fault.message, text);
  const { value } = read;
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refused(line, "NOT_AN_OBJECT", `the row is ${nameOf(value)}, not an object with columns`, text);
  return { line, value: value as Record<string, unknown> };
}

/** Any JSON value under the rules of J1; null for white space. Also for JSON that stands inside a cell. */
export function parseJson(text: string): { value: unknown } | { fault: Fault } | null {
  if (text.length > LONG_ROW && isTooDeep(text)) return { fault: TOO_DEEP };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return afterFailure(text, error as Error);
  }
  if (typeof value !== "object" || value === null) return checked(value, text);
  const found = faultIn(value, 1, text.includes("\\u"));
  return found === null ? { value } : exactly(found, value, text);
}

/** `path`: keys from the row to the fault, filled in on the way back. */
export interface Found extends Fault { readonly path: string[] }

const TOO_DEEP: Fault = { reason: "TOO_DEEP", message: `nested more than ${MAX_DEPTH} deep` };

/** The first fault below `value`; `texts`: whether strings can hide one. */
function faultIn(value: unknown, depth: number, texts: boolean): Found | null {
  switch (typeof value) {
    case "string": return texts ? faultInText(value) : null;
    case "number": return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? null : { reason: "UNSAFE_NUMBER", message: "a number beyond 2^53, or not finite", path: [] };
    case "object": break;
    default: return null;
  }
  if (value === null) return null;
  if (depth > MAX_DEPTH) return { ...TOO_DEEP, path: [] };
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const found = faultIn(value[index], depth + 1, texts);
      if (found !== null) return at(String(index), found);
    }
    return null;
  }
  for (const key in value) {
    const found = faultInKey(key, texts) ?? faultIn((value as Record<string, unknown>)[key], depth + 1, texts);
    if (found !== null) return at(key, found);
  }
  return null;
}

/** As part of a row: a name that could reach a prototype, or a text as below. */
export function faultInKey(key: string, texts: boolean): Found | null {
  if (key === "__proto__" || key === "constructor" || key === "prototype") return { reason: "FORBIDDEN_KEY", message: `the key ${key} is not accepted`, path: [] };
  return texts ? faultInText(key) : null;
}

export function faultInText(text: string): Found | null {
  if (!text.isWellFormed()) return { reason: "LONE_SURROGATE", message: "half of a surrogate pair", path: [] };
  return text.includes("\0") ? { reason: "NUL_CHARACTER", message: "a NUL character", path: [] } : null;
}

function at(key: string, found: Found): Found {
  found.path.unshift(key);
  return found;
}

export function placeOf(path: readonly string[]): string {
  const shown = path.slice(0, 6).map((key) => (key.length > 40 ? `${key.slice(0, 40)}…` : key)).join(".");
  return path.length === 0 ? "" : ` (at ${shown}${path.length > 6 ? "…" : ""})`;
}

/** A number beyond 2^53 is a fault only where the text has an integer there: 1e300 is the double it says. */
function exactly(found: Found, value: object, text: string): { value: unknown } | { fault: Fault } {
  if (found.reason !== "UNSAFE_NUMBER") return { fault: { reason: found.reason, message: found.message + placeOf(found.path) } };
  const literal = unsafeLiteral(text);
  if (literal !== null) return { fault: { reason: "UNSAFE_NUMBER", message: `${literal} ${/^-?\d+$/.test(literal) ? "is an integer beyond 2^53: write it as a text" : "is not finite"}${placeOf(found.path)}` } };
  const other = faultIn(withoutHugeNumbers(value), 1, text.includes("\\u"));
  return other === null ? { value } : { fault: { reason: other.reason, message: other.message + placeOf(other.path) } };
}

/** The shape again with harmless numbers, to judge the rest of a row whose huge numbers are well. */
function withoutHugeNumbers(value: object): unknown {
  const copy = (one: unknown, depth: number): unknown => {
    if (typeof one === "number") return 0;
    if (typeof one !== "object" || one === null || depth > MAX_DEPTH) return one;
    if (Array.isArray(one)) return one.map((entry) => copy(entry, depth + 1));
    return Object.fromEntries(Object.entries(one).map(([key, entry]) => [key, copy(entry, depth + 1)]));
  };
  return copy(value, 1);
}

function checked(value: unknown, text: string): { value: unknown } | { fault: Fault } {
  const found = faultIn(value, 0, true);
  return found === null ? { value } : found.reason === "UNSAFE_NUMBER" && unsafeLiteral(text) === null ? { value } : { fault: found };
}

/** Why JSON.parse refused: a byte order mark and white space are no fault; NUL and NaN get their own reason. */
function afterFailure(text: string, error: Error): { value: unknown } | { fault: Fault } | null {
  if (/^[ \t\r\n]*$/.test(text)) return null;
  if (text.charCodeAt(0) === 0xfeff && text.charCodeAt(1) !== 0xfeff) return parseJson(text.slice(1)) ?? { fault: { reason: "INVALID_JSON", message: "a byte order mark alone" } }; // files were joined
  if (text.includes("\0")) return { fault: { reason: "NUL_CHARACTER", message: "a NUL character" } };
  const word = nonFiniteWord(text);
  if (word !== null) return { fault: { reason: "UNSAFE_NUMBER", message: `${word} is no JSON number: write null, or leave the column out` } };
  // The engine quotes the row in its message; the snippet shows it already.
  return { fault: { reason: "INVALID_JSON", message: `not JSON: ${error.message.replace(/, (?:\.\.\.)?".*$/s, "").slice(0, 200)}` } };
}

/** NaN or Infinity standing where a value could, in a row that is JSON otherwise. */
function nonFiniteWord(text: string): string | null {
  let word: string | null = null;
  let mended = "";
  let from = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) index = afterString(text, index) - 1;
    else if (code === 78 || code === 73) {
      const found = /^(?:NaN|Infinity)/.exec(text.slice(index, index + 8))?.[0];
      if (found === undefined) return null;
      word ??= text.charCodeAt(index - 1) === MINUS ? `-${found}` : found;
      mended += `${text.slice(from, index)}0`;
      index += found.length - 1;
      from = index + 1;
    }
  }
  if (word === null) return null;
  try {
    JSON.parse(mended + text.slice(from));
    return word;
  } catch {
    return null;
  }
}

const QUOTE = 34;
const MINUS = 45;

/** Where the string that opens at `open` is over: the index after its closing quote. */
function afterString(text: string, open: number): number {
  let end = open;
  for (;;) {
    end = text.indexOf("\"", end + 1);
    if (end === -1) return text.length;
    let before = end;
    while (text.charCodeAt(before - 1) === 92) before--;
    if ((end - before) % 2 === 0) return end + 1;
  }
}

function isTooDeep(text: string): boolean {
  let depth = 0;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) index = afterString(text, index) - 1;
    else if (code === 123 || code === 91) {
      if (++depth > MAX_DEPTH) return true;
    } else if (code === 125 || code === 93) depth--;
  }
  return false;
}

/** The first number in JSON `text`, outside strings, that is an integer a double cannot hold, or that is not finite. */
function unsafeLiteral(text: string): string | null {
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code === QUOTE) index = afterString(text, index) - 1;
    else if (code === MINUS || (code >= 48 && code <= 57)) {
      let end = index + 1;
      while (end < text.length && "+-.eE0123456789".includes(text[end]!)) end++;
      const literal = text.slice(index, end);
      const value = Number(literal);
      if (/^-?\d+$/.test(literal) ? !Number.isSafeInteger(value) : !Number.isFinite(value)) return literal.length > 60 ? `${literal.slice(0, 60)}…` : literal;
      index = end - 1;
    }
  }
  return null;
}

function nameOf(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "a list" : typeof value === "string" ? "a text" : `a ${typeof value}`;
}
