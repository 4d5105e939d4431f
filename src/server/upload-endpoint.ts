// Data files over HTTP: PUT /data/v1/uploads?name=<file name>, the file as the body. Answers 201 with the id to register.
//   E1. Token, role, name, size and room are judged before the first byte is asked for (Expect: 100-continue) or read.
//   E2. A sender of whom nothing comes for `stalledAfterMs` is ended; as long as bytes come an upload may take any time.
//   E3. Whatever goes wrong is answered where somebody still listens, leaves an audit row, and leaves nothing on the disk.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { recordAudit, type AuditEntry } from "../access/audit.js";
import { bearerToken, type Authenticator, type Principal } from "../access/authenticator.js";
import { includesRole } from "../access/roles.js";
import type { Db } from "../db/database.js";
import { TrainyardError } from "../domain/errors.js";
import { UploadError, type UploadErrorCode } from "../registry/upload-error.js";
import type { Uploads } from "../registry/uploads.js";

export const UPLOADS_PATH = "/data/v1/uploads";

export interface UploadEndpointOptions {
  readonly db: Db;
  readonly uploads: Uploads;
  readonly authenticator: Authenticator;
  readonly log: Logger;
  /** E2, in milliseconds; default 30,000. */
  readonly stalledAfterMs?: number;
}

const STALLED_AFTER_MS = 30_000;
/** How long a refused body is still read and dropped, so that its sender gets to read the refusal. */
const DRAIN_MS = 1_000;
const STATUS: Readonly<Record<UploadErrorCode, number>> = {
  UPLOAD_NAME_REFUSED: 400, UPLOAD_TOO_LARGE: 413, UPLOAD_HASH_MISMATCH: 422, UPLOAD_BROKEN_OFF: 400, UPLOADS_BUSY: 503, UPLOAD_NO_SPACE: 507, UPLOAD_STALLED: 408,
};

/** Answers requests to UPLOADS_PATH; false when the path is another. */
export function uploadEndpoint(options: UploadEndpointOptions): (request: IncomingMessage, response: ServerResponse, requestId: string) => boolean {
  const { db, uploads, authenticator, log } = options;

  return (request, response, requestId) => {
    const url = new URL(request.url ?? "/", "http://localhost");
    if (url.pathname !== UPLOADS_PATH) return false;
    void answer(request, response, requestId, url.searchParams.get("name") ?? "").catch((error: unknown) => log.error({ err: error, requestId }, "a refused upload could not be answered"));
    return true;
  };

  async function answer(request: IncomingMessage, response: ServerResponse, requestId: string, name: string): Promise<void> {
    let principal: Principal | null = null;
    const input: Record<string, string | number | null> = { name: name.slice(0, 300) };
    const entry = (): Omit<AuditEntry, "outcome" | "code" | "subject"> => ({ principal, action: "upload", input, requestId, address: request.socket.remoteAddress ?? null });
    try {
      const token = bearerToken(request.headers.authorization);
      principal = token === null ? null : await authenticator.authenticate(token);
      if (principal === null) return refuse(request, response, 401, "UNAUTHENTICATED", "An upload needs a token of role operator or admin: Authorization: Bearer ….");
      if (!includesRole(principal.role, "operator")) {
        await noted({ ...entry(), subject: null, outcome: "REFUSED", code: "FORBIDDEN" });
        return refuse(request, response, 403, "FORBIDDEN", `An upload needs the role operator; the token "${principal.name}" has the role ${principal.role}. Use another token, or ask an admin for one.`);
      }
      const upload = await receive(request, response, principal, name, input, entry);
      sendJson(response, 201, { id: upload.id, name: upload.name, sizeBytes: upload.sizeBytes, contentHash: upload.contentHash });
    } catch (error) {
      if (principal !== null) await noted({ ...entry(), subject: null, outcome: "REFUSED", code: error instanceof TrainyardError ? error.code : "INTERNAL" });
      if (error instanceof UploadError) return refuse(request, response, STATUS[error.code], error.code, error.message);
      if (error instanceof HeaderRefusedError) return refuse(request, response, 400, "BAD_REQUEST", error.message);
      log.error({ err: error, requestId }, "an upload met an unexpected error");
      refuse(request, response, 500, "INTERNAL", "Unexpected error.", { requestId });
    }
  }

  async function receive(request: IncomingMessage, response: ServerResponse, principal: Principal, name: string, input: Record<string, string | number | null>, entry: () => Omit<AuditEntry, "outcome" | "code" | "subject">) {
    if (request.method !== "PUT") throw new HeaderRefusedError(`Send the file with PUT ${UPLOADS_PATH}?name=<file name>.`);
    const encoding = request.headers["content-encoding"] ?? "identity";
    if (encoding !== "identity") throw new HeaderRefusedError(`The body is taken as it comes: leave out Content-Encoding (it says ${encoding.slice(0, 50)}). A .gz file is sent as it is.`);
    if (request.headers["content-range"] !== undefined) throw new HeaderRefusedError("An upload is not resumed: send the whole file, without Content-Range.");
    const expectedHash = request.headers["x-content-sha256"] ?? null;
    if (expectedHash !== null && (typeof expectedHash !== "string" || !/^[0-9a-f]{64}$/i.test(expectedHash))) throw new HeaderRefusedError("x-content-sha256 is the sha256 of the file in 64 hexadecimal digits.");
    const announced = request.headers["content-length"];
    const guard = guardBody(request);
    const unwatch = authenticator.onEnd(principal, () => guard.end(new UploadError("UPLOAD_BROKEN_OFF", "The token was revoked or has expired.")));
    try {
      return await uploads.receive({
        name, by: principal.name, body: guard.body, announcedBytes: announced === undefined ? null : Number(announced), expectedHash: expectedHash?.toLowerCase() ?? null,
        accepted: () => { if (request.headers.expect !== undefined) response.writeContinue(); }, // E1
      }, async (trx, upload) => {
        Object.assign(input, { sizeBytes: upload.sizeBytes, contentHash: upload.contentHash });
        await recordAudit(trx, { ...entry(), subject: upload.id, outcome: "ACCEPTED", code: null });
      });
    } finally {
      unwatch();
      guard.stop();
    }
  }

  /** E2. The body as it comes; ends with an error when nothing comes, or when the sender breaks off. */
  function guardBody(request: IncomingMessage): { body: AsyncIterable<Uint8Array>; end(error: UploadError): void; stop(): void } {
    const stalledAfterMs = options.stalledAfterMs ?? STALLED_AFTER_MS;
    let fail: (error: UploadError) => void = () => undefined;
    let ended: UploadError | null = null;
    const end = (error: UploadError): void => fail(ended ??= error);
    const chunks = request.iterator({ destroyOnReturn: false })[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
    async function* body(): AsyncGenerator<Uint8Array> {
      for (;;) {
        const timer = setTimeout(end, stalledAfterMs, new UploadError("UPLOAD_STALLED", `Nothing came for ${stalledAfterMs / 1_000} s. Send the file again.`));
        try {
          if (ended !== null) throw ended;
          const step = await new Promise<IteratorResult<Uint8Array, unknown>>((resolve, reject) => {
            fail = reject;
            chunks.next().then(resolve, (error: unknown) => reject(new UploadError("UPLOAD_BROKEN_OFF", "The connection broke off before the whole file had come. Send it again.", error)));
          });
          if (step.done === true) return;
          yield step.value;
        } finally {
          clearTimeout(timer);
          fail = () => undefined;
        }
      }
    }
    return { body: body(), end, stop: () => void chunks.return?.() };
  }

  async function noted(entry: AuditEntry): Promise<void> {
    await recordAudit(db, entry).catch((error: unknown) => log.error({ err: error, requestId: entry.requestId }, "an audit row could not be written"));
  }
}

/** The request is none that can be taken. */
class HeaderRefusedError extends Error {}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" }).end(JSON.stringify(body));
}

/** E3. What still comes is dropped for a moment; a sender that waits for `100 Continue` never begins. */
function refuse(request: IncomingMessage, response: ServerResponse, status: number, code: string, message: string, extensions: Record<string, unknown> = {}): void {
  response.setHeader("connection", "close");
  if (status === 401) response.setHeader("www-authenticate", "Bearer");
  if (status === 503) response.setHeader("retry-after", "5");
  sendJson(response, status, { errors: [{ message, extensions: { code, ...extensions } }] });
  if (request.complete) return;
  request.resume();
  setTimeout(() => request.socket.destroy(), DRAIN_MS).unref();
}
