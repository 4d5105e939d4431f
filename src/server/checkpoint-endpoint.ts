// Checkpoints over HTTP, for whoever wants their files elsewhere than on the host that made them:
//   GET /data/v1/checkpoints/<id>                 what there is: files with size and version, folders, what was left out
//   GET /data/v1/checkpoints/<id>/file?path=…     one file, or a range of it (Range: bytes=a-); If-Match: "<version>" refuses another one
//   GET /data/v1/checkpoints/<id>/sha256?path=…   JSON lines: {"doneBytes": …} while it is computed, at the end {"sha256": …, "version": …} or {"error": …}
//   E1. Operators and admins only. Each listing, each file and each refusal leaves an audit row.
//   E2. Bytes go at the reader's pace; one that takes nothing for `stalledAfterMs` is cut off, and goes on with a range.
//   E3. An answer whose bytes cannot all be had ends before its length: never with other bytes.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { recordAudit } from "../access/audit.js";
import { bearerToken, type Authenticator, type Principal } from "../access/authenticator.js";
import { includesRole } from "../access/roles.js";
import type { Db } from "../db/database.js";
import { TrainyardError, type ErrorKind } from "../domain/errors.js";
import { SshError } from "../hosts/ssh-error.js";
import { within } from "../hosts/waiting.js";
import type { CheckpointFiles, LocatedCheckpoint } from "./checkpoints/checkpoint-files.js";

export const CHECKPOINTS_PATH = "/data/v1/checkpoints/";

export interface CheckpointEndpointOptions {
  readonly db: Db;
  readonly files: CheckpointFiles;
  readonly authenticator: Authenticator;
  readonly log: Logger;
  /** E2, in milliseconds; default 60,000. */
  readonly stalledAfterMs?: number;
}

const STALLED_AFTER_MS = 60_000;
const TELL_EVERY_MS = 1_000;
const STATUS: Readonly<Record<ErrorKind, number>> = { INVALID_INPUT: 400, NOT_FOUND: 404, CONFLICT: 409, FORBIDDEN: 403, UNAVAILABLE: 503 };

/** Answers requests below CHECKPOINTS_PATH; false when the path is another. */
export function checkpointEndpoint(options: CheckpointEndpointOptions): (request: IncomingMessage, response: ServerResponse, requestId: string) => boolean {
  const { db, files, authenticator, log } = options;

  return (request, response, requestId) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    if (!url.pathname.startsWith(CHECKPOINTS_PATH)) return false;
    void answer(request, response, requestId, url).catch((error: unknown) => log.error({ err: error, requestId }, "a request for a checkpoint could not be answered"));
    return true;
  };

  async function answer(request: IncomingMessage, response: ServerResponse, requestId: string, url: URL): Promise<void> {
    const [id = "", what = "list", more] = url.pathname.slice(CHECKPOINTS_PATH.length).split("/");
    const path = url.searchParams.get("path") ?? "";
    const gone = new AbortController();
    response.once("close", () => gone.abort(new Error("the reader went away")));
    let principal: Principal | null = null;
    const note = async (outcome: "ACCEPTED" | "REFUSED", code: string | null): Promise<void> => { // E1
      await recordAudit(db, { principal, action: "fetchCheckpoint", subject: id, input: what === "list" ? {} : { path, range: request.headers.range ?? null }, outcome, code, requestId, address: request.socket.remoteAddress ?? null })
        .catch((error: unknown) => log.error({ err: error, requestId }, "an audit row could not be written"));
    };
    let unwatch: (() => void) | undefined;
    try {
      const token = bearerToken(request.headers.authorization);
      principal = token === null ? null : await authenticator.authenticate(token);
      if (principal === null) {
        response.setHeader("www-authenticate", "Bearer");
        return refuse(response, 401, "UNAUTHENTICATED", "The files of a checkpoint need a token of role operator or admin: Authorization: Bearer ….");
      }
      if (!includesRole(principal.role, "operator")) {
        await note("REFUSED", "FORBIDDEN");
        return refuse(response, 403, "FORBIDDEN", `The files of a checkpoint need the role operator; the token "${principal.name}" has the role ${principal.role}. Use another token, or ask an admin for one.`);
      }
      unwatch = authenticator.onEnd(principal, () => response.destroy());
      if (request.method !== "GET" && request.method !== "HEAD") return refuse(response, 405, "METHOD_NOT_ALLOWED", "Files of checkpoints are read with GET.");
      if (more !== undefined || !["list", "file", "sha256"].includes(what)) return refuse(response, 404, "NOT_FOUND", `There is nothing at ${url.pathname.slice(0, 200)}.`);
      const located = await files.locate(id);
      if (what === "list") {
        const listing = await located.source.list(gone.signal);
        await note("ACCEPTED", null);
        return sendJson(response, 200, { id, host: located.host, path: located.row.path, step: located.row.step, ...listing });
      }
      if (what === "sha256") return await sendDigest(response, located, path, gone.signal);
      return await sendFile(request, response, located, path, gone.signal, () => note("ACCEPTED", null));
    } catch (error) {
      if (gone.signal.aborted) return; // nobody is there to be answered
      if (response.headersSent) { // E3
        log.info({ err: error, requestId, checkpoint: id }, "a file of a checkpoint broke off");
        return void response.destroy();
      }
      if (!(error instanceof TrainyardError)) {
        log.error({ err: error, requestId }, "a request for a checkpoint met an unexpected error");
        return refuse(response, 500, "INTERNAL", "Unexpected error.", { requestId });
      }
      await note("REFUSED", error.code);
      if (error.retryable) response.setHeader("retry-after", "2");
      refuse(response, statusOf(error), error.code, error.message, { retryable: error.retryable });
    } finally {
      unwatch?.();
    }
  }

  async function sendFile(request: IncomingMessage, response: ServerResponse, { source }: LocatedCheckpoint, path: string, signal: AbortSignal, noted: () => Promise<void>): Promise<void> {
    const { sizeBytes, version } = await source.stat(path, signal);
    const wanted = request.headers["if-match"];
    response.setHeader("etag", `"${version}"`).setHeader("accept-ranges", "bytes");
    if (wanted !== undefined && wanted !== `"${version}"`) return refuse(response, 412, "FILE_CHANGED", `${path} is not the version ${wanted.slice(0, 100)} any more. Begin it anew.`);
    const range = rangeOf(request.headers.range, sizeBytes);
    if (range === null) {
      response.setHeader("content-range", `bytes */${sizeBytes}`);
      return refuse(response, 416, "RANGE_REFUSED", `${path} has ${sizeBytes} bytes; ask for one range of them: Range: bytes=<from>-[<to>].`);
    }
    await noted();
    const partial = request.headers.range !== undefined;
    response.writeHead(partial ? 206 : 200, {
      "content-type": "application/octet-stream", "content-length": range.to - range.from, "cache-control": "no-store", "x-accel-buffering": "no",
      ...(partial ? { "content-range": `bytes ${range.from}-${range.to - 1}/${sizeBytes}` } : {}),
    });
    if (request.method === "HEAD") return void response.end();
    if (range.from < range.to) await source.read(path, range.from, range.to, (bytes) => taken(response, bytes, signal), signal);
    response.end();
  }

  /** E2. Resolves when the bytes are out of our hands: their buffer is used again. */
  function taken(response: ServerResponse, bytes: Buffer, signal: AbortSignal): Promise<void> {
    const written = new Promise<void>((resolve, reject) => response.write(bytes, (error) => (error == null ? resolve() : reject(error))));
    return within(written, options.stalledAfterMs ?? STALLED_AFTER_MS, signal, () => new Error("the reader takes nothing"));
  }

  async function sendDigest(response: ServerResponse, { source }: LocatedCheckpoint, path: string, signal: AbortSignal): Promise<void> {
    const { version, sizeBytes } = await source.stat(path, signal);
    response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store", "x-accel-buffering": "no" });
    let doneBytes = 0;
    const tell = (line: object): void => void response.write(`${JSON.stringify(line)}\n`);
    tell({ doneBytes, sizeBytes });
    const telling = setInterval(() => tell({ doneBytes }), TELL_EVERY_MS);
    try {
      tell({ sha256: await source.digest(path, (bytes) => { doneBytes = bytes; }, signal), version });
    } catch (error) {
      if (!(error instanceof TrainyardError)) throw error;
      tell({ error: { code: error.code, message: error.message, retryable: error.retryable } });
    } finally {
      clearInterval(telling);
    }
    response.end();
  }
}

function statusOf(error: TrainyardError): number {
  if (error.retryable) return 503;
  return error instanceof SshError && error.code === "SSH_FILE_MISSING" ? 404 : STATUS[error.kind];
}

/** From (inclusive) and to (exclusive); null: none that can be given. */
function rangeOf(header: string | undefined, size: number): { readonly from: number; readonly to: number } | null {
  if (header === undefined) return { from: 0, to: size };
  const match = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header);
  if (match === null) return null;
  const [from, to] = [Number(match[1]), match[2] === "" ? size : Math.min(size, Number(match[2]) + 1)];
  return from < to ? { from, to } : null;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" }).end(JSON.stringify(body));
}

function refuse(response: ServerResponse, status: number, code: string, message: string, extensions: Record<string, unknown> = {}): void {
  sendJson(response, status, { errors: [{ message, extensions: { code, ...extensions } }] });
}
