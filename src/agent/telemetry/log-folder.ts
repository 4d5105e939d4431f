// From the bytes a program wrote to the log that is published: UTF-8 lines, progress bars folded, escape sequences and secrets taken out.
//   F1. What is published is a function of the file's bytes and of when they were looked at; after a restart `source` says where to go on, and
//       nothing is published twice or left out.
//   F2. Of a line rewritten with carriage returns only the last part stays; one that is rewritten for long is shown every SHOW_MS, as a line of its own.
//   F3. A line longer than LINE_LIMIT is cut; the rest is declared as a gap. Gaps count in the addresses of the published log.
//   F4. A line without an end is published as far as it is certain (no half character, escape sequence or secret) after it rested for REST_MS.

import type { LogSource } from "../journal/records.js";
import { LIMITS } from "../../protocol/messages.js";
import type { Redactor } from "./redactor.js";

/** Longest line that is published whole, in bytes of the file. */
export const LINE_LIMIT = 32 * 1024;
export const SHOW_MS = 5_000;
export const REST_MS = 1_000;

const LF = 10;
const CR = 13;
// Escape sequences (CSI, OSC, device strings, two-character ones) and control characters other than tab.
const CONTROL = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])|[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const UNFINISHED_ESCAPE = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[PX^_][^\x1b]*\x1b?|[ -/]*)$/;

export interface LogChunk {
  /** Address of the text in the published log, in bytes. */
  readonly fromByte: number;
  /** Bytes left out before it. */
  readonly skippedBytes: number;
  readonly text: string;
}

export class LogFolder {
  readonly #redactor: Redactor;
  #offset: number;
  #published: number;
  #taken: number;
  #skipping: boolean;
  #skipped: number;
  /** Bytes of the file from `offset` on. */
  #raw: Buffer = Buffer.alloc(0);
  /** Where the part of the line that is being written begins in `raw`; before it: an earlier part that may still be the last one (F2). */
  #part = 0;
  /** End of that earlier part, when there is one; it begins at 0. */
  #earlierEnd: number | null = null;
  #searched = 0;
  #shownAt = Number.NEGATIVE_INFINITY;
  #grewAt = 0;
  #chunks: { fromByte: number; skippedBytes: number; text: string; bytes: number }[] = [];

  constructor(redactor: Redactor, source: LogSource | null) {
    this.#redactor = redactor;
    this.#offset = source?.offset ?? 0;
    this.#published = source?.published ?? 0;
    this.#taken = source?.taken ?? 0;
    this.#skipping = source?.skipping ?? false;
    this.#skipped = source?.skipped ?? 0;
  }

  /** Where in the file the next bytes are expected. */
  get readOffset(): number { return this.#offset + this.#raw.length; }

  /** What to remember together with the chunks that `takeChunks` gave last. */
  get source(): LogSource {
    return { offset: this.#offset, published: this.#published, taken: this.#taken, skipping: this.#skipping, skipped: this.#skipped };
  }

  /** More of the file. `at`: monotonic milliseconds. */
  push(bytes: Buffer, at: number): void {
    if (bytes.length > 0) {
      this.#raw = this.#raw.length === 0 ? bytes : Buffer.concat([this.#raw, bytes]);
      this.#grewAt = at;
    }
    this.#fold(false);
    this.#showRewritten(at);
  }

  /** Time passed without more bytes. */
  rest(at: number): void {
    this.#showRewritten(at);
    if (at - this.#grewAt >= REST_MS && !this.#skipping) this.#showUnended(at);
  }

  /** The program has ended: what is left is the last line. */
  end(): void {
    this.#fold(true);
    if (this.#skipping) this.#endSkipping();
    if (this.#raw.length > 0) {
      const text = this.#lineText(this.#raw.length);
      this.#emit(this.#redactor.redact(text.slice(this.#taken)));
      this.#consume(this.#raw.length);
    }
  }

  /** A line of the agent's own, put between two of the program's. */
  notice(text: string): void {
    if (this.#taken > 0) this.#emit("\n");
    // What follows of an unended line begins a line of its own; `taken` keeps what was published of it.
    this.#emit(`[trainyard] ${text}\n`);
  }

  /** What is ready to be published, in chunks of at most LIMITS.logChunkBytes. */
  takeChunks(): LogChunk[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.map(({ fromByte, skippedBytes, text }) => ({ fromByte, skippedBytes, text }));
  }

  get hasChunks(): boolean { return this.#chunks.length > 0; }

  #fold(ended: boolean): void {
    for (;;) {
      const at = this.#nextBreak();
      if (at === null) {
        if (this.#skipping) this.#skip(this.#raw.length);
        else if (this.#raw.length - this.#part > LINE_LIMIT) this.#cut();
        else if (this.#raw.length > 2 * LINE_LIMIT && this.#earlierEnd !== null) this.#publishEarlier();
        else return;
        if (this.#raw.length === 0) return;
        continue;
      }
      const isCr = this.#raw[at] === CR;
      if (isCr && at + 1 === this.#raw.length && !ended) return; // a line feed may follow
      const isEnd = !isCr || this.#raw[at + 1] === LF;
      const next = at + (isCr && isEnd ? 2 : 1);
      if (this.#skipping) {
        this.#skip(at);
        this.#consume(next - at);
        this.#endSkipping();
      } else if (at - this.#part > LINE_LIMIT) {
        this.#cut();
      } else if (isEnd) {
        const text = this.#lineText(at);
        this.#emit(`${this.#redactor.redact(text.slice(this.#taken))}\n`);
        this.#consume(next);
      } else {
        this.#rewrite(at);
      }
    }
  }

  /** A carriage return at `at` ends a part of the line (F2). */
  #rewrite(at: number): void {
    const text = clean(decode(this.#raw.subarray(this.#part, at)));
    if (this.#taken > 0) {
      this.#emit(`${this.#redactor.redact(text.slice(this.#taken))}\n`); // what is published cannot be folded any more
      this.#consume(at + 1);
    } else if (text.trim() === "" && this.#earlierEnd !== null) {
      this.#part = at + 1;
      this.#searched = at + 1;
    } else {
      const length = at - this.#part;
      this.#consume(this.#part);
      this.#earlierEnd = length;
      this.#part = length + 1;
      this.#searched = length + 1;
    }
  }

  /** The text of a line that ends at `at`: its last part, or the one before when that is blank. */
  #lineText(at: number): string {
    const last = clean(decode(this.#raw.subarray(this.#part, at)));
    return last.trim() === "" && this.#earlierEnd !== null ? clean(decode(this.#raw.subarray(0, this.#earlierEnd))) : last;
  }

  #showRewritten(at: number): void {
    if (this.#earlierEnd === null || at - this.#shownAt < SHOW_MS) return;
    const first = this.#shownAt === Number.NEGATIVE_INFINITY;
    this.#shownAt = at;
    if (!first) this.#publishEarlier();
  }

  #publishEarlier(): void {
    const end = this.#earlierEnd as number;
    const text = clean(decode(this.#raw.subarray(0, end)));
    if (text.trim() !== "") this.#emit(`${this.#redactor.redact(text)}\n`);
    this.#consume(end + 1);
  }

  /** F4. */
  #showUnended(at: number): void {
    if (this.#earlierEnd !== null && at - this.#shownAt < SHOW_MS) return;
    const raw = this.#raw.subarray(this.#part);
    const decoded = new TextDecoder("utf-8", { ignoreBOM: true }).decode(raw.at(-1) === CR ? raw.subarray(0, -1) : raw, { stream: true });
    const text = clean(decoded.replace(UNFINISHED_ESCAPE, ""));
    const safe = this.#redactor.safeLength(text);
    if (safe <= this.#taken || text.trim() === "") return;
    this.#consume(this.#part);
    this.#emit(this.#redactor.redact(text.slice(this.#taken, safe)));
    this.#taken = safe;
    this.#shownAt = at;
  }

  /** F3. The line that is being written is too long. */
  #cut(): void {
    this.#consume(this.#part);
    let end = LINE_LIMIT;
    while (end > LINE_LIMIT - 4 && ((this.#raw[end] as number) & 0xc0) === 0x80) end--;
    const text = clean(decode(this.#raw.subarray(0, end)).replace(UNFINISHED_ESCAPE, ""));
    const safe = Math.max(this.#redactor.safeLength(text), this.#taken);
    this.#emit(this.#redactor.redact(text.slice(this.#taken, safe)));
    const lost = Buffer.byteLength(text.slice(safe));
    this.#consume(end);
    this.#skipping = true;
    this.#skipped += lost;
  }

  #skip(length: number): void {
    this.#skipped += length;
    this.#consume(length);
  }

  #endSkipping(): void {
    this.#skipping = false;
    this.#emit("\n");
  }

  #consume(length: number): void {
    this.#raw = this.#raw.subarray(length);
    this.#offset += length;
    if (length > 0) this.#taken = 0;
    this.#part = 0;
    this.#earlierEnd = null;
    this.#searched = 0;
  }

  #nextBreak(): number | null {
    for (let i = this.#searched; i < this.#raw.length; i++) {
      if (this.#raw[i] === LF || this.#raw[i] === CR) {
        this.#searched = i; // a trailing carriage return is looked at again
        return i;
      }
    }
    this.#searched = this.#raw.length;
    return null;
  }

  #emit(text: string): void {
    if (text === "") return;
    const skippedBytes = this.#skipping ? 0 : this.#skipped;
    if (skippedBytes > 0) {
      this.#published += skippedBytes;
      this.#skipped = 0;
    }
    let gap = skippedBytes;
    for (const piece of pieces(text)) {
      const bytes = Buffer.byteLength(piece);
      const last = this.#chunks.at(-1);
      if (last !== undefined && gap === 0 && last.bytes + bytes <= LIMITS.logChunkBytes) {
        last.text += piece;
        last.bytes += bytes;
      } else {
        this.#chunks.push({ fromByte: this.#published, skippedBytes: gap, text: piece, bytes });
        gap = 0;
      }
      this.#published += bytes;
    }
  }
}

/** Text of a whole stretch of a log: its last `lines` lines, as published, from the file's last bytes. `whole`: the bytes begin at the file's beginning. */
export function tailLines(bytes: Buffer, whole: boolean, redactor: Redactor, lines: number): string[] {
  const folder = new LogFolder(redactor, null);
  folder.push(bytes, 0);
  folder.end();
  const all = folder.takeChunks().map((chunk) => chunk.text).join("").split("\n");
  if (all.at(-1) === "") all.pop();
  return (whole ? all : all.slice(1)).slice(-lines).map((line) => (line.length > 2_000 ? `${line.slice(0, 2_000)} …` : line));
}

function decode(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

function clean(text: string): string {
  return text.replace(CONTROL, "");
}

function pieces(text: string): string[] {
  if (text.length * 3 <= LIMITS.logChunkBytes) return [text];
  const size = Math.floor(LIMITS.logChunkBytes / 4);
  const parts: string[] = [];
  for (let from = 0; from < text.length;) {
    let to = Math.min(text.length, from + size);
    if (to < text.length && (text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to--;
    parts.push(text.slice(from, to));
    from = to;
  }
  return parts;
}
