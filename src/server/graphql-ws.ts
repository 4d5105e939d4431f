// GraphQL over WebSocket (graphql-transport-ws), on the same path as HTTP.
//   W1. The token comes in the connection parameters (or the upgrade's Authorization header), never in the URL. Without a good one: 4403, which clients retry.
//   W2. Syntax errors, refused documents and limits come back as `error` of that operation. 4500 is never sent: clients would give up for good.
//   W3. A socket holds at most 64 KiB that the peer has not taken; then its subscriptions wait. After 30 s without progress it is closed with 4290: the client
//       comes back and resumes from its cursors.
//   W4. A result shared by many subscribers is text already: only the operation's id is put around it.
//   W5. A revoked or expired token's sockets are closed with 4403 within a second.

import { randomUUID } from "node:crypto";
import { STATUS_CODES, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import { GraphQLError, type ExecutionResult } from "graphql";
import { CloseCode, handleProtocols, makeServer, type WebSocket as GraphqlSocket } from "graphql-ws";
import { WebSocketServer, type WebSocket } from "ws";
import { bearerToken, type Principal } from "../access/authenticator.js";
import type { Caller } from "../schema/context.js";
import type { SharedResult } from "../schema/streams/shared-execution.js";
import { GRAPHQL_PATH, type Graphql, type PreparedOperation } from "./graphql.js";

export interface WebSocketLimits {
  /** Operations under way on one socket. */
  readonly operationsPerSocket: number;
  /** Sockets of one token in this process. Generous: a team may share a viewer token. */
  readonly socketsPerToken: number;
  /** Silence after the upgrade, in milliseconds. */
  readonly initWaitMs: number;
  /** Pings go out this often; a peer that lets one go unanswered is cut off by the next. */
  readonly keepAliveMs: number;
  /** W3, in milliseconds. */
  readonly stalledAfterMs: number;
  /** Largest message of a client, in bytes. */
  readonly messageBytes: number;
}
const LIMITS: WebSocketLimits = { operationsPerSocket: 64, socketsPerToken: 2_000, initWaitMs: 3_000, keepAliveMs: 12_000, stalledAfterMs: 30_000, messageBytes: 262_144 };

/** W3. Below this many unsent bytes a send counts as done. */
const UNSENT_BYTES = 65_536;
/** Between a close for cause and cutting the line, in milliseconds: a peer that reads gets to see the code. */
const CLOSE_GRACE_MS = 5_000;
export const CLOSE_SLOW = 4290;

export interface AttachedWebSocket {
  /** Open sockets. */
  readonly lines: ReadonlySet<Pick<Line, "unsentBytes" | "closing">>;
  /** Operations under way. */
  readonly operations: number;
  /** Closes every socket with 1001, which clients retry, and refuses new ones. */
  close(): Promise<void>;
}

interface Extra {
  readonly socket: WebSocket;
  readonly request: IncomingMessage;
  principal: Principal | null;
  release: () => void;
}

/** Serves the endpoint's path on the server's upgrades; other paths are answered 404. `onCount` hears changes of the number of operations under way. */
export function attachWebSocket(server: Server, graphql: Graphql, options: { readonly limits?: Partial<WebSocketLimits>; readonly onCount?: (operations: number) => void } = {}): AttachedWebSocket {
  const limits = { ...LIMITS, ...options.limits };
  const { authenticator, log } = graphql;
  const socketsOf = new Map<string, number>();
  const lines = new Set<Line>();
  let operations = 0;
  let patrol: NodeJS.Timeout | null = null;

  const count = (change: number) => {
    operations += change;
    options.onCount?.(operations);
  };

  const protocol = makeServer<Record<string, unknown>, Extra>({
    connectionInitWaitTimeout: limits.initWaitMs,
    async onConnect({ connectionParams, extra }) {
      const given = connectionParams?.["authorization"] ?? connectionParams?.["Authorization"] ?? extra.request.headers.authorization;
      const token = typeof given === "string" ? (bearerToken(given) ?? given) : null;
      const principal = token === null ? null : await authenticator.authenticate(token);
      if (principal === null || extra.socket.readyState !== extra.socket.OPEN) return false; // W1
      const held = socketsOf.get(principal.tokenId) ?? 0;
      if (held >= limits.socketsPerToken) {
        extra.socket.close(CLOSE_SLOW, "too many connections of this token; close some");
        return false;
      }
      socketsOf.set(principal.tokenId, held + 1);
      extra.principal = principal;
      const unwatch = authenticator.onEnd(principal, () => extra.socket.close(CloseCode.Forbidden, "Forbidden")); // W5
      extra.release = () => {
        unwatch();
        const left = socketsOf.get(principal.tokenId)! - 1;
        if (left === 0) socketsOf.delete(principal.tokenId);
        else socketsOf.set(principal.tokenId, left);
      };
      return true;
    },
    async onSubscribe({ extra, subscriptions }, id, payload) {
      if (Object.keys(subscriptions).length > limits.operationsPerSocket) {
        return [new GraphQLError(`This connection has ${limits.operationsPerSocket} operations under way. Complete some, or open another connection.`, { extensions: { code: "TOO_MANY_OPERATIONS" } })];
      }
      const caller: Caller = { principal: extra.principal, requestId: randomUUID(), address: extra.request.socket.remoteAddress ?? null };
      const prepared = await graphql.prepare({ query: payload.query, variables: payload.variables, operationName: payload.operationName }, caller);
      return Array.isArray(prepared) ? prepared.map(withoutHttp) : (prepared as PreparedOperation); // W2
    },
    execute: (args) => (args as PreparedOperation).run(args),
    subscribe: (args) => graphql.subscribe(args) as never,
    onOperation: () => count(1),
    onComplete: () => count(-1), // also after an error and when the socket goes
    onNext: (_context, _id, _payload, _args, result) => {
      const shared = result as Partial<SharedResult>;
      if (typeof shared.json === "function") return { toJSON: () => splice(shared.json!()) } as unknown as ExecutionResult; // W4
      return result.errors === undefined ? undefined : { ...result, errors: result.errors.map(withoutHttp) };
    },
  });

  // W4. What stands for a shared text in a frame that is being made; frames are made and sent without a pause between.
  let spliced: string | null = null;
  const splice = (text: string) => {
    spliced = text;
    return SPLICE_MARK;
  };
  const frameOf = (data: string) => {
    if (spliced === null) return data;
    const frame = data.slice(0, -SPLICE_TAIL.length) + spliced + "}";
    spliced = null;
    return frame;
  };

  const sockets = new WebSocketServer({ noServer: true, maxPayload: limits.messageBytes, perMessageDeflate: false, handleProtocols, clientTracking: true });
  sockets.on("connection", (socket: WebSocket, request: IncomingMessage) => {
    const extra: Extra = { socket, request, principal: null, release: () => undefined };
    const line = openLine(socket, limits);
    lines.add(line);
    patrol ??= setInterval(() => lines.forEach((each) => each.check()), Math.min(1_000, limits.stalledAfterMs / 4)).unref();
    socket.on("error", (error) => log.debug({ err: error }, "a WebSocket connection failed"));
    const adapter: GraphqlSocket = {
      protocol: socket.protocol,
      send: (data) => line.send(frameOf(data)),
      close: (code, reason) => socket.close(code, reason),
      onMessage: (listener) => socket.on("message", (data) => {
        listener(String(data)).catch((error: unknown) => {
          log.error({ err: error }, "a WebSocket message met an unexpected error");
          socket.close(1013, "Try again"); // W2
        });
      }),
    };
    const closed = protocol.opened(adapter, extra);
    socket.once("close", (code, reason) => {
      line.end();
      lines.delete(line);
      if (lines.size === 0 && patrol !== null) {
        clearInterval(patrol);
        patrol = null;
      }
      extra.release();
      void closed(code, String(reason)).catch((error: unknown) => log.error({ err: error }, "a WebSocket connection could not be wound up"));
    });
  });

  const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy());
    if (new URL(request.url ?? "/", "http://any").pathname !== GRAPHQL_PATH) return refuse(socket, 404);
    if (!originAllowed(request, graphql.corsOrigins)) return refuse(socket, 403);
    sockets.handleUpgrade(request, socket, head, (webSocket) => sockets.emit("connection", webSocket, request));
  };
  server.on("upgrade", upgrade);

  return {
    lines,
    get operations() { return operations; },
    async close() {
      server.off("upgrade", upgrade);
      const open = [...sockets.clients];
      for (const socket of open) socket.close(1001, "Going away");
      const gone = Promise.all(open.map((socket) => new Promise((resolve) => (socket.readyState === socket.CLOSED ? resolve(null) : socket.once("close", resolve)))));
      const cut = setTimeout(() => open.forEach((socket) => socket.terminate()), 1_000);
      await gone;
      clearTimeout(cut);
      await new Promise((resolve) => sockets.close(resolve));
    },
  };
}

const SPLICE_MARK = "\u0001";
const SPLICE_TAIL = `${JSON.stringify(SPLICE_MARK)}}`;

interface Line {
  /** Bytes that the peer has not taken. */
  readonly unsentBytes: number;
  readonly closing: boolean;
  send(frame: string): Promise<void> | undefined;
  /** Closes the socket when it has been stuck for too long. */
  check(): void;
  end(): void;
}

/** One socket: sending with back-pressure, keep-alive, and the watch over both. */
function openLine(socket: WebSocket, limits: WebSocketLimits): Line {
  let waiting = 0;
  let progressAt = Date.now();
  let unsent = 0;
  let answered = true;
  const ping = setInterval(() => {
    if (socket.readyState !== socket.OPEN) return;
    if (!answered && waiting > 0) return; // it does not read, so it cannot answer: `check` says so with a code
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping();
  }, limits.keepAliveMs);
  socket.on("pong", () => { answered = true; });

  return {
    get unsentBytes() { return socket.bufferedAmount; },
    get closing() { return socket.readyState !== socket.OPEN; },
    send(frame) {
      if (socket.readyState !== socket.OPEN) return undefined;
      if (socket.bufferedAmount < UNSENT_BYTES) return void socket.send(frame, ignore);
      if (waiting++ === 0) progressAt = Date.now();
      return new Promise((resolve) => socket.send(frame, () => { // also called, with an error, when the socket is gone
        waiting--;
        progressAt = Date.now();
        resolve();
      }));
    },
    check() {
      if (waiting === 0 || socket.readyState !== socket.OPEN) return;
      if (socket.bufferedAmount < unsent) progressAt = Date.now();
      unsent = socket.bufferedAmount;
      if (Date.now() - progressAt < limits.stalledAfterMs) return;
      socket.close(CLOSE_SLOW, "too slow; resume from your cursor");
      setTimeout(() => socket.terminate(), CLOSE_GRACE_MS).unref();
    },
    end: () => clearInterval(ping),
  };
}

function ignore(): void {
  // A failed send shows as the socket's close.
}

/** Errors carry hints for HTTP status codes; on a socket they mean nothing. */
function withoutHttp(error: GraphQLError): GraphQLError {
  if (!("http" in error.extensions)) return error;
  const { http: _, ...extensions } = error.extensions;
  return new GraphQLError(error.message, { nodes: error.nodes, source: error.source, positions: error.positions, path: error.path, extensions });
}

/** Browsers say where a page comes from: our own, or one that CORS allows. Programs say nothing. */
function originAllowed(request: IncomingMessage, allowed: readonly string[]): boolean {
  const { origin, host } = request.headers;
  if (origin === undefined || allowed.includes(origin) || allowed.includes("*")) return true;
  return URL.canParse(origin) && new URL(origin).host === host;
}

function refuse(socket: Duplex, status: number): void {
  socket.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
