// The log of one stage as it grows. It reads from where the reader stands, so nothing is held for it and nothing is left out but what the log itself lacks.

import { TOPICS, type Wakeups } from "../../actors/control-plane.js";
import type { Db } from "../../db/database.js";
import { readLog } from "../../db/telemetry/logs.js";
import type { StageId } from "../../domain/ids.js";
import { mustExist } from "./metric-stream.js";
import { pullStream } from "./pull-stream.js";

export interface LogItem { readonly fromByte: number; readonly toByte: number; readonly text: string; readonly skippedBytes: number }

export interface LogStreamOptions {
  readonly db: Db;
  readonly wakeups: Wakeups;
  readonly stageId: StageId;
  /** Null: from its present end. */
  readonly fromByte: number | null;
}

const CHUNK_BYTES = 65_536;

export function logStream({ db, wakeups, stageId, fromByte }: LogStreamOptions): AsyncIterableIterator<LogItem> {
  let hush: (() => void) | null = null;
  let place = fromByte ?? 0;
  const read = () => readLog(db, { stageId, fromByte: place, maxBytes: CHUNK_BYTES, attempt: null });

  return pullStream<LogItem>({
    idleEveryMs: 60_000,
    idle: () => null,
    async start(wake) {
      hush = wakeups.listen(TOPICS.telemetry(stageId), wake);
      await mustExist(db, stageId);
      if (fromByte === null) place = (await read()).totalBytes;
    },
    async page() {
      const { totalBytes, ...chunk } = await read();
      if (chunk.toByte <= place) return { items: [], then: "wait" };
      place = chunk.toByte;
      return { items: [chunk], then: place < totalBytes ? "more" : "wait" };
    },
    stop: () => hush?.(),
  });
}
