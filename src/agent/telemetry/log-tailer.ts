// Publishes a program's log file as it grows.

import type { LogSource } from "../journal/records.js";
import { readFrom } from "./file-reader.js";
import { LogFolder, tailLines } from "./log-folder.js";
import type { Publisher } from "./publisher.js";
import type { Redactor } from "./redactor.js";
import type { StreamMerger } from "./stream-merger.js";

/** Bytes read between two records of how far we are: small enough that they make one chunk, which is recorded whole. */
const STEP_BYTES = 24 * 1024;
/** How much of the file's end a failure quotes from, in bytes. */
const TAIL_BYTES = 128 * 1024;

export interface LogTailer {
  /** Publishes what is there, and what has rested for long enough. */
  advance(): Promise<void>;
  /** The program has ended: publishes all of it. */
  finish(): Promise<void>;
  /** Puts a line of the agent's own into the log. */
  notice(text: string): void;
}

/** `merger`: fills the file from the program's two outputs. */
export function createLogTailer(options: { file: string; redactor: Redactor; source: LogSource | null; publisher: Publisher; merger?: StreamMerger }): LogTailer {
  const { file, publisher, merger } = options;
  const folder = new LogFolder(options.redactor, options.source);
  let givenUp = false;

  const publishReady = async (): Promise<void> => {
    if (!folder.hasChunks || givenUp) return;
    const chunks = folder.takeChunks();
    const log = folder.source;
    const streams = merger === undefined ? {} : { streams: merger.source };
    if (await publisher.publish(chunks.map((chunk) => ({ type: "log", ...chunk })), { log, ...streams })) return;
    givenUp = true;
    const size = readFrom(file, 0, 0)?.size ?? log.offset;
    const fromByte = log.published + (size - log.offset);
    const skippedBytes = fromByte - (chunks[0]?.fromByte ?? 0) + (chunks[0]?.skippedBytes ?? 0);
    await publisher.publishVital([{ type: "log", fromByte, skippedBytes, text: "" }], { log: { offset: size, published: fromByte, taken: 0, skipping: false, skipped: 0 }, ...streams });
  };
  const readAll = async (ended: boolean): Promise<void> => {
    while (!givenUp) {
      const read = readFrom(file, folder.readOffset, STEP_BYTES);
      if (read === null || read.bytes.length === 0) {
        if (merger === undefined || !merger.advance(ended)) return;
        continue;
      }
      folder.push(read.bytes, performance.now());
      await publishReady();
    }
  };

  return {
    async advance() {
      await readAll(false);
      folder.rest(performance.now());
      await publishReady();
    },
    async finish() {
      await readAll(true);
      folder.end();
      await publishReady();
    },
    notice: (text) => folder.notice(options.redactor.redact(text)),
  };
}

/** The last lines of a log file as they are published; at most 50. */
export function readLogTail(file: string, redactor: Redactor): string[] {
  const size = readFrom(file, 0, 0)?.size ?? 0;
  const from = Math.max(0, size - TAIL_BYTES);
  const read = readFrom(file, from, TAIL_BYTES);
  return read === null ? [] : tailLines(read.bytes, from === 0, redactor, 50);
}
