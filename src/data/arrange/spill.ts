// Rows set aside on disk and given back in order of their keys: an external merge sort that holds one buffer, however many rows there are.
//   S1. The order is total (key, then seq) and depends on the rows alone: not on the buffer's size, not on the number of runs.
//   S2. What fits in the buffer never touches the disk.
//   S3. `arrival` keeps the order of `add` and skips the sorting: one file, written and read front to back.

import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { compareEncoded, compareKeys, encodeRecord, HEADER_BYTES, openRun, recordAt, type RunReader, type SpillRecord } from "./spill-record.js";

export const DEFAULT_SPILL_BYTES = 24 * 1_048_576;
/** Runs that are merged at once: each holds a read buffer and an open file. */
const FAN_IN = 64;
const WRITE_BYTES = 1_048_576;
/** Records are given back in batches of about this much text, so that the loop over them stays synchronous. */
const BATCH_CHARACTERS = 262_144;
const BATCH_RECORDS = 1_024;

export interface Spill {
  /** A promise when the buffer is being emptied: await it before the next record. */
  add(record: SpillRecord): Promise<void> | null;
  /** All records in order; once, after the last `add`. */
  read(): AsyncIterable<readonly SpillRecord[]>;
}

/** `name` begins the names of its files in `folder`, which whoever owns the folder removes. */
export function createSpill(options: { folder: string; name: string; order: "key" | "arrival"; bufferBytes?: number }): Spill {
  const { folder, name, order, bufferBytes = DEFAULT_SPILL_BYTES } = options;
  let buffer = Buffer.allocUnsafe(0);
  let used = 0;
  let starts: number[] = [];
  let runs: string[] = [];
  let runCount = 0;

  function add(record: SpillRecord): Promise<void> | null {
    const most = HEADER_BYTES + record.text.length * 3;
    if (buffer.length - used >= most) return put(record);
    const needed = HEADER_BYTES + Buffer.byteLength(record.text, "utf8");
    if (buffer.length - used >= needed) return put(record);
    if (used > 0 && used + needed > bufferBytes) return empty().then(() => void add(record));
    grow(used + needed);
    return put(record);
  }

  function put(record: SpillRecord): null {
    starts.push(used);
    used = encodeRecord(buffer, used, record);
    return null;
  }

  /** Doubles up to `bufferBytes`: few rows take little memory. A single longer record gets what it needs. */
  function grow(needed: number): void {
    const next = Buffer.allocUnsafe(Math.max(needed, Math.min(bufferBytes, Math.max(65_536, buffer.length * 2))));
    buffer.copy(next, 0, 0, used);
    buffer = next;
  }

  function sortedPositions(): number[] {
    const positions = starts.map((_, position) => position);
    return order === "arrival" ? positions : positions.sort((a, b) => compareEncoded(buffer, starts[a]!, starts[b]!));
  }

  function recordEnd(position: number): number {
    return starts[position + 1] ?? used;
  }

  /** Writes what is buffered as a run (or, in order of arrival, to the end of the only one). */
  async function empty(): Promise<void> {
    if (order === "arrival") {
      const path = join(folder, `${name}.run`);
      const handle = await open(path, "a");
      await writeAll(handle, buffer.subarray(0, used)).finally(() => handle.close());
      runs = [path];
    } else {
      const out = await createRun();
      for (const position of sortedPositions()) {
        const writing = out.append(buffer.subarray(starts[position]!, recordEnd(position)));
        if (writing !== undefined) await writing;
      }
      await out.close();
    }
    used = 0;
    starts = [];
    if (buffer.length > bufferBytes) buffer = Buffer.allocUnsafe(0);
  }

  async function createRun(): Promise<RunWriter> {
    const path = join(folder, `${name}-${runCount++}.run`);
    const out = await openRunWriter(path);
    runs.push(path);
    return out;
  }

  async function* read(): AsyncGenerator<readonly SpillRecord[]> {
    if (runs.length === 0) {
      const batch = createBatch();
      for (const position of sortedPositions()) if (batch.add(recordAt(buffer, starts[position]!))) yield batch.take();
      yield batch.take();
      return;
    }
    if (used > 0) await empty();
    buffer = Buffer.allocUnsafe(0);
    while (runs.length > FAN_IN) await mergeSome(runs.splice(0, FAN_IN));
    yield* merged(runs);
  }

  async function mergeSome(paths: readonly string[]): Promise<void> {
    const out = await createRun();
    for await (const batch of merged(paths)) for (const record of batch) await out.append(encoded(record));
    await out.close();
    for (const path of paths) await rm(path, { force: true });
  }

  return { add, read };
}

interface RunWriter {
  append(bytes: Buffer): Promise<void> | undefined;
  close(): Promise<void>;
}

async function openRunWriter(path: string): Promise<RunWriter> {
  const handle = await open(path, "wx");
  const buffer = Buffer.allocUnsafe(WRITE_BYTES);
  let used = 0;

  function append(bytes: Buffer): Promise<void> | undefined {
    if (used + bytes.length > buffer.length) return flush().then(() => (bytes.length > buffer.length ? writeAll(handle, bytes) : append(bytes)));
    used += bytes.copy(buffer, used);
    return undefined;
  }

  async function flush(): Promise<void> {
    await writeAll(handle, buffer.subarray(0, used));
    used = 0;
  }

  return { append, close: () => flush().finally(() => handle.close()) };
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let from = 0; from < bytes.length; ) from += (await handle.write(bytes, from, bytes.length - from)).bytesWritten;
}

function encoded(record: SpillRecord): Buffer {
  const buffer = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(record.text, "utf8"));
  encodeRecord(buffer, 0, record);
  return buffer;
}

interface Batch {
  /** True when the batch is full. */
  add(record: SpillRecord): boolean;
  /** What was gathered; begins anew. */
  take(): readonly SpillRecord[];
}

function createBatch(): Batch {
  let records: SpillRecord[] = [];
  let characters = 0;
  return {
    add(record) {
      records.push(record);
      characters += record.text.length;
      return records.length >= BATCH_RECORDS || characters >= BATCH_CHARACTERS;
    },
    take() {
      const full = records;
      records = [];
      characters = 0;
      return full;
    },
  };
}

/** The records of sorted runs as one sorted sequence: a heap of the runs by the record each stands on. */
async function* merged(paths: readonly string[]): AsyncGenerator<readonly SpillRecord[]> {
  const readers: RunReader[] = [];
  const batch = createBatch();
  try {
    const heap: RunReader[] = [];
    for (const path of paths) {
      const reader = await openRun(path);
      readers.push(reader);
      if (await reader.advance()) push(heap, reader);
    }
    while (heap.length > 0) {
      const least = heap[0]!;
      if (batch.add(least.record())) yield batch.take();
      const step = least.advance();
      const more = typeof step === "boolean" ? step : await step;
      if (!more) {
        const last = heap.pop()!;
        if (last !== least) heap[0] = last;
      }
      sink(heap);
    }
    yield batch.take();
  } finally {
    for (const reader of readers) await reader.close();
  }
}

function push(heap: RunReader[], reader: RunReader): void {
  heap.push(reader);
  for (let at = heap.length - 1; at > 0; ) {
    const parent = (at - 1) >> 1;
    if (compareKeys(heap[parent]!.key, heap[at]!.key) <= 0) return;
    [heap[parent], heap[at]] = [heap[at]!, heap[parent]!];
    at = parent;
  }
}

/** Restores the heap after its first element changed. */
function sink(heap: RunReader[]): void {
  for (let at = 0; ; ) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      if (child < heap.length && compareKeys(heap[child]!.key, heap[least]!.key) < 0) least = child;
    }
    if (least === at) return;
    [heap[at], heap[least]] = [heap[least]!, heap[at]!];
    at = least;
  }
}
