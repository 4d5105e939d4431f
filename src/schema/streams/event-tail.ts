// The tail of the event log: one reader per process, however many subscribers. It keeps the newest events in memory and wakes who waits for them.
//   T1. Runs only while somebody is attached; then it holds one wake-up registration and no timer of its own.
//   T2. Positions are dense and become visible in order (the counter is taken under a lock), so reading after the last position misses nothing. A hole can
//       only be old: events that retention removed. The memory then starts anew behind it.
//   T3. Memory is bounded by number and by bytes; who stands before it reads SQL.
//   T4. What it hands out are the same objects to everyone: an event is executed and serialised once (shared-execution.ts).

import { sql } from "kysely";
import type { Logger } from "pino";
import { TOPICS, type Wakeups } from "../../actors/control-plane.js";
import type { Db } from "../../db/database.js";
import type { PipelineId } from "../../domain/ids.js";
import { makeItem, type EventItem } from "./event-item.js";

/** An event as stored; the payload stays text until somebody asks for it. */
export interface StoredEvent {
  readonly position: number;
  readonly pipelineId: PipelineId;
  readonly seq: number;
  readonly type: string;
  readonly stage: string | null;
  readonly payloadText: string;
  readonly at: Date;
}

export interface Attachment {
  /** Resolves when the tail stands somewhere: from then on it wakes for every event after `position`. */
  readonly ready: Promise<void>;
  detach(): void;
}

export interface EventTail {
  /** Wakes for events of one pipeline, or of all (null). */
  attach(pipelineId: PipelineId | null, wake: () => void): Attachment;
  /** Up to `limit` events after a position, or after a seq of one pipeline. Null: they are not all in memory, ask SQL. */
  after(pipelineId: PipelineId | null, place: number, limit: number): readonly StoredEvent[] | null;
  /** The event as an item of the fleet's or of its pipeline's stream; the same object each time, so that what is made from it can be shared. */
  itemOf(event: StoredEvent, fleet: boolean): EventItem;
  /** Subscribers attached. */
  readonly attached: number;
}

const READ_AT_ONCE = 1_000;
const RETRY_AFTER_MS = 500;

export interface TailDependencies {
  readonly db: Db;
  readonly wakeups: Wakeups;
  readonly log: Pick<Logger, "warn">;
  /** Events kept in memory; default 10,000. */
  readonly keepEvents?: number;
  /** Bytes of payload kept in memory; default 64 MiB. */
  readonly keepBytes?: number;
}

/** The columns of a StoredEvent. */
export function selectEvents(db: Db) {
  return db.selectFrom("events").select(["position", "pipeline_id as pipelineId", "seq", "type", "stage", "at"]).select(sql<string>`payload::text`.as("payloadText"));
}

/** Position of the newest event over all pipelines. */
export async function headPosition(db: Db): Promise<number> {
  return (await db.selectFrom("event_counter").select("position").executeTakeFirstOrThrow()).position;
}

export function createEventTail({ db, wakeups, log, keepEvents = 10_000, keepBytes = 64 * 1_048_576 }: TailDependencies): EventTail {
  const everyone = new Set<() => void>();
  const byPipeline = new Map<PipelineId, Set<() => void>>();
  let attached = 0;
  let run: { readonly ready: Promise<void>; stop(): void } | null = null;
  let memory = newMemory();
  const fleetItems = new WeakMap<StoredEvent, EventItem>();
  const pipelineItems = new WeakMap<StoredEvent, EventItem>();

  function attach(pipelineId: PipelineId | null, wake: () => void): Attachment {
    const group = pipelineId === null ? everyone : (byPipeline.get(pipelineId) ?? new Set());
    if (pipelineId !== null) byPipeline.set(pipelineId, group);
    group.add(wake);
    attached++;
    run ??= start();
    let here = true;
    return {
      ready: run.ready,
      detach() {
        if (!here) return;
        here = false;
        group.delete(wake);
        if (pipelineId !== null && group.size === 0 && byPipeline.get(pipelineId) === group) byPipeline.delete(pipelineId);
        if (--attached > 0) return;
        run?.stop(); // T1
        run = null;
        memory = newMemory();
      },
    };
  }

  function start(): { ready: Promise<void>; stop(): void } {
    const mine = memory;
    let stopped = false, reading = false, again = false;
    let retry: NodeJS.Timeout | null = null;
    let stood: (() => void) | null = null;
    const ready = new Promise<void>((resolve) => { stood = resolve; });

    async function read(): Promise<void> {
      again = true;
      if (reading) return;
      reading = true;
      try {
        while (again && !stopped) {
          again = false;
          if (stood !== null) {
            mine.startAt(await headPosition(db));
            stood();
            stood = null;
          }
          for (;;) {
            const rows = await selectEvents(db).where("position", ">", mine.position).orderBy("position").limit(READ_AT_ONCE).execute();
            if (stopped) return;
            mine.add(rows);
            mine.trim(keepEvents, keepBytes);
            ring(rows);
            if (rows.length < READ_AT_ONCE) break;
          }
        }
      } catch (error) {
        if (stopped) return;
        log.warn({ err: error }, "new events could not be read; subscribers wait until the database answers again");
        retry ??= setTimeout(() => { retry = null; void read(); }, RETRY_AFTER_MS).unref();
      } finally {
        reading = false;
      }
    }

    const hush = wakeups.listen(TOPICS.events, () => void read());
    void read();
    return {
      ready,
      stop() {
        stopped = true;
        hush();
        if (retry !== null) clearTimeout(retry);
        stood?.();
      },
    };
  }

  function ring(rows: readonly StoredEvent[]): void {
    if (rows.length === 0) return;
    for (const wake of [...everyone]) wake();
    if (byPipeline.size === 0) return;
    for (const id of new Set(rows.map((row) => row.pipelineId))) for (const wake of [...(byPipeline.get(id) ?? [])]) wake();
  }

  function itemOf(event: StoredEvent, fleet: boolean): EventItem {
    const items = fleet ? fleetItems : pipelineItems;
    let item = items.get(event);
    if (item === undefined) items.set(event, (item = makeItem(event, fleet)));
    return item;
  }

  return {
    attach,
    itemOf,
    after: (pipelineId, place, limit) => memory.after(pipelineId, place, limit),
    get attached() { return attached; },
  };
}

function newMemory() {
  let events: StoredEvent[] = [];
  let ofPipeline = new Map<PipelineId, StoredEvent[]>();
  let bytes = 0;
  let position = 0;

  function startAt(newPosition: number): void {
    events = [];
    ofPipeline = new Map();
    bytes = 0;
    position = newPosition;
  }

  return {
    /** The newest position read. */
    get position() { return position; },
    startAt,
    add(rows: readonly StoredEvent[]): void {
      for (const row of rows) {
        if (row.position !== position + 1) startAt(row.position - 1); // T2
        position = row.position;
        events.push(row);
        bytes += row.payloadText.length;
        const own = ofPipeline.get(row.pipelineId);
        if (own === undefined) ofPipeline.set(row.pipelineId, [row]);
        else own.push(row);
      }
    },
    /** T3. A quarter more than `keepEvents` may gather before the oldest go, so that trimming is rare. */
    trim(keepEvents: number, keepBytes: number): void {
      if (events.length <= keepEvents * 1.25 && bytes <= keepBytes) return;
      let cut = Math.max(0, events.length - keepEvents);
      let left = bytes;
      for (let i = 0; i < cut; i++) left -= events[i]!.payloadText.length;
      while (left > keepBytes && cut < events.length) left -= events[cut++]!.payloadText.length;
      const gone = new Map<PipelineId, number>();
      for (const { pipelineId } of events.splice(0, cut)) gone.set(pipelineId, (gone.get(pipelineId) ?? 0) + 1);
      for (const [id, count] of gone) {
        const own = ofPipeline.get(id)!;
        if (own.length === count) ofPipeline.delete(id);
        else own.splice(0, count);
      }
      bytes = left;
    },
    after(pipelineId: PipelineId | null, place: number, limit: number): readonly StoredEvent[] | null {
      if (pipelineId === null) {
        if (place >= position) return [];
        const from = place + 1 - (position - events.length + 1);
        return from < 0 ? null : events.slice(from, from + limit);
      }
      const own = ofPipeline.get(pipelineId);
      const first = own?.[0]?.seq;
      if (own === undefined || first === undefined || first > place + 1) return null;
      const from = place + 1 - first;
      return from >= own.length ? [] : own.slice(from, from + limit);
    },
  };
}
