// Live points of one stage. Each batch is read when it is asked for, so a slow reader costs nothing but points that are dropped and counted.

import { TOPICS, type Wakeups } from "../../actors/control-plane.js";
import type { Db } from "../../db/database.js";
import { readNewPoints, type NewPoint } from "../../db/telemetry/new-points.js";
import { NotFoundError } from "../../domain/errors.js";
import type { StageId } from "../../domain/ids.js";
import { pullStream, type Page } from "./pull-stream.js";

export interface MetricItem { readonly points: readonly NewPoint[]; readonly dropped: number }

export interface MetricStreamOptions {
  readonly db: Db;
  readonly wakeups: Wakeups;
  readonly stageId: StageId;
  /** Null: all. */
  readonly names: readonly string[] | null;
  /** Null: from now on. */
  readonly afterStep: number | null;
  /** Points of one batch; default 5,000. */
  readonly limit?: number;
}

/** Batches are at least this far apart, in milliseconds: enough for an eye, and points of one moment come together. */
const GAP_MS = 100;
const LIMIT = 5_000;

export function metricStream({ db, wakeups, stageId, names, afterStep, limit = LIMIT }: MetricStreamOptions): AsyncIterableIterator<MetricItem> {
  let hush: (() => void) | null = null;
  let timer: NodeJS.Timeout | null = null;
  let cursor: string | null = null;
  let lastAt = 0;
  let first: MetricItem | null = null;

  async function read(): Promise<MetricItem> {
    const found = await readNewPoints(db, { stageId, names, after: cursor, afterStep, limit });
    cursor = found.cursor;
    return { points: found.points, dropped: found.dropped };
  }
  const pageOf = (item: MetricItem): Page<MetricItem> => {
    if (item.points.length === 0 && item.dropped === 0) return { items: [], then: "wait" };
    lastAt = Date.now();
    return { items: [item], then: "wait" };
  };

  return pullStream<MetricItem>({
    idleEveryMs: 60_000,
    idle: () => null,
    async start(wake) {
      hush = wakeups.listen(TOPICS.telemetry(stageId), () => {
        timer ??= setTimeout(() => {
          timer = null;
          wake();
        }, Math.max(0, lastAt + GAP_MS - Date.now()));
      });
      await mustExist(db, stageId);
      first = await read(); // fixes where "now" is
    },
    async page() {
      const held = first;
      first = null;
      if (held !== null && (held.points.length > 0 || held.dropped > 0)) return { ...pageOf(held), then: "more" };
      return pageOf(await read());
    },
    stop() {
      hush?.();
      if (timer !== null) clearTimeout(timer);
    },
  });
}

/** Throws NotFoundError when there is no such stage. */
export async function mustExist(db: Db, stageId: StageId): Promise<void> {
  const row = await db.selectFrom("stages").select("id").where("id", "=", stageId).executeTakeFirst();
  if (row === undefined) throw new NotFoundError("stage", stageId);
}
