// The control plane's end of the fast link: orders and watermarks out, reports in.
//   H1. Nothing here is the only copy: orders stand in the assignments table, reports in the agents' spools.
//   H2. A report entry is acknowledged after its commit; what a crash left unacknowledged is read again and absorbed by the watermark.
//   H3. An agent's Redis user is made when its session opens and again whenever Redis is (back) there: a restarted server has forgotten its users, and an agent
//       that connected while Redis was away has its link waiting. The password follows from what Postgres holds, so any process can make it again.
//   H4. Redis away or frozen is noticed within `SILENCE_MS`; the hub reconnects by itself, agents use HTTPS meanwhile, and then all orders go out again.

import type { Logger } from "pino";
import { connectRedis, type RedisAddress, type RedisConnection } from "../bus/connection.js";
import { CONTROL_PLANE_GROUP, busKeys } from "../bus/keys.js";
import { acknowledge, appendBatches, streamReader, type StreamEntry } from "../bus/streams.js";
import { TrainyardError, UnavailableError } from "../domain/errors.js";
import type { AgentId } from "../domain/ids.js";
import { failpoint } from "../failpoints.js";
import { reportBatchSchema, type Order, type ReportsAccepted, type Report, type SessionOpened } from "../protocol/messages.js";

const SILENCE_MS = 3_000;
const BLOCK_MS = 1_000;
const RECONNECT_MS = 1_000;
const ENTRIES_PER_READ = 500;

export interface AgentSession { readonly agentId: AgentId; readonly password: string }

export interface RedisHubOptions {
  readonly address: RedisAddress;
  /** How agents reach the same Redis. */
  readonly agentUrl: string;
  readonly prefix: string;
  readonly log: Logger;
  /** The open sessions, or that of one agent, each with the password of its Redis user. */
  readonly sessions: (agentId: AgentId | null) => Promise<readonly AgentSession[]>;
  readonly report: (agentId: AgentId, epoch: string, reports: readonly Report[]) => Promise<ReportsAccepted>;
  /** Redis is (back) there, or lost what was in it: publish what is outstanding. */
  readonly onReady: () => void;
}

export class RedisHub {
  readonly #options: RedisHubOptions;
  readonly #keys: ReturnType<typeof busKeys>;
  #writer: RedisConnection | null = null;
  #reading: { stop(): Promise<void> } | null = null;
  #agents: readonly AgentId[] = [];
  #closed = false;
  #connecting: Promise<void>;

  constructor(options: RedisHubOptions) {
    this.#options = options;
    this.#keys = busKeys(options.prefix);
    this.#connecting = this.#keepConnected();
  }

  get connected(): boolean {
    return this.#writer !== null;
  }

  /** Sends orders after their commit. Lost ones are published again from the table (H1). */
  publish(orders: ReadonlyMap<AgentId, readonly Order[]>): void {
    if (this.#writer === null || orders.size === 0) return;
    const batches = [...orders].map(([agentId, list]) => ({ key: this.#keys.orders(agentId), batch: JSON.stringify(list) }));
    appendBatches(this.#writer, batches).then(() => failpoint("after-publish")).catch((error: unknown) => this.#options.log.warn({ err: error }, "orders did not reach Redis; they are published again"));
  }

  /** Makes the agent's user and names its streams. While Redis is away the agent learns where it will be (H3); null when Redis refuses to make users. */
  async fastLink(agentId: AgentId): Promise<SessionOpened["redis"]> {
    const [session] = await this.#options.sessions(agentId);
    if (session === undefined || (this.#writer !== null && !(await this.#makeUser(this.#writer, session)))) return null;
    return { url: this.#options.agentUrl, ordersKey: this.#keys.orders(agentId), reportsKey: this.#keys.reports(agentId), username: agentId, password: session.password };
  }

  /** False when the server refused; a connection that ends meanwhile is no refusal. */
  async #makeUser(writer: RedisConnection, { agentId, password }: AgentSession): Promise<boolean> {
    const commands = ["xreadgroup", "xack", "xdel", "xadd", "xgroup|create", "ping", "hello", "auth", "client|setname"].map((name) => `+${name}`);
    try {
      await writer.command(["ACL", "SETUSER", agentId, "reset", "on", `>${password}`, `~${this.#keys.agentPattern(agentId)}`, ...commands]);
      return true;
    } catch (error) {
      if (error instanceof UnavailableError) return true;
      this.#options.log.warn({ err: error, agentId }, "Redis refused to make a user for the agent; it uses HTTPS");
      return false;
    }
  }

  /** Reads reports of these agents from now on; calling again changes the list. Only the dispatcher reads. */
  read(agents: readonly AgentId[]): void {
    this.#agents = agents;
    this.#reading ??= this.#readLoop();
  }

  async stopReading(): Promise<void> {
    const reading = this.#reading;
    this.#reading = null;
    await reading?.stop();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.stopReading();
    this.#writer?.close();
    await this.#connecting;
  }

  async #keepConnected(): Promise<void> {
    let complained = false;
    while (!this.#closed) {
      let connection: RedisConnection | null = null;
      try {
        connection = await connectRedis(this.#options.address, { silenceMs: SILENCE_MS });
        if (this.#closed) return connection.close();
        const writer = connection;
        this.#writer = writer; // before the sessions are read: one that opens just now makes its user itself
        await Promise.all((await this.#options.sessions(null)).map((session) => this.#makeUser(writer, session))); // H3
        complained = false;
        this.#options.log.info("Redis is there: agents get the fast link");
        this.#options.onReady();
        // A frozen server says nothing: ask, so that it is noticed.
        const asking = setInterval(() => { writer.command(["PING"]).catch(() => undefined); }, BLOCK_MS);
        const reason = await writer.over;
        clearInterval(asking);
        this.#writer = null;
        if (!this.#closed) this.#options.log.warn({ err: reason }, "Redis is away: agents use HTTPS until it is back");
      } catch (error) {
        if (!complained) this.#options.log.warn({ err: error }, "Redis cannot be used; trying again every second");
        complained = true;
        this.#writer = null;
        connection?.close();
      }
      if (!this.#closed) await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
    }
  }

  #readLoop(): { stop(): Promise<void> } {
    let stopped = false;
    let connection: RedisConnection | null = null;
    const loop = (async () => {
      while (!stopped) {
        if (this.#writer === null || this.#agents.length === 0) {
          await new Promise((resolve) => setTimeout(resolve, 100));
          continue;
        }
        try {
          connection = await connectRedis(this.#options.address, { silenceMs: SILENCE_MS });
          const reader = streamReader(connection, CONTROL_PLANE_GROUP);
          while (!stopped) {
            const keys = new Map(this.#agents.map((agentId) => [this.#keys.reports(agentId), agentId]));
            const { entries, recreated } = await reader.read({ keys: [...keys.keys()], blockMs: BLOCK_MS, count: ENTRIES_PER_READ });
            if (recreated.length > 0) this.#options.onReady();
            const byAgent = new Map<AgentId, StreamEntry[]>();
            for (const entry of entries) {
              const agentId = keys.get(entry.key)!;
              const list = byAgent.get(agentId);
              if (list === undefined) byAgent.set(agentId, [entry]);
              else list.push(entry);
            }
            await Promise.all([...byAgent].map(([agentId, list]) => this.#take(agentId, list)));
          }
        } catch (error) {
          if (!stopped) this.#options.log.warn({ err: error }, "reading reports from Redis broke off; they are read again");
          await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS / 4));
        } finally {
          connection?.close();
        }
      }
    })();
    return {
      stop: async () => {
        stopped = true;
        connection?.close();
        await loop;
      },
    };
  }

  /** H2: commit, then acknowledge, then tell the agent how far it is. Entries of one agent are handed over together and in order. */
  async #take(agentId: AgentId, entries: readonly StreamEntry[]): Promise<void> {
    const byEpoch = new Map<string, Report[]>();
    for (const entry of entries) {
      const batch = entry.batch === null ? null : reportBatchSchema.safeParse(JSON.parse(entry.batch));
      if (batch === null) continue;
      if (!batch.success) {
        this.#options.log.error({ agentId, problems: batch.error.issues.slice(0, 5) }, "a report batch could not be read and was dropped; the agent will resend it over HTTPS");
        continue;
      }
      const reports = byEpoch.get(batch.data.epoch) ?? [];
      byEpoch.set(batch.data.epoch, reports);
      reports.push(...(batch.data.reports as Report[]));
    }
    const answers = new Map<AgentId, Order[]>();
    for (const [epoch, reports] of byEpoch) {
      const accepted = await this.#options.report(agentId, epoch, reports).catch((error: unknown) => {
        // Refused for good: read again it would be refused again. The agent learns why from its next session.
        if (error instanceof TrainyardError && !error.retryable) return null;
        throw error;
      });
      if (accepted === null) continue;
      answers.set(agentId, [{ type: "watermark", epoch, watermark: accepted.watermark }, ...accepted.refused.map((one): Order => ({ type: "stop", attemptId: one.attemptId, fence: one.fence, cause: "STALE", reason: one.message }))]);
    }
    if (this.#writer === null) return;
    failpoint("after-inbox-commit-before-ack");
    await acknowledge(this.#writer, CONTROL_PLANE_GROUP, entries);
    failpoint("after-ack-before-watermark");
    this.publish(answers);
  }
}
