// A row as text, for comparing rows of any files with each other.
//   J1. Rows that mean the same give the same text, whatever the order of their fields and the format they were kept in: fields of objects stand in the order of
//       their names, and a field that is null counts as one that is missing, since formats with a schema cannot tell the two apart.

import { hash } from "node:crypto";
import type { Json } from "../../domain/pipeline/state.js";

/** J1. Expects a value as JSON has it, as deep as the readers of src/data/read let it be. */
export function canonicalJson(value: Json): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item as Json)).join(",")}]`;
  const fields = value as Readonly<Record<string, Json | undefined>>;
  let text = "";
  for (const name of Object.keys(fields).sort()) {
    const field = fields[name];
    if (field === null || field === undefined) continue;
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${canonicalJson(field)}`;
  }
  return `{${text}}`;
}

/** 16 bytes of SHA-256 that rows with the same canonical text share. */
export function rowFingerprint(row: Json): Uint8Array {
  return hash("sha256", canonicalJson(row), "buffer").subarray(0, 16);
}
