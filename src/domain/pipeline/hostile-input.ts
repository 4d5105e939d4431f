// What no document may hold, found before anything else looks at it: keys that reach prototypes, NUL, lone surrogates, endless nesting, what JSON cannot carry.

import { excerpt, type Problem } from "../errors.js";

const MAX_DEPTH = 32;
/** Longest key of an object, in characters: keys stand in paths and messages. */
const MAX_KEY = 1_000;

/** The first such thing in a value, or null. */
export function hostileProblem(value: unknown): Problem | null {
  const found = look(value, 0);
  if (found === null) return null;
  const path = found.at.reverse().reduce<string>((text, key) => (typeof key === "number" ? `${text}[${key}]` : text === "" ? key : `${text}.${key}`), "");
  return { path, severity: "ERROR", code: found.code, message: found.message, hint: found.hint };
}

/** `at`: keys that lead there, the last one first; it is put together on the way back, so that a sound document costs no paths. */
interface Finding { readonly at: (string | number)[]; readonly code: string; readonly message: string; readonly hint: string }

function look(value: unknown, depth: number): Finding | null {
  if (depth > MAX_DEPTH) return { at: [], code: "TOO_DEEP", message: `Nested deeper than ${MAX_DEPTH} levels.`, hint: "Flatten it, or pass a file's path." };
  switch (typeof value) {
    case "string": return lookAtText(value);
    case "number": return Number.isFinite(value) ? null : { at: [], code: "INVALID_VALUE", message: `${value} is no number that JSON can carry.`, hint: "Write a finite number, or a text." };
    case "bigint": case "symbol": case "function": return { at: [], code: "INVALID_VALUE", message: `A ${typeof value} is nothing that JSON can carry.`, hint: "Write a text." };
    case "object": return value === null ? null : Array.isArray(value) ? lookInside(value, depth) : lookAtKeys(value) ?? lookInsideObject(value, depth);
    default: return null;
  }
}

function lookAtText(text: string): Finding | null {
  if (text.includes("\0")) return { at: [], code: "INVALID_TEXT", message: "The text contains a NUL character.", hint: "Remove it." };
  return text.isWellFormed() ? null : { at: [], code: "INVALID_TEXT", message: "The text contains half of a surrogate pair.", hint: "Check the file's encoding: UTF-8 is expected." };
}

function lookAtKeys(value: object): Finding | null {
  const bad = Object.keys(value).find((key) => key === "__proto__" || key.length > MAX_KEY || key.includes("\0") || !key.isWellFormed());
  return bad === undefined ? null : { at: [], code: "INVALID_KEY", message: `The key ${JSON.stringify(excerpt(bad))} is not allowed.`, hint: bad.length > MAX_KEY ? `A key has at most ${MAX_KEY} characters.` : "Rename it." };
}

function lookInside(items: readonly unknown[], depth: number): Finding | null {
  for (let index = 0; index < items.length; index++) {
    const found = look(items[index], depth + 1);
    if (found !== null) return found.at.push(index), found;
  }
  return null;
}

function lookInsideObject(value: object, depth: number): Finding | null {
  for (const [key, item] of Object.entries(value)) {
    const found = look(item, depth + 1);
    if (found !== null) return found.at.push(key), found;
  }
  return null;
}
