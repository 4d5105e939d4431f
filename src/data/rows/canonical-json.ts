// Values as text, for comparing and keeping them: the same text for the same value, whatever the order of the fields of its objects.

import { hash } from "node:crypto";
import type { Json } from "../../domain/pipeline/state.js";

/** Fields of objects stand in the order of their names. `nulls`: whether a field that is null is told, or counts as one that is missing. Recurses: for values that
 *  isDeeper has judged, or that the readers of src/data/read let through. */
export function canonicalJson(value: unknown, nulls: "told" | "missing"): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, nulls)).join(",")}]`;
  const fields = value as Readonly<Record<string, unknown>>;
  let text = "";
  for (const name of Object.keys(fields).sort()) {
    const field = fields[name];
    if (nulls === "missing" && (field === null || field === undefined)) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${canonicalJson(field, nulls)}`;
  }
  return `{${text}}`;
}

/** Whether objects and lists are nested more than `most` deep in the value, itself included. */
export function isDeeper(value: unknown, most: number): boolean {
  if (value === null || typeof value !== "object") return false;
  return most === 0 || Object.values(value).some((inner) => isDeeper(inner, most - 1));
}

/** 16 bytes of SHA-256 that rows share when they mean the same, whatever format they were kept in: those with a schema cannot tell a null from a missing field. */
export function rowFingerprint(row: Json): Uint8Array {
  return hash("sha256", canonicalJson(row, "missing"), "buffer").subarray(0, 16);
}
