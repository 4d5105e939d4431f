// Takes orders in, whichever way they come: each is recorded once, with one write for all that come together, before it is acknowledged or carried out.
//   O1. `take` resolves when the orders are durable; only then are they acknowledged to whoever brought them.
//   O2. A repeated order changes nothing.
//   O3. A stop of an attempt that is not here is answered as its end, and remembered: should the assignment still come, it never starts.

import type { Logger } from "pino";
import type { AttemptId } from "../domain/ids.js";
import { orderSchema, type Order } from "../protocol/messages.js";
import type { Attempts } from "./attempts.js";
import { JournalFullError } from "./journal/journal-errors.js";
import type { Entry, Journal } from "./journal/journal.js";
import type { Ledger } from "./journal/ledger.js";
import { encodeRecord, type DeleteOrder, type JournalRecord } from "./journal/records.js";
import type { Draft, Spool } from "./journal/spool.js";
import { failpoint } from "../failpoints.js";

export interface OrderInbox {
  /** Checks, records and carries out. `orders` is what came over the wire. Resolves with whether any of them was new; rejects only with the journal's error. */
  take(orders: readonly unknown[]): Promise<boolean>;
  /** Goes on with what an earlier agent process had taken and not finished. */
  resume(): void;
}

export interface OrderInboxOptions {
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly spool: Spool;
  readonly attempts: Attempts;
  /** Deletes the files of a checkpoint; resolves with the bytes freed. */
  deleteCheckpoint(path: string): Promise<number>;
  readonly epoch: string;
  readonly log: Logger;
  /** Why no new attempt may start now, in words for the control plane; null when one may. */
  refuses(): string | null;
  /** Reports up to here are committed. */
  committed(watermark: number): void;
  fatal(error: Error): void;
}

export function createOrderInbox(options: OrderInboxOptions): OrderInbox {
  const { journal, ledger, spool, attempts, log } = options;
  /** Attempts of which a first order is being recorded just now (O2). */
  const arriving = new Set<AttemptId>();
  const deleting = new Set<string>();

  const record = (kind: "accept" | "stop" | "delete", body: unknown): Entry => ({
    vital: false,
    line: () => encodeRecord(kind, JSON.stringify(body)),
    written: () => ledger.apply({ kind, body } as JournalRecord),
  });
  const ended = (attemptId: AttemptId, fence: number, outcome: Extract<Draft, { type: "ended" }>["outcome"]): Entry[] => spool.entries([{ type: "ended", attemptId, fence, at: Date.now(), outcome }]);

  const carryOutDeletion = (order: DeleteOrder): void => {
    if (deleting.has(order.checkpointId)) return;
    deleting.add(order.checkpointId);
    options.deleteCheckpoint(order.path)
      .then((freedBytes) => ({ freedBytes, error: null }), (error: unknown) => ({ freedBytes: 0, error: (error as Error).message.slice(0, 2_000) }))
      .then(({ freedBytes, error }) => journal.append([
        ...spool.entries([{ type: "checkpoint-deleted", attemptId: order.attemptId, fence: order.fence, at: Date.now(), checkpointId: order.checkpointId, freedBytes, error }]),
        { vital: true, line: () => encodeRecord("deleted", JSON.stringify({ checkpointId: order.checkpointId })), written: () => ledger.apply({ kind: "deleted", body: { checkpointId: order.checkpointId } }) },
      ]))
      .catch((error: unknown) => options.fatal(error as Error))
      .finally(() => deleting.delete(order.checkpointId));
  };

  return {
    async take(wire) {
      const entries: Entry[] = [];
      const acts: (() => void)[] = [];
      const came: AttemptId[] = [];
      const first = (attemptId: AttemptId): boolean => {
        if (ledger.knows(attemptId) || arriving.has(attemptId)) return false;
        arriving.add(attemptId);
        came.push(attemptId);
        return true;
      };
      for (const order of wire.flatMap((item) => parseOrder(item, log))) {
        switch (order.type) {
          case "watermark":
            if (order.epoch === options.epoch) options.committed(order.watermark);
            break;
          case "assign": {
            const { assignment } = order;
            if (!first(assignment.attemptId)) break;
            const refusal = options.refuses();
            if (refusal !== null) {
              entries.push(...ended(assignment.attemptId, assignment.fence, { kind: "REFUSED", reason: refusal }));
              break;
            }
            entries.push(record("accept", { assignment, at: Date.now() }));
            acts.push(() => {
              const held = ledger.attempts.get(assignment.attemptId);
              if (held !== undefined) attempts.begin(held);
            });
            break;
          }
          case "stop": {
            const held = ledger.attempts.get(order.attemptId);
            if (order.cause === "STALE") {
              acts.push(() => attempts.disown([{ attemptId: order.attemptId, fence: order.fence, message: order.reason }]));
            } else if (held !== undefined || arriving.has(order.attemptId)) {
              if (held?.stop == null) entries.push(record("stop", order));
              acts.push(() => attempts.stop(order));
            } else if (first(order.attemptId)) {
              entries.push(record("stop", order), ...ended(order.attemptId, order.fence, { kind: "STOPPED" })); // O3
            }
            break;
          }
          case "delete-checkpoint":
            if (!ledger.deletions.has(order.checkpointId)) entries.push(record("delete", order));
            acts.push(() => carryOutDeletion(order));
            break;
        }
      }
      try {
        await append(journal, entries, () => {
          // The disk is full: what was to begin is refused with what the reserve holds, the rest comes again.
          const assigned = wire.flatMap((item) => parseOrder(item, log)).flatMap((order) => (order.type === "assign" && came.includes(order.assignment.attemptId) ? [order.assignment] : []));
          return assigned.flatMap(({ attemptId, fence }) => ended(attemptId, fence, { kind: "REFUSED", reason: "The disk of this agent is full." }));
        });
      } finally {
        for (const attemptId of came) arriving.delete(attemptId);
      }
      if (entries.length > 0) failpoint("after-journal-accept");
      for (const act of acts) act();
      return entries.length > 0;
    },
    resume() {
      for (const held of ledger.unfinished()) attempts.begin(held);
      for (const order of ledger.deletions.values()) carryOutDeletion(order);
    },
  };
}

async function append(journal: Journal, entries: readonly Entry[], whenFull: () => readonly Entry[]): Promise<void> {
  if (entries.length === 0) return;
  try {
    await journal.append(entries);
  } catch (error) {
    if (!(error instanceof JournalFullError)) throw error;
    await journal.append(whenFull());
  }
}

function parseOrder(item: unknown, log: Logger): Order[] {
  const parsed = orderSchema.safeParse(item);
  if (parsed.success) return [parsed.data];
  log.error({ problem: parsed.error.issues[0]?.message, at: parsed.error.issues[0]?.path.join(".") }, "an order of an unknown form was left out; is the control plane newer than this agent?");
  return [];
}
