// rejects.jsonl: one line for every broken row, complete, in the order of the input. Written even when nothing was broken.

import { SNIPPET_CHARACTERS, type RejectReason } from "../read/records.js";
import { createDurableFile, type FileDigest } from "./durable-file.js";

const BUFFER_CHARACTERS = 262_144;

/** A line of the file. Of people's data it holds the snippet only. */
export interface RejectedRow {
  /** The input's name, never its absolute path. */
  readonly file: string;
  readonly line: number;
  readonly reason: RejectReason;
  readonly message: string;
  readonly snippet: string;
}

export interface RejectsFile {
  /** A promise when the buffer is being written: await it before the next row. */
  add(row: RejectedRow): Promise<void> | null;
  finish(): Promise<FileDigest & { readonly rows: number }>;
  abandon(): Promise<void>;
}

export async function createRejectsFile(path: string): Promise<RejectsFile> {
  const file = await createDurableFile(path);
  let lines: string[] = [];
  let characters = 0;
  let rows = 0;

  function add({ file: name, line, reason, message, snippet }: RejectedRow): Promise<void> | null {
    const text = `${JSON.stringify({ file: name, line, reason, message: cut(message), snippet: cut(snippet) })}\n`;
    lines.push(text);
    characters += text.length;
    rows += 1;
    return characters >= BUFFER_CHARACTERS ? flush() : null;
  }

  async function flush(): Promise<void> {
    const text = lines.join("");
    lines = [];
    characters = 0;
    await file.write(Buffer.from(text, "utf8"));
  }

  async function finish(): Promise<FileDigest & { readonly rows: number }> {
    await flush();
    return { ...(await file.finish()), rows };
  }

  return { add, finish, abandon: () => file.abandon() };
}

/** The beginning of a record as JSON, at most SNIPPET_CHARACTERS; long texts are cut before they are written out. */
export function snippetOf(value: unknown): string {
  const text = JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "string" ? cut(inner) : Array.isArray(inner) && inner.length > SNIPPET_CHARACTERS ? inner.slice(0, SNIPPET_CHARACTERS) : inner)) as string | undefined;
  return cut(text ?? "");
}

function cut(text: string): string {
  return (text.length <= SNIPPET_CHARACTERS ? text : text.slice(0, SNIPPET_CHARACTERS)).toWellFormed();
}
