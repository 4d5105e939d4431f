// The rows that a run would train on: how many, and some of them for dumps.

import { openParquet } from "../data/read/parquet-file.js";
import { TrainerFailure } from "./trainer-failure.js";

/** Rows of all files. Throws TrainerFailure in the trainer's words. */
export async function countRows(files: readonly string[]): Promise<number> {
  let rows = 0;
  for (const path of files) rows += await withFile(path, async (file) => Promise.resolve(file.rows));
  return rows;
}

export interface Prompt { readonly prompt: string; readonly truth: string; readonly source: string }

/** The first rows as RL sees them, at most `most`. Throws TrainerFailure. */
export async function readPrompts(files: readonly string[], most: number, keys: { readonly prompt: string; readonly source: string }): Promise<readonly Prompt[]> {
  const found: Prompt[] = [];
  for (const path of files) {
    if (found.length >= most) break;
    const rows = await withFile(path, async (file) => {
      const has = new Set(file.columns.map(({ name }) => name));
      for (const column of [keys.prompt, keys.source]) if (!has.has(column)) throw new TrainerFailure("KeyError", `'${column}'`);
      return file.read({ from: 0, to: Math.min(file.rows, most - found.length), columns: [keys.prompt, keys.source, ...(has.has("reward_model") ? ["reward_model"] : [])] });
    });
    for (const row of rows) found.push({ prompt: promptText(row[keys.prompt]), source: String(row[keys.source] ?? "unknown"), truth: String((row["reward_model"] as { ground_truth?: unknown } | null)?.ground_truth ?? "") });
  }
  return found;
}

/** As a chat template would put the messages. */
function promptText(messages: unknown): string {
  if (!Array.isArray(messages)) return String(messages ?? "");
  return messages.map((message: { role?: unknown; content?: unknown }) => `${String(message.role)}\n${String(message.content)}\n`).join("") + "assistant\n";
}

async function withFile<T>(path: string, read: (file: Awaited<ReturnType<typeof openParquet>>) => Promise<T>): Promise<T> {
  let file;
  try {
    file = await openParquet(path);
  } catch (error) {
    const missing = /ENOENT|no such file/i.test(String((error as Error).message) + String(((error as Error).cause as Error | undefined)?.message));
    throw missing ? new TrainerFailure("FileNotFoundError", `[Errno 2] No such file or directory: '${path}'`) : new TrainerFailure("pyarrow.lib.ArrowInvalid", (error as Error).message);
  }
  try {
    return await read(file);
  } finally {
    await file.close();
  }
}
