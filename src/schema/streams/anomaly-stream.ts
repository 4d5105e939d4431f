// Live anomalies of one pipeline. Positions rise in the order of commits (db/anomalies.ts, N2), so reading after the newest one that was given misses none and repeats none.

import { TOPICS, type Wakeups } from "../../actors/control-plane.js";
import type { AnomalyRow } from "../../db/anomalies.js";
import type { PipelineId } from "../../domain/ids.js";
import { pullStream } from "./pull-stream.js";

export interface AnomalyStreamOptions {
  readonly wakeups: Wakeups;
  readonly pipelineId: PipelineId;
  /** The position after which it begins. */
  readonly after: number;
  readonly read: (position: number, limit: number) => Promise<readonly AnomalyRow[]>;
}

const PAGE = 100;

export function anomalyStream({ wakeups, pipelineId, after, read }: AnomalyStreamOptions): AsyncIterableIterator<AnomalyRow> {
  let hush: (() => void) | null = null;
  let position = after;
  return pullStream<AnomalyRow>({
    idleEveryMs: 60_000,
    idle: () => null,
    start(wake) {
      hush = wakeups.listen(TOPICS.anomalies(pipelineId), wake);
      return Promise.resolve();
    },
    async page() {
      const items = await read(position, PAGE);
      position = items.at(-1)?.position ?? position;
      return { items, then: items.length === PAGE ? "more" : "wait" };
    },
    stop: () => hush?.(),
  });
}
