// The spool: reports numbered 1, 2, 3 … in the journal, kept until the control plane has committed them.
//   S1. A report gets its number when it is written: a refused one leaves no hole.
//   S2. Only what is on disk is sent; only what is at or below the watermark is dropped.
//   S3. Memory holds a window of texts (WINDOW_BYTES); the rest is read back from the journal when its turn comes.
//   S4. At `limitBytes` logs and metrics wait (`room`); the reports of starts and ends never do.
//   S5. A control plane that was restored from a backup asks for reports that it had committed and we dropped. Empty ones of no attempt take their place,
//       so that the numbers go on; it refuses each of them.

import { closeSync, openSync, readSync } from "node:fs";
import { LIMITS, type Report } from "../../protocol/messages.js";
import type { Entry, Journal, Place } from "./journal.js";
import type { Ledger } from "./ledger.js";
import { bodyOf, encodeRecord, type JournalRecord, type Sources } from "./records.js";

/** Report texts kept in memory, in bytes. */
const WINDOW_BYTES = 16 * 1024 * 1024;

const NO_ATTEMPT = `att_${"0".repeat(26)}`;

/** A report before it has its number. */
export type Draft = Report extends infer R ? (R extends Report ? Omit<R, "n"> : never) : never;

interface Spooled { readonly n: number; readonly place: Place; text: string | null }

export interface Batch {
  /** Numbers of the first and the last report in it. */
  readonly from: number;
  readonly to: number;
  /** The reports as JSON, each. */
  readonly texts: readonly string[];
}

export class Spool {
  readonly #journal: Journal;
  readonly #ledger: Ledger;
  readonly #limitBytes: number;
  readonly #onDurable: () => void;
  #pending: Spooled[] = [];
  #head = 0;
  #bytes = 0;
  #windowBytes = 0;
  #watermark: number;
  #draft = 0;
  #waitingForRoom: (() => void)[] = [];

  constructor(options: { journal: Journal; ledger: Ledger; limitBytes: number; replayed: readonly { n: number; place: Place }[]; onDurable: () => void }) {
    this.#journal = options.journal;
    this.#ledger = options.ledger;
    this.#limitBytes = options.limitBytes;
    this.#onDurable = options.onDurable;
    this.#pending = options.replayed.map(({ n, place }) => ({ n, place, text: null }));
    this.#bytes = this.#pending.reduce((sum, item) => sum + item.place.length, 0);
    this.#watermark = (this.#pending[0]?.n ?? this.#ledger.lastReport + 1) - 1;
    this.#ledger.commit(this.#watermark); // the journal's snapshot may be older than the commit of what it no longer holds
  }

  /** Number of the newest report that is on disk. */
  get last(): number { return this.#ledger.lastReport; }
  get watermark(): number { return this.#watermark; }
  /** Bytes of reports that are not committed. */
  get bytes(): number { return this.#bytes; }

  /** The journal puts a new batch together: numbers go on from what is on disk. */
  beforeBatch(): void {
    this.#draft = this.#ledger.lastReport;
  }

  /** The entries that record these reports, for `journal.append`; `sources` belongs to the last of them. Vital unless said otherwise: what changes state. */
  entries(drafts: readonly Draft[], sources: Sources | null = null, options: { readonly vital?: boolean } = {}): Entry[] {
    return drafts.map((draft, i) => {
      const tail = JSON.stringify(draft).slice(1);
      const ofLast = i === drafts.length - 1 ? sources : null;
      let n = 0;
      let text = "";
      return {
        vital: options.vital ?? (draft.type === "started" || draft.type === "ended" || draft.type === "checkpoint-deleted"),
        line: () => {
          n = ++this.#draft; // S1
          text = `{"n":${n},${tail}`;
          return encodeRecord("report", text, ofLast);
        },
        written: (place) => {
          this.#ledger.apply({ kind: "report", body: { ...draft, n } as Report, sources: ofLast } satisfies JournalRecord);
          const keep = this.#windowBytes < WINDOW_BYTES; // S3
          this.#pending.push({ n, place, text: keep ? text : null });
          if (keep) this.#windowBytes += place.length;
          this.#bytes += place.length;
          if (i === drafts.length - 1) this.#onDurable();
        },
      };
    });
  }

  /** Appends reports; resolves when they are durable. Rejects as `Journal.append`. */
  append(drafts: readonly Draft[], sources: Sources | null = null, options: { readonly vital?: boolean } = {}): Promise<void> {
    return this.#journal.append(this.entries(drafts, sources, options));
  }

  /** The reports after number `after`, as many as fit into one batch; null when there are none. */
  take(after: number): Batch | null {
    const kept = this.#pending[this.#head]?.n ?? this.#ledger.lastReport + 1;
    if (after + 1 < kept) { // S5
      const to = Math.min(after + LIMITS.reportsPerBatch, kept - 1);
      return { from: after + 1, to, texts: Array.from({ length: to - after }, (_, i) => `{"n":${after + 1 + i},"type":"progress","attemptId":"${NO_ATTEMPT}","fence":1,"at":0,"step":0,"totalSteps":null}`) };
    }
    const first = this.#head + (after + 1 - kept);
    const texts: string[] = [];
    let bytes = 0;
    let to = 0;
    for (let i = first; i < this.#pending.length && texts.length < LIMITS.reportsPerBatch; i++) {
      const item = this.#pending[i] as Spooled;
      bytes += item.place.length;
      if (texts.length > 0 && bytes > LIMITS.batchBytes) break;
      texts.push(item.text ?? this.#readBack(item.place));
      to = item.n;
    }
    return texts.length === 0 ? null : { from: (this.#pending[first] as Spooled).n, to, texts };
  }

  /** Everything up to `watermark` is committed: drops it, and the segments nothing needs any more. */
  commit(watermark: number): void {
    if (watermark <= this.#watermark) return;
    while (this.#head < this.#pending.length && (this.#pending[this.#head] as Spooled).n <= watermark) {
      const item = this.#pending[this.#head++] as Spooled;
      this.#bytes -= item.place.length;
      if (item.text !== null) this.#windowBytes -= item.place.length;
    }
    if (this.#head > 1_000 && this.#head * 2 > this.#pending.length) {
      this.#pending = this.#pending.slice(this.#head);
      this.#head = 0;
    }
    this.#watermark = watermark;
    this.#ledger.commit(watermark);
    this.#journal.dropBelow(this.#pending[this.#head]?.place.segment ?? this.#journal.segment());
    if (this.#bytes < this.#limitBytes) for (const go of this.#waitingForRoom.splice(0)) go();
  }

  /** S5. The control plane knows less than it once confirmed. */
  regress(watermark: number): void {
    this.#watermark = Math.min(this.#watermark, watermark);
  }

  /** S4. Resolves when logs and metrics may be appended. */
  async room(): Promise<void> {
    while (this.#bytes >= this.#limitBytes) await new Promise<void>((resolve) => this.#waitingForRoom.push(resolve));
  }

  #readBack(place: Place): string {
    const handle = openSync(this.#journal.fileOf(place.segment), "r");
    try {
      const bytes = Buffer.alloc(place.length);
      readSync(handle, bytes, 0, place.length, place.offset);
      return bodyOf(bytes.toString("utf8"));
    } finally {
      closeSync(handle);
    }
  }
}
