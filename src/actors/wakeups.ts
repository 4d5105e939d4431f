// Wake-ups: who waits for news is rung, here at once and in other control-plane processes through Postgres NOTIFY. They carry no data and may be lost: every
// topic that is listened to is also rung once a second (decision 0008).

import pg from "pg";
import type { Logger } from "pino";
import type { Wakeups } from "./control-plane.js";

const CHANNEL = "trainyard_wakeups";
const GATHER_MS = 10;
const POLL_MS = 1_000;
/** NOTIFY takes 8,000 bytes; above this many topics everything is rung. */
const MAX_TOPICS = 150;

export interface RunningWakeups extends Wakeups {
  stop(): Promise<void>;
}

/** Starts listening to other processes on a connection of its own; a lost connection is opened again. */
export function startWakeups(options: { databaseUrl: string; pool: pg.Pool; log: Logger; self: string }): RunningWakeups {
  const listeners = new Map<string, Set<() => void>>();
  const toSend = new Set<string>();
  let sending: NodeJS.Timeout | null = null;
  let stopped = false;
  let client: pg.Client | null = null;
  let reconnect: NodeJS.Timeout | null = null;

  const ring = (topic: string): void => {
    for (const wake of listeners.get(topic) ?? []) wake();
  };
  const ringAll = (): void => {
    for (const topic of listeners.keys()) ring(topic);
  };
  const poll = setInterval(ringAll, POLL_MS);
  poll.unref();

  const send = (): void => {
    sending = null;
    const topics = toSend.size > MAX_TOPICS ? ["*"] : [...toSend];
    toSend.clear();
    options.pool.query("select pg_notify($1, $2)", [CHANNEL, JSON.stringify([options.self, ...topics])]).catch((error: unknown) => options.log.debug({ err: error }, "a wake-up was not sent; others will look within a second"));
  };
  const connect = async (): Promise<void> => {
    const fresh = new pg.Client({ connectionString: options.databaseUrl, application_name: "trainyard wake-ups", keepAlive: true });
    fresh.on("error", () => undefined);
    fresh.on("end", () => { if (client === fresh) { client = null; later(); } });
    fresh.on("notification", ({ payload }) => {
      const [from, ...topics] = JSON.parse(payload ?? "[]") as string[];
      if (from === options.self) return;
      if (topics.includes("*")) ringAll();
      else topics.forEach(ring);
    });
    await fresh.connect();
    await fresh.query(`listen ${CHANNEL}`);
    if (stopped) return void fresh.end().catch(() => undefined);
    client = fresh;
    ringAll();
  };
  const later = (): void => {
    if (stopped) return;
    reconnect = setTimeout(() => { connect().catch(later); }, POLL_MS);
  };
  connect().catch(later);

  return {
    listen(topic, wake) {
      const set = listeners.get(topic) ?? new Set();
      listeners.set(topic, set);
      set.add(wake);
      return () => {
        set.delete(wake);
        if (set.size === 0 && listeners.get(topic) === set) listeners.delete(topic);
      };
    },
    wake(topics) {
      for (const topic of topics) {
        ring(topic);
        toSend.add(topic);
      }
      if (!stopped && toSend.size > 0) sending ??= setTimeout(send, GATHER_MS);
    },
    async stop() {
      stopped = true;
      clearInterval(poll);
      if (sending !== null) clearTimeout(sending);
      if (reconnect !== null) clearTimeout(reconnect);
      const last = client;
      client = null;
      await last?.end().catch(() => undefined);
    },
  };
}
