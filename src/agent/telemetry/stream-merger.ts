// Brings a program's standard output and standard error, kept in two files, into one log file: whole lines, in the order in which they were seen.
//   S1. The log file is a function of the two files and of when they were looked at; `source` says how far it is. An agent that takes over cuts the log file
//       back to what is recorded and goes on from there: what came after it was published nowhere.
//   S2. A line goes over when its end is there (a line feed, or a carriage return with something behind it), when it is longer than LONGEST, or after it
//       rested for REST_MS. Lines of the two never stand in one line of the log.

import { appendFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import type { StreamsSource } from "../journal/records.js";
import { readFrom } from "./file-reader.js";

const LONGEST = 64 * 1024;
const REST_MS = 1_000;
const STEP_BYTES = 256 * 1024;

const LF = 10;
const CR = 13;

export interface StreamMerger {
  /** Brings over what is ready, some at a time; whether there was anything. `ended`: the program writes nothing more. */
  advance(ended: boolean): boolean;
  readonly source: StreamsSource;
}

export function createStreamMerger(options: { readonly stdout: string; readonly stderr: string; readonly log: string; readonly source: StreamsSource | null; readonly now?: () => number }): StreamMerger {
  const files = [options.stdout, options.stderr] as const;
  const now = options.now ?? (() => performance.now());
  let source: StreamsSource = options.source ?? { offsets: [0, 0], merged: 0, open: null };
  const waiting: [Waiting, Waiting] = [{ length: 0, since: now() }, { length: 0, since: now() }];
  if (statSync(options.log, { throwIfNoEntry: false }) === undefined) writeFileSync(options.log, "", { mode: 0o600 });
  truncateSync(options.log, source.merged); // S1; a log that lost its end with the power gets zeros, which are not published

  const bringOver = (stream: 0 | 1, ended: boolean): boolean => {
    const from = source.offsets[stream];
    const read = readFrom(files[stream], from, STEP_BYTES);
    if (read === null || read.bytes.length === 0) return false;
    const { bytes } = read;
    let length = readyLength(bytes);
    if (length === 0 && (ended || bytes.length > LONGEST || rested(waiting[stream], bytes.length, now()))) length = bytes.length;
    if (length === 0) return false;
    const piece = bytes.subarray(0, length);
    const text = source.open !== null && source.open !== stream ? Buffer.concat([Buffer.from("\n"), piece]) : piece; // S2
    try {
      appendFileSync(options.log, text);
    } catch {
      truncateSync(options.log, source.merged); // no room: it stays where it is until there is some
      return false;
    }
    const last = piece[piece.length - 1];
    const offsets: [number, number] = [...source.offsets];
    offsets[stream] = from + length;
    source = { offsets, merged: source.merged + text.length, open: last === LF || last === CR ? null : stream };
    waiting[stream] = { length: 0, since: now() };
    return true;
  };

  return {
    advance(ended) {
      const first = bringOver(0, ended);
      return bringOver(1, ended) || first;
    },
    get source() { return source; },
  };
}

interface Waiting { length: number; since: number }

function rested(waiting: Waiting, length: number, at: number): boolean {
  if (length !== waiting.length) {
    waiting.length = length;
    waiting.since = at;
    return false;
  }
  return at - waiting.since >= REST_MS;
}

/** Bytes up to and with the last end of a line. */
function readyLength(bytes: Buffer): number {
  const feed = bytes.lastIndexOf(LF);
  const carriage = bytes.subarray(0, -1).lastIndexOf(CR); // with one at the very end a line feed may follow
  const rewritten = bytes[carriage + 1] === LF ? -1 : carriage;
  return Math.max(feed, rewritten) + 1;
}
