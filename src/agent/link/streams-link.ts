// The fast link: two Redis streams, orders read by a consumer group, reports appended.
//   T1. A blocking read has a connection of its own, and waits less long than silence may last: a frozen server is noticed within SILENCE_MS.
//   T2. An order leaves the stream (XACK, XDEL) after it is in the journal.

import { acknowledge, appendBatches, streamReader, type StreamEntry } from "../../bus/streams.js";
import { connectRedis } from "../../bus/connection.js";
import { AGENT_GROUP } from "../../bus/keys.js";
import type { SessionOpened } from "../../protocol/messages.js";
import type { AgentLink } from "./agent-link.js";

/** How long a read waits in the server, and how long silence may last; milliseconds. */
const BLOCK_MS = 2_000;
const SILENCE_MS = 3_500;
/** Entries read at once. */
const READ_COUNT = 500;

/** Connects. Throws UnavailableError. */
export async function openStreamsLink(options: { redis: NonNullable<SessionOpened["redis"]>; epoch: string }): Promise<AgentLink> {
  const { redis, epoch } = options;
  const [reading, writing] = await Promise.allSettled([connectRedis(redis, { silenceMs: SILENCE_MS }), connectRedis(redis, { silenceMs: SILENCE_MS })]);
  if (reading.status === "rejected" || writing.status === "rejected") {
    for (const one of [reading, writing]) if (one.status === "fulfilled") one.value.close();
    throw (reading.status === "rejected" ? reading.reason : (writing as PromiseRejectedResult).reason) as Error;
  }
  const close = (): void => {
    reading.value.close();
    writing.value.close();
  };
  void reading.value.over.then(close); // one gone: the link is over (K3)
  void writing.value.over.then(close);
  const reader = streamReader(reading.value, AGENT_GROUP);

  return {
    kind: "streams",
    async receive() {
      const { entries, recreated } = await reader.read({ keys: [redis.ordersKey], blockMs: BLOCK_MS, count: READ_COUNT });
      return {
        orders: entries.flatMap(ordersIn),
        mayHaveLost: recreated.length > 0 || entries.some((entry) => entry.batch === null),
        acknowledge: () => {
          if (entries.length > 0) acknowledge(writing.value, AGENT_GROUP, entries).catch(close); // T2
        },
      };
    },
    async send(batch) {
      await appendBatches(writing.value, [{ key: redis.reportsKey, batch: `{"epoch":${JSON.stringify(epoch)},"reports":[${batch.texts.join(",")}]}` }]);
      return { watermark: null, refused: [] };
    },
    close,
  };
}

function ordersIn(entry: StreamEntry): unknown[] {
  if (entry.batch === null) return [];
  try {
    const orders: unknown = JSON.parse(entry.batch);
    return Array.isArray(orders) ? orders : [];
  } catch {
    return []; // nobody's order; acknowledged so that it does not come for ever
  }
}
