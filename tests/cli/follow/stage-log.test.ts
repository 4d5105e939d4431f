// Following a log while the server is away, at the moments at which the follower itself asks: a restart of a real server hits them only now and then.
import { expect, test } from "vitest";
import type { ApiClient } from "../../../src/cli/api/client.js";
import type { Stream, StreamOptions, SubscriptionClient } from "../../../src/cli/api/subscriptions.js";
import { UnreachableError } from "../../../src/cli/exit-codes.js";
import { followLog, type LogSource } from "../../../src/cli/follow/stage-log.js";

const LOG = Array.from({ length: 100 }, (_, n) => `line ${n}\n`).join("");
const refused = () => new UnreachableError("http://127.0.0.1:1/graphql", "connection refused", "Start it.", { code: "ECONNREFUSED" });

/** A log of a stage that is told chunk by chunk, behind a server that refuses its n-th to m-th query. */
function world(away: { readonly from: number; readonly to: number }) {
  let queries = 0;
  const api = {
    call: (_query: string, { fromByte, maxBytes }: { fromByte: number; maxBytes: number }) => {
      if (++queries >= away.from && queries <= away.to) return Promise.reject(refused());
      const toByte = Math.min(LOG.length, fromByte + Math.min(maxBytes, 300)); // a server's slices may be smaller than what is asked for
      return Promise.resolve({ stage: { logs: { fromByte, toByte, text: LOG.slice(fromByte, toByte), skippedBytes: 0, totalBytes: LOG.length } } });
    },
  } as unknown as ApiClient;
  let tell: StreamOptions<unknown>["onItem"] = () => undefined;
  const subscriptions: SubscriptionClient = {
    stream<Item>({ onItem }: StreamOptions<Item>): Stream {
      tell = onItem as typeof tell;
      let stop: () => void = () => undefined;
      const done = new Promise<void>((resolve) => { stop = resolve; });
      return { done, stop };
    },
    close: () => undefined,
  };
  const printed: string[] = [];
  const interrupt = new AbortController();
  const source: LogSource = { api, stageId: "stg_x", attempt: null, patience: interrupt.signal };
  const followed = followLog(source, subscriptions, 0, { text: (text) => void printed.push(text), gap: (bytes) => void printed.push(`[${bytes}]`) });
  return { followed, interrupt, printed, queries: () => queries, chunk: (fromByte: number, toByte: number) => tell({ fromByte, toByte, text: LOG.slice(fromByte, toByte), skippedBytes: 0 }) };
}

test.each([1, 2, 3])("what a stream left out is fetched when the server is back, once, though it goes away at query %i", async (from) => {
  const { followed, printed, chunk } = world({ from, to: from + 1 });
  chunk(0, 100);
  chunk(700, 750); // 600 bytes before it were left out: three slices
  followed.end();
  await followed.done;
  expect(printed.join("")).toBe(LOG);
});

test("whoever stops while the server is away is let go", async () => {
  const { followed, interrupt, queries, chunk } = world({ from: 1, to: Infinity });
  chunk(500, 600);
  await expect.poll(queries).toBeGreaterThan(0);
  interrupt.abort();
  followed.stop();
  await expect(followed.done).rejects.toBeInstanceOf(UnreachableError);
});
