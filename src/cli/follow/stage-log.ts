// Reads the log of one stage by byte offsets: what is there, and what comes.
//   G1. Nothing is printed twice and nothing is left out in silence: the position only moves forward, over text or over a declared gap.
//   G2. What a stream left out is fetched again from the log itself; only what is gone there too is declared.
//   G3. After a stage's end everything that is still in the log is read before the reading ends: its last report came after its last line.
//   G4. While the server is away, whoever follows waits for it; whoever only reads is told.
import { patiently, persistently, type ApiClient } from "../api/client.js";
import type { SubscriptionClient } from "../api/subscriptions.js";
import { CliError, EXIT } from "../exit-codes.js";

export interface LogSink {
  text(text: string, fromByte: number, toByte: number): void;
  /** Bytes that nobody can read any more. */
  gap(bytes: number): void;
}

interface Slice { readonly fromByte: number; readonly toByte: number; readonly text: string; readonly skippedBytes: number; readonly totalBytes: number }
type Chunk = Omit<Slice, "totalBytes">;

export interface LogSource {
  readonly api: ApiClient;
  readonly stageId: string;
  /** Only this attempt; null: the logs of all, one after the other. */
  readonly attempt: number | null;
  /** G4: waits for a server that is away, until this aborts. Null: only a short while. */
  readonly patience: AbortSignal | null;
}

const SLICE_BYTES = 262_144;
const TAIL_WINDOW_BYTES = 65_536;

export async function readSlice({ api, stageId, attempt, patience }: LogSource, fromByte: number, maxBytes = SLICE_BYTES): Promise<Slice> {
  const ask = () => persistently(3, () => api.call<{ stage: { logs: Slice } | null }>(
    "query Log($id: ID!, $fromByte: SafeInt!, $maxBytes: Int!, $attempt: Int) { stage(id: $id) { logs(fromByte: $fromByte, maxBytes: $maxBytes, attempt: $attempt) { fromByte toByte text skippedBytes totalBytes } } }",
    { id: stageId, fromByte, maxBytes, attempt }));
  const { stage } = await (patience === null ? ask() : patiently(ask, patience));
  if (stage === null) throw new CliError(EXIT.notFound, `There is no stage ${stageId}.`);
  return stage.logs;
}

/** Prints from a byte to the present end, or to `before`; gives where it stopped. */
export async function printLog(source: LogSource, fromByte: number, sink: LogSink, before = Infinity): Promise<number> {
  for (let position = fromByte; ; ) {
    const slice = await readSlice(source, position, Math.max(1, Math.min(SLICE_BYTES, before - position)));
    if (slice.skippedBytes > 0) sink.gap(slice.skippedBytes);
    if (slice.text !== "") sink.text(slice.text, slice.fromByte, slice.toByte);
    if (slice.toByte <= position || slice.toByte >= Math.min(before, slice.totalBytes)) return Math.max(position, slice.toByte);
    position = slice.toByte;
  }
}

/** The last lines of what is there, and where they end. */
export async function lastLines(source: LogSource, lines: number): Promise<{ text: string; toByte: number }> {
  const { totalBytes } = await readSlice(source, 0, 1);
  for (let window = TAIL_WINDOW_BYTES; ; window *= 4) {
    const fromByte = Math.max(0, totalBytes - window);
    const parts: string[] = [];
    const toByte = await printLog(source, fromByte, { text: (text) => void parts.push(text), gap: (bytes) => void parts.push(`[${bytes} bytes left out]\n`) }, totalBytes);
    const all = parts.join("").split(/(?<=\n)/);
    if (all.length > lines || fromByte === 0) return { text: lines === 0 ? "" : all.slice(-lines).join(""), toByte };
  }
}

export interface FollowedLog {
  /** Resolves when all is printed after end(), or after stop(). Rejects with CliError. */
  readonly done: Promise<void>;
  /** The stage is over: G3. */
  end(): void;
  stop(): void;
}

/** Prints what comes from a byte on. */
export function followLog(source: LogSource, subscriptions: SubscriptionClient, fromByte: number, sink: LogSink): FollowedLog {
  let position = fromByte;
  let work: Promise<unknown> = Promise.resolve();
  let ended = false;
  const variables: Record<string, unknown> = { stageId: source.stageId, fromByte };
  const catchUp = async (before?: number) => void (position = await printLog(source, position, sink, before));
  const take = async (chunk: Chunk) => {
    if (chunk.toByte <= position) return; // G1
    if (source.attempt !== null) return catchUp(); // the stream knows no attempts: it only says that there is something
    if (chunk.fromByte > position) await catchUp(chunk.fromByte); // G2
    if (chunk.fromByte < position) return catchUp(chunk.toByte); // overlaps what was read meanwhile
    sink.text(chunk.text, chunk.fromByte, chunk.toByte);
    position = chunk.toByte;
  };
  const stream = subscriptions.stream<Chunk>({
    query: "subscription Log($stageId: ID!, $fromByte: SafeInt) { stageLogs(stageId: $stageId, fromByte: $fromByte) { fromByte toByte text skippedBytes } }",
    variables,
    onItem(chunk) {
      variables["fromByte"] = Math.max(Number(variables["fromByte"]), chunk.toByte);
      work = work.then(() => take(chunk));
      work.catch(() => stream.stop());
    },
  });
  return {
    done: stream.done.then(() => work).then(() => (ended ? catchUp() : undefined)),
    end() {
      ended = true;
      stream.stop();
    },
    stop: () => stream.stop(),
  };
}
