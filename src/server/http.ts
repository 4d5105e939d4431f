// The HTTP server: who asks, how much they may send, and where it goes. GraphQL on /graphql, agents under /agent/v1, uploads and checkpoints under /data/v1, /healthz, /readyz, /metrics.
//   H1. A body above the limit is refused before anything parses it, by its announced length and by counted bytes.
//   H2. A token that is presented must be good: otherwise 401, whatever is asked. Without one, each field decides.
//   H3. An answer is written at the reader's pace. A reader of an event stream that takes nothing for 30 s is cut off; it resumes from its cursor.
//   H4. What a revoked token holds open ends within a second.
//   H5. A request must have come whole within a minute; only uploads may take longer, and look themselves after senders that stand still.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Logger } from "pino";
import { bearerToken, type Principal } from "../access/authenticator.js";
import { includesRole } from "../access/roles.js";
import type { ServerConfig } from "../config.js";
import type { Caller } from "../schema/context.js";
import { GRAPHQL_PATH, type Graphql } from "./graphql.js";
import { attachWebSocket, type AttachedWebSocket, type WebSocketLimits } from "./graphql-ws.js";
import { LANDING_HEADERS, LANDING_PAGE } from "./landing-page.js";
import type { Metrics } from "./prometheus.js";
import type { Readiness } from "./readiness.js";

export interface HttpServerOptions {
  readonly graphql: Graphql;
  /** Answers the agents' requests; false: not one of theirs. */
  readonly agents?: (request: IncomingMessage, response: ServerResponse) => boolean;
  /** Answers uploads of data files; false: none. */
  readonly uploads?: (request: IncomingMessage, response: ServerResponse, requestId: string) => boolean;
  /** Answers requests for files of checkpoints; false: none. */
  readonly checkpoints?: (request: IncomingMessage, response: ServerResponse, requestId: string) => boolean;
  readonly readiness: () => Promise<Readiness>;
  readonly metrics: Metrics;
  readonly config: Pick<ServerConfig, "TRAINYARD_HOST" | "TRAINYARD_PORT" | "TRAINYARD_PUBLIC_URL" | "TRAINYARD_TLS_CERT" | "TRAINYARD_TLS_KEY" | "TRAINYARD_BODY_LIMIT_BYTES">;
  readonly log: Logger;
  readonly webSocketLimits?: Partial<WebSocketLimits>;
  /** H3, in milliseconds; default 30,000. */
  readonly stalledAfterMs?: number;
  /** H5, in milliseconds; default 60,000. */
  readonly wholeRequestMs?: number;
}

export interface HttpServer {
  readonly server: Server;
  readonly webSocket: AttachedWebSocket;
  /** Listens where the configuration says. `url` is the GraphQL endpoint as clients reach it. */
  listen(): Promise<{ readonly url: string; readonly wsUrl: string; readonly port: number }>;
  /** Ends streams so that clients come back elsewhere, waits a moment for answers under way, then closes. May be called twice. */
  close(): Promise<void>;
}

const STALLED_AFTER_MS = 30_000;
/** H5. */
const WHOLE_REQUEST_MS = 60_000;
const SILENT_CONNECTION_MS = 120_000;
/** Answers under way at the end get this long. */
const CLOSE_PATIENCE_MS = 2_000;
/** How long a refused body is still read and dropped, so that its sender gets to read the refusal. */
const DRAIN_MS = 1_000;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { graphql, config, log, metrics } = options;
  const { authenticator } = graphql;
  const tls = config.TRAINYARD_TLS_CERT !== undefined && config.TRAINYARD_TLS_KEY !== undefined
    ? { cert: readFileSync(config.TRAINYARD_TLS_CERT), key: readFileSync(config.TRAINYARD_TLS_KEY) } : null;
  const server: Server = tls === null ? createServer() : createTlsServer(tls);
  server.headersTimeout = 15_000;
  server.requestTimeout = 0; // H5 is kept below, request by request
  server.timeout = SILENT_CONNECTION_MS; // a connection on which nothing moves; event streams carry a ping every 12 s
  const streams = new Set<ServerResponse>();
  const webSocket = attachWebSocket(server, graphql, { ...(options.webSocketLimits === undefined ? {} : { limits: options.webSocketLimits }), onCount: (open) => metrics.subscriptions("websocket", open) });

  server.on("checkContinue", (request, response) => server.emit("request", request, response)); // uploads are judged before they are asked for
  server.on("request", (request, response) => {
    const begun = performance.now();
    const requestId = randomUUID();
    response.setHeader("x-request-id", requestId);
    response.setHeader("x-content-type-options", "nosniff");
    const path = pathOf(request);
    const route = routeOf(path);
    if (route !== UPLOADS_ROUTE) {
      if (request.headers.expect !== undefined) response.writeContinue();
      bound(request, response, options.wholeRequestMs ?? WHOLE_REQUEST_MS);
    }
    response.once("close", () => metrics.httpRequest(route, response.statusCode, (performance.now() - begun) / 1_000));
    answer(path, request, response, requestId).catch((error: unknown) => {
      log.error({ err: error, requestId, route }, "a request met an unexpected error");
      if (response.headersSent) response.destroy();
      else refuse(response, 500, "INTERNAL", "Unexpected error.", { requestId });
    });
  });

  async function answer(path: string | null, request: IncomingMessage, response: ServerResponse, requestId: string): Promise<void> {
    switch (path) {
      case null: return refuse(response, 400, "BAD_REQUEST", "The request's address is not valid.");
      case "/": return void response.writeHead(302, { location: GRAPHQL_PATH }).end();
      case GRAPHQL_PATH: return answerGraphql(request, response, requestId);
      case "/healthz": return sendJson(response, 200, { ok: true });
      case "/readyz": {
        const state = await options.readiness();
        return sendJson(response, state.ready ? 200 : 503, state);
      }
      case "/metrics": return answerMetrics(request, response);
      default:
        if (options.agents?.(request, response) === true || options.uploads?.(request, response, requestId) === true || options.checkpoints?.(request, response, requestId) === true) return;
        refuse(response, 404, "NOT_FOUND", `There is nothing at ${path.slice(0, 100)}. The GraphQL endpoint is ${GRAPHQL_PATH}.`);
    }
  }

  async function answerGraphql(request: IncomingMessage, response: ServerResponse, requestId: string): Promise<void> {
    if (wantsPage(request)) return void response.writeHead(200, LANDING_HEADERS).end(LANDING_PAGE);
    const identified = await identify(request, response, requestId);
    if (identified === undefined) return;
    const body = await readBody(request, config.TRAINYARD_BODY_LIMIT_BYTES);
    if (body === null) return refuseBody(request, response, config.TRAINYARD_BODY_LIMIT_BYTES); // H1
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const caller: Caller = { principal: identified, requestId, address: request.socket.remoteAddress ?? null };
    const method = request.method ?? "GET";
    let answered: Response;
    request.socket.setTimeout(0); // a file that is being registered is read for as long as it takes
    try {
      answered = await graphql.fetch(`http://localhost${request.url}`, {
        method, headers: headersOf(request), signal: gone.signal, ...(method === "GET" || method === "HEAD" ? {} : { body: body as unknown as BodyInit }),
      }, caller);
    } catch (error) {
      if (gone.signal.aborted) return; // nobody is there to be answered
      throw error;
    } finally {
      request.socket.setTimeout(SILENT_CONNECTION_MS);
    }
    answered.headers.forEach((value, name) => response.setHeader(name, value));
    if (!(answered.headers.get("content-type") ?? "").startsWith("text/event-stream")) {
      response.setHeader("cache-control", "no-store");
      return void response.writeHead(answered.status).end(Buffer.from(await answered.arrayBuffer()));
    }
    await stream(answered, response, identified);
  }

  /** Undefined: refused already. H2. */
  async function identify(request: IncomingMessage, response: ServerResponse, requestId: string): Promise<Principal | null | undefined> {
    const { authorization } = request.headers;
    if (authorization === undefined || request.method === "OPTIONS") return null;
    const token = bearerToken(authorization);
    try {
      const principal = token === null ? null : await authenticator.authenticate(token);
      if (principal !== null) return principal;
    } catch (error) {
      log.error({ err: error, requestId }, "a token could not be checked");
      response.setHeader("retry-after", "1");
      refuse(response, 503, "UNAVAILABLE", "The token cannot be checked at the moment. Try again.", { retryable: true, requestId });
      return undefined;
    }
    response.setHeader("www-authenticate", "Bearer");
    refuse(response, 401, "UNAUTHENTICATED", "This token is not known, or it was revoked or has expired. Use another one; an admin can make it.");
    return undefined;
  }

  async function stream(answered: Response, response: ServerResponse, principal: Principal | null): Promise<void> {
    const reader = answered.body!.getReader();
    const unwatch = principal === null ? () => undefined : authenticator.onEnd(principal, () => response.destroy()); // H4
    streams.add(response);
    metrics.subscriptions("sse", streams.size);
    response.setHeader("x-accel-buffering", "no");
    response.writeHead(answered.status);
    response.once("close", () => void reader.cancel().catch(() => undefined));
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || response.destroyed) break;
        if (!response.write(value) && !(await drained(response, options.stalledAfterMs ?? STALLED_AFTER_MS))) break; // H3
      }
    } finally {
      unwatch();
      streams.delete(response);
      metrics.subscriptions("sse", streams.size);
      await reader.cancel().catch(() => undefined);
      response.end();
    }
  }

  async function answerMetrics(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isLocal(request)) {
      const token = bearerToken(request.headers.authorization);
      const principal = token === null ? null : await authenticator.authenticate(token);
      if (principal === null || !includesRole(principal.role, "viewer")) return refuse(response, 401, "UNAUTHENTICATED", "From another machine, metrics need a token of role viewer: Authorization: Bearer ….");
    }
    response.writeHead(200, { "content-type": metrics.contentType }).end(await metrics.text());
  }

  let closing: Promise<void> | null = null;
  async function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => { server.close(() => resolve()); });
    for (const response of streams) response.destroy();
    await webSocket.close();
    server.closeIdleConnections();
    const cut = setTimeout(() => server.closeAllConnections(), CLOSE_PATIENCE_MS);
    await closed;
    clearTimeout(cut);
  }

  return {
    server, webSocket,
    listen: () => new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen(config.TRAINYARD_PORT, config.TRAINYARD_HOST, () => {
        server.off("error", reject);
        const { port } = server.address() as AddressInfo;
        const url = new URL(GRAPHQL_PATH, config.TRAINYARD_PUBLIC_URL ?? `${tls === null ? "http" : "https"}://${hostInUrl(config.TRAINYARD_HOST)}:${port}`);
        resolve({ url: url.href, wsUrl: url.href.replace(/^http/, "ws"), port });
      });
    }),
    close: () => (closing ??= close()),
  };
}

function pathOf(request: IncomingMessage): string | null {
  const url = request.url ?? "/";
  return url.startsWith("/") && URL.canParse(url, "http://localhost") ? new URL(url, "http://localhost").pathname : null;
}

/** For metrics: a few names, whatever is asked for. */
function routeOf(path: string | null): string {
  if (path === GRAPHQL_PATH || path === "/healthz" || path === "/readyz" || path === "/metrics") return path;
  if (path?.startsWith("/agent/v1/") === true) return "/agent/v1";
  return path?.startsWith(`${UPLOADS_ROUTE}/`) === true ? UPLOADS_ROUTE : "other";
}
const UPLOADS_ROUTE = "/data/v1";

/** H5. */
function bound(request: IncomingMessage, response: ServerResponse, withinMs: number): void {
  if (request.complete) return;
  const timer = setTimeout(() => {
    if (request.complete) return;
    if (!response.headersSent) {
      response.setHeader("connection", "close");
      refuse(response, 408, "REQUEST_TIMEOUT", `The request did not come whole within ${withinMs / 1_000} s. Send it again.`);
    }
    setTimeout(() => request.socket.destroy(), DRAIN_MS).unref();
  }, withinMs).unref();
  request.once("close", () => clearTimeout(timer));
  request.once("end", () => clearTimeout(timer));
}

function wantsPage(request: IncomingMessage): boolean {
  return request.method === "GET" && (request.headers.accept ?? "").includes("text/html") && !/[?&]query=/.test(request.url ?? "");
}

function headersOf(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : (value ?? "")]));
}

/** H1. Null when it is too large; the rest of it is then still to be dropped. */
async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | null> {
  if (Number(request.headers["content-length"] ?? 0) > limit) return null;
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let size = 0;
    const onData = (part: Buffer) => {
      size += part.length;
      if (size <= limit) return void parts.push(part);
      request.off("data", onData);
      resolve(null);
    };
    request.on("data", onData);
    request.once("end", () => resolve(Buffer.concat(parts)));
    request.once("error", reject);
  });
}

function refuseBody(request: IncomingMessage, response: ServerResponse, limit: number): void {
  response.setHeader("connection", "close");
  request.resume();
  refuse(response, 413, "BODY_TOO_LARGE", `A request to GraphQL has up to ${limit} bytes. Send less at once; files travel by path.`);
  setTimeout(() => request.socket.destroy(), DRAIN_MS).unref();
}

/** Whether the reader took what was written within the time; false: it is gone or stuck, and cut off. */
function drained(response: ServerResponse, withinMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (ok: boolean) => {
      clearTimeout(timer);
      response.off("drain", onDrain);
      response.off("close", onClose);
      resolve(ok);
    };
    const onDrain = () => settle(true);
    const onClose = () => settle(false);
    const timer = setTimeout(() => {
      response.destroy();
      settle(false);
    }, withinMs);
    response.once("drain", onDrain);
    response.once("close", onClose);
    if (response.destroyed) settle(false);
  });
}

/** From this very machine, and not through a proxy on it. */
function isLocal(request: IncomingMessage): boolean {
  return /^(127\.|::1$|::ffff:127\.)/.test(request.socket.remoteAddress ?? "") && request.headers["x-forwarded-for"] === undefined && request.headers.forwarded === undefined;
}

function hostInUrl(host: string): string {
  if (host === "0.0.0.0" || host === "::") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** Refusals look like GraphQL's, so that a client needs one way to read them. */
function refuse(response: ServerResponse, status: number, code: string, message: string, extensions: Record<string, unknown> = {}): void {
  sendJson(response, status, { errors: [{ message, extensions: { code, ...extensions } }] });
}
