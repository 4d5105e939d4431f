// The control plane as an agent sees it, in memory: speaks the agent protocol over a real HTTP server and, when given one, a real Redis. For tests of the
// agent only; it keeps the rules of PROTOCOL.md (dense numbers, watermarks, fences, repeated orders) and lets a test look and interfere.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { connectRedis, type RedisConnection } from "../../src/bus/connection.js";
import { busKeys, CONTROL_PLANE_GROUP } from "../../src/bus/keys.js";
import { acknowledge, appendBatches, streamReader } from "../../src/bus/streams.js";
import { newId, type AgentId, type AttemptId, type SessionId } from "../../src/domain/ids.js";
import {
  closeSessionSchema, openSessionSchema, orderKey, pollSchema, renewSchema, reportBatchSchema, sendReportsSchema,
  type Assignment, type OpenSession, type Order, type RefusedLease, type Renew, type Report, type ReportOf, type ReportType, type SessionOpened,
} from "../../src/protocol/messages.js";

export const PEER_TOKEN = "peer-token";

export interface PeerOptions {
  readonly redis?: { readonly url: string; readonly prefix: string } | null;
  readonly leaseTtlMs?: number;
  readonly renewEveryMs?: number;
  /** Orders that are not carried out are sent again after this, in milliseconds. */
  readonly republishAfterMs?: number;
}

export interface Peer {
  readonly url: string;
  readonly agentId: AgentId;
  /** Every report that was applied, in order. */
  readonly reports: Report[];
  /** Report numbers that came again after they were applied. */
  readonly absorbed: number[];
  /** Sessions that were opened, oldest first. */
  readonly sessions: OpenSession[];
  readonly renewals: Renew[];
  /** Number of poll calls that were answered. */
  polls(): number;
  watermark(): number;
  /** As after a restore from a backup: reports above are forgotten, and the session with them. */
  restore(watermark: number): void;
  /** Gives orders to the agent, over streams when there are some, and keeps them outstanding. */
  order(...orders: Order[]): void;
  /** Sends them exactly once more, whatever their state, over each link. */
  repeat(...orders: Order[]): void;
  /** From now on this attempt's fence is over. */
  replaceFence(attemptId: AttemptId): void;
  /** Resolves with the first report of that kind of that attempt. */
  report<T extends ReportType>(type: T, attemptId: AttemptId, deadlineMs?: number): Promise<ReportOf<T>>;
  /** The published log of an attempt so far; throws when a chunk does not follow the one before. */
  logOf(attemptId: AttemptId): string;
  /** Points of an attempt: [name, step, value]. */
  pointsOf(attemptId: AttemptId): [string, number, number | string][];
  until(holds: () => boolean, what: string, deadlineMs?: number): Promise<void>;
  /** Nobody listens any more; connections are cut. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** Reads reports from the stream or leaves them there. */
  pauseStreams(paused: boolean): void;
  /** Called for each HTTP call before it is answered; may delay it or answer it itself (then true). */
  intercept: ((path: string, response: ServerResponse, body: string) => boolean | Promise<boolean>) | null;
  stop(): Promise<void>;
}

export async function startPeer(options: PeerOptions = {}): Promise<Peer> {
  const agentId = newId("agt");
  const redis = options.redis ?? null;
  const keys = redis === null ? null : busKeys(redis.prefix);
  const reports: Report[] = [];
  const absorbed: number[] = [];
  const sessions: OpenSession[] = [];
  const renewals: Renew[] = [];
  const outstanding = new Map<string, Order>();
  const fencesOver = new Set<AttemptId>();
  const watermarks = new Map<string, number>();
  const pollers = new Set<() => void>();
  const watchers = new Set<() => void>();
  let sessionId: SessionId | null = null;
  let epoch = "";
  let polls = 0;
  let stopped = false;
  let streamsPaused = false;
  let connection: RedisConnection | null = null;
  let sayReading: () => void = () => undefined;
  const readingStreams = new Promise<void>((done) => { sayReading = done; });

  const changed = (): void => { for (const look of [...watchers]) look(); };
  const publish = (orders: readonly Order[]): void => {
    for (const wake of [...pollers]) wake();
    if (connection !== null && keys !== null && orders.length > 0) void appendBatches(connection, [{ key: keys.orders(agentId), batch: JSON.stringify(orders) }]).catch(() => undefined);
  };
  const refusedOf = (batch: readonly { attemptId: AttemptId; fence: number }[]): RefusedLease[] =>
    batch.filter(({ attemptId }) => fencesOver.has(attemptId)).map(({ attemptId, fence }) => ({ attemptId, fence, message: `fence ${fence} of ${attemptId} is over` }));
  const apply = (ofEpoch: string, batch: readonly Report[]): number => {
    let mark = watermarks.get(ofEpoch) ?? 0;
    for (const report of batch) {
      if (report.n <= mark) {
        absorbed.push(report.n);
        continue;
      }
      if (report.n !== mark + 1) break; // a gap
      mark = report.n;
      if (!fencesOver.has(report.attemptId)) reports.push(report);
      if (report.type === "started" || report.type === "ended") outstanding.delete(`assign:${report.attemptId}`);
      if (report.type === "ended") for (const key of [...outstanding.keys()]) if (key.startsWith(`stop:${report.attemptId}:`)) outstanding.delete(key);
      if (report.type === "checkpoint-deleted") outstanding.delete(`delete:${report.checkpointId}`);
    }
    watermarks.set(ofEpoch, mark);
    changed();
    return mark;
  };

  const answer = async (path: string, body: unknown): Promise<{ status: number; json: unknown }> => {
    const known = (id: SessionId) => id === sessionId;
    const gone = { status: 409, json: { code: "SESSION_OVER", message: "this session is over", retryable: true } };
    switch (path) {
      case "/agent/v1/session": {
        const opening = openSessionSchema.parse(body);
        sessions.push(opening);
        sessionId = newId("ses");
        epoch = opening.epoch;
        const opened: SessionOpened = {
          agentId, sessionId, leaseTtlMs: options.leaseTtlMs ?? 600_000, renewEveryMs: options.renewEveryMs ?? 200, watermark: watermarks.get(epoch) ?? 0,
          redis: redis === null || keys === null ? null : { url: redis.url, username: null, password: null, ordersKey: keys.orders(agentId), reportsKey: keys.reports(agentId) },
          refused: refusedOf(opening.held), orders: [...outstanding.values()],
        };
        changed();
        return { status: 200, json: opened };
      }
      case "/agent/v1/renew": {
        const renewal = renewSchema.parse(body);
        if (!known(renewal.sessionId)) return gone;
        renewals.push(renewal);
        changed();
        return { status: 200, json: { watermark: watermarks.get(epoch) ?? 0, refused: refusedOf(renewal.held), now: Date.now(), drain: false } };
      }
      case "/agent/v1/poll": {
        const poll = pollSchema.parse(body);
        if (!known(poll.sessionId)) return gone;
        polls++;
        const told = new Set(poll.received);
        const waiting = (): Order[] => [...outstanding.values()].filter((order) => !told.has(keyOf(order)));
        if (waiting().length === 0 && poll.waitMs > 0) {
          await new Promise<void>((wake) => {
            const timer = setTimeout(done, poll.waitMs);
            function done(): void {
              clearTimeout(timer);
              pollers.delete(done);
              wake();
            }
            pollers.add(done);
          });
        }
        return known(poll.sessionId) ? { status: 200, json: { orders: waiting() } } : gone;
      }
      case "/agent/v1/reports": {
        const sent = sendReportsSchema.parse(body);
        if (!known(sent.sessionId)) return gone;
        return { status: 200, json: { watermark: apply(sent.epoch, sent.reports), refused: refusedOf(sent.reports) } };
      }
      case "/agent/v1/close":
        if (closeSessionSchema.parse(body).sessionId === sessionId) sessionId = null;
        return { status: 200, json: {} };
      default:
        return { status: 404, json: { code: "NOT_FOUND", message: path, retryable: false } };
    }
  };

  const peer: { intercept: Peer["intercept"] } = { intercept: null };
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const path = request.url ?? "";
    const text = Buffer.concat(parts).toString("utf8");
    if (peer.intercept !== null && (await peer.intercept(path, response, text))) return;
    const given = request.headers.authorization === `Bearer ${PEER_TOKEN}`
      ? await answer(path, JSON.parse(text)).catch((error: unknown) => ({ status: 400, json: { code: "INVALID", message: String(error), retryable: false } }))
      : { status: 401, json: { code: "UNAUTHENTICATED", message: "unknown token", retryable: false } };
    if (given.status === 400) console.error("the peer refused a message:", (given.json as { message: string }).message);
    response.writeHead(given.status, { "content-type": "application/json" }).end(JSON.stringify(given.json));
  };
  let server: Server | null = null;
  const listen = async (port: number): Promise<number> => {
    const opening = createServer((request, response) => void handle(request, response).catch(() => response.destroy()));
    await new Promise<void>((ready, failed) => opening.once("error", failed).listen(port, "127.0.0.1", ready));
    server = opening;
    return (opening.address() as AddressInfo).port;
  };
  const port = await listen(0);

  const readStreams = async (): Promise<void> => {
    while (!stopped && redis !== null && keys !== null) {
      try {
        const reading = await connectRedis({ url: redis.url, username: null, password: null }, { silenceMs: 1_500 });
        connection = await connectRedis({ url: redis.url, username: null, password: null }, { silenceMs: 1_500 });
        const reader = streamReader(reading, CONTROL_PLANE_GROUP);
        sayReading();
        try {
          while (!stopped) {
            if (streamsPaused) {
              await delay(20);
              continue;
            }
            const { entries } = await reader.read({ keys: [keys.reports(agentId)], blockMs: 300, count: 1_000 });
            if (entries.length === 0) continue;
            for (const { batch } of entries) {
              if (batch === null) continue;
              const sent = reportBatchSchema.parse(JSON.parse(batch));
              apply(sent.epoch, sent.reports);
            }
            publish([{ type: "watermark", epoch, watermark: watermarks.get(epoch) ?? 0 }]);
            await acknowledge(connection, CONTROL_PLANE_GROUP, entries);
          }
        } finally {
          reading.close();
          connection.close();
          connection = null;
        }
      } catch {
        if (!stopped) await delay(50);
      }
    }
  };
  const reading = readStreams();
  if (redis !== null) await readingStreams;
  const republishing = setInterval(() => publish([...outstanding.values()]), options.republishAfterMs ?? 400);

  const until = async (holds: () => boolean, what: string, deadlineMs = 10_000): Promise<void> => {
    if (holds()) return;
    await new Promise<void>((done, failed) => {
      const timer = setTimeout(() => {
        finish();
        failed(new Error(`not within ${deadlineMs} ms: ${what}. Reports: ${JSON.stringify(reports.map((report) => [report.type, report.attemptId, ...(report.type === "ended" ? [report.outcome] : [])])).slice(-1_500)}`));
      }, deadlineMs);
      const poll = setInterval(look, 50);
      function finish(): void {
        clearTimeout(timer);
        clearInterval(poll);
        watchers.delete(look);
      }
      function look(): void {
        if (!holds()) return;
        finish();
        done();
      }
      watchers.add(look);
    });
  };

  return Object.assign(peer, {
    url: `http://127.0.0.1:${port}`,
    agentId, reports, absorbed, sessions, renewals,
    polls: () => polls,
    watermark: () => watermarks.get(epoch) ?? 0,
    restore(watermark: number) {
      watermarks.set(epoch, watermark);
      reports.splice(watermark);
      sessionId = null;
    },
    order(...orders: Order[]) {
      for (const order of orders) outstanding.set(keyOf(order), order);
      publish(orders);
    },
    repeat(...orders: Order[]) {
      publish(orders);
    },
    replaceFence: (attemptId: AttemptId) => void fencesOver.add(attemptId),
    async report<T extends ReportType>(type: T, attemptId: AttemptId, deadlineMs = 10_000) {
      const find = () => reports.find((report) => report.type === type && report.attemptId === attemptId);
      await until(() => find() !== undefined, `${type} of ${attemptId}`, deadlineMs);
      return find() as ReportOf<T>;
    },
    logOf(attemptId: AttemptId) {
      let at = 0;
      let text = "";
      for (const report of reports) {
        if (report.type !== "log" || report.attemptId !== attemptId) continue;
        if (report.fromByte - report.skippedBytes !== at) throw new Error(`a chunk begins at ${report.fromByte} (${report.skippedBytes} left out) and the log ends at ${at}`);
        text += report.text;
        at = report.fromByte + Buffer.byteLength(report.text);
      }
      return text;
    },
    pointsOf: (attemptId: AttemptId) =>
      reports.flatMap((report) => (report.type === "metrics" && report.attemptId === attemptId ? report.points.map(([name, step, , value]): [string, number, number | string] => [report.names[name] as string, step, value]) : [])),
    until,
    async down() {
      const closing = server;
      server = null;
      for (const wake of [...pollers]) wake();
      closing?.closeAllConnections();
      await new Promise<void>((done) => (closing === null ? done() : closing.close(() => done())));
    },
    async up() {
      if (server === null) await listen(port);
    },
    pauseStreams(paused: boolean) {
      streamsPaused = paused;
    },
    async stop() {
      stopped = true;
      clearInterval(republishing);
      for (const wake of [...pollers]) wake();
      server?.closeAllConnections();
      server?.close();
      await reading;
    },
  });
}

/** Also for orders of a form that does not exist. */
function keyOf(order: Order): string {
  return (orderKey(order) as string | undefined) ?? "of no known form";
}

/** An assignment of a command stage. */
export function commandAssignment(run: readonly (string | number | boolean)[], more: Partial<Omit<Assignment, "params">> & { params?: Record<string, unknown> } = {}): Assignment {
  const { params, ...rest } = more;
  return {
    attemptId: newId("att"), fence: 1, pipelineId: newId("pip"), pipelineName: "test", stageId: newId("stg"), stage: "work", kind: "command",
    params: { run: [...run], graceSeconds: 2, ...params } as Assignment["params"],
    gpus: [], rank: 0, members: [{ agentName: "test", address: null, gpus: [] }], deletions: [], ...rest,
  };
}

/** An order that hands the attempt over. */
export function assign(assignment: Assignment): Order {
  return { type: "assign", assignment };
}

/** An order that stops it. */
export function stop(assignment: Assignment, cause: Extract<Order, { type: "stop" }>["cause"] = "CANCEL"): Order {
  return { type: "stop", attemptId: assignment.attemptId, fence: assignment.fence, cause, reason: "a test stops it" };
}
