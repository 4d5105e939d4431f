// What this agent holds, folded from the journal's records: the same function runs while records are written and when they are replayed.
//   L1. An attempt is held from its acceptance until its `ended` report is committed, or until it is forgotten because its fence is over.
//   L2. An attempt that was held once is never accepted again (within the memory of FINISHED_KEPT attempts).
//   L3. A stop that comes before its assignment is remembered as an end: the attempt never starts here.

import type { AttemptId, CheckpointId } from "../../domain/ids.js";
import type { Held } from "../../protocol/messages.js";
import type { DeleteOrder, HeldAttempt, JournalRecord, Snapshot } from "./records.js";

/** Attempts remembered after their end. */
const FINISHED_KEPT = 200_000;
/** Of these, how many a snapshot repeats. */
const FINISHED_IN_SNAPSHOT = 20_000;

export class Ledger {
  readonly attempts = new Map<AttemptId, HeldAttempt>();
  readonly deletions = new Map<CheckpointId, DeleteOrder>();
  /** Number of the newest report that is on disk. */
  lastReport = 0;
  readonly #finished = new Set<AttemptId>();
  /** Ended attempts in order of their report number, for L1. */
  readonly #ended: { n: number; attemptId: AttemptId }[] = [];

  apply(record: JournalRecord): void {
    switch (record.kind) {
      case "snapshot": return this.#restore(record.body);
      case "accept":
        this.attempts.set(record.body.assignment.attemptId, { assignment: record.body.assignment, acceptedAt: record.body.at, stop: null, program: null, started: false, ended: null, log: null, metrics: null });
        return;
      case "stop": {
        const held = this.attempts.get(record.body.attemptId);
        if (held !== undefined) held.stop = record.body;
        else this.#remember(record.body.attemptId); // L3
        return;
      }
      case "delete":
        this.deletions.set(record.body.checkpointId, record.body);
        return;
      case "deleted":
        this.deletions.delete(record.body.checkpointId);
        return;
      case "program": {
        const held = this.attempts.get(record.body.attemptId);
        if (held !== undefined) held.program = record.body.program;
        return;
      }
      case "forget":
        this.#forget(record.body.attemptId);
        return;
      case "report": {
        const { body, sources } = record;
        this.lastReport = body.n;
        const held = this.attempts.get(body.attemptId);
        if (held === undefined) return;
        if (body.type === "started") held.started = true;
        if (body.type === "ended") {
          held.ended = body.n;
          this.#ended.push({ n: body.n, attemptId: body.attemptId });
        }
        if (sources?.log !== undefined) held.log = sources.log;
        if (sources?.metrics !== undefined) held.metrics = sources.metrics;
        if (sources?.streams !== undefined) held.streams = sources.streams;
        if (sources?.training !== undefined) held.training = sources.training;
        if (sources?.samples !== undefined) held.samples = sources.samples;
      }
    }
  }

  /** L1. Reports up to `watermark` are committed. */
  commit(watermark: number): void {
    this.lastReport = Math.max(this.lastReport, watermark); // a journal restored from an old copy goes on above what the control plane has seen
    while (this.#ended[0] !== undefined && this.#ended[0].n <= watermark) this.#forget((this.#ended.shift() as { attemptId: AttemptId }).attemptId);
  }

  /** Whether the attempt is held or was (L2, L3). */
  knows(attemptId: AttemptId): boolean {
    return this.attempts.has(attemptId) || this.#finished.has(attemptId);
  }

  held(): Held[] {
    return [...this.attempts.values()].map(({ assignment }) => ({ attemptId: assignment.attemptId, fence: assignment.fence }));
  }

  /** Attempts whose end is not yet recorded. */
  unfinished(): HeldAttempt[] {
    return [...this.attempts.values()].filter((held) => held.ended === null);
  }

  snapshot(): Snapshot {
    return { lastReport: this.lastReport, attempts: [...this.attempts.values()], finished: [...this.#finished].slice(-FINISHED_IN_SNAPSHOT), deletions: [...this.deletions.values()] };
  }

  #restore(snapshot: Snapshot): void {
    this.attempts.clear();
    this.deletions.clear();
    this.#ended.length = 0;
    this.lastReport = Math.max(this.lastReport, snapshot.lastReport);
    for (const id of snapshot.finished) this.#finished.add(id);
    for (const held of snapshot.attempts) {
      this.attempts.set(held.assignment.attemptId, held);
      if (held.ended !== null) this.#ended.push({ n: held.ended, attemptId: held.assignment.attemptId });
    }
    for (const order of snapshot.deletions) this.deletions.set(order.checkpointId, order);
  }

  #forget(attemptId: AttemptId): void {
    this.attempts.delete(attemptId);
    this.#remember(attemptId);
  }

  #remember(attemptId: AttemptId): void {
    this.#finished.add(attemptId);
    if (this.#finished.size > FINISHED_KEPT) this.#finished.delete(this.#finished.values().next().value as AttemptId);
  }
}
