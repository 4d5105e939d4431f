// Calls to the control plane over HTTP(S): JSON in, JSON out, one connection kept open per kind of call.

import { readFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { AGENT_PATHS, type AgentCallError, type OpenSession, type Polled, type Renew, type Renewed, type ReportsAccepted, type SessionOpened } from "../protocol/messages.js";
import type { SessionId } from "../domain/ids.js";

/** The control plane answered, and the answer is no. */
export class CallRefusedError extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  constructor(status: number, body: AgentCallError) {
    super(body.message);
    this.name = "CallRefusedError";
    this.status = status;
    this.code = body.code;
    this.retryable = body.retryable;
  }
  /** Whether the session is over and a new one must be opened. */
  get endsSession(): boolean { return this.status === 401 || this.status === 403 || this.status === 404 || this.status === 409; }
}

/** No answer came: nobody there, too slow, or no JSON. Whether the call had its effect is unknown. */
export class CallFailedError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "CallFailedError";
  }
}

/** Longest wait for an answer beyond what the call asks for, in milliseconds. */
const ANSWER_MS = 15_000;
const LARGEST_ANSWER = 64 * 1024 * 1024;

export interface ControlPlaneClient {
  openSession(body: OpenSession, signal?: AbortSignal): Promise<SessionOpened>;
  renew(body: Renew, signal?: AbortSignal): Promise<Renewed>;
  poll(body: { sessionId: SessionId; waitMs: number; received: readonly string[] }, signal?: AbortSignal): Promise<Polled>;
  /** `reports` are JSON texts. */
  sendReports(body: { sessionId: SessionId; epoch: string; reports: readonly string[] }, signal?: AbortSignal): Promise<ReportsAccepted>;
  closeSession(sessionId: SessionId, signal?: AbortSignal): Promise<void>;
  destroy(): void;
}

/** A client of `url`, which may carry a path that stands before ours. Throws when `caFile` cannot be read. All calls reject with CallRefusedError or CallFailedError. */
export function controlPlaneClient(options: { url: string; token: string; caFile?: string | undefined }): ControlPlaneClient {
  const base = new URL(options.url);
  const prefix = base.pathname.replace(/\/(graphql\/?)?$/, "");
  const secure = base.protocol === "https:";
  const agent = secure
    ? new HttpsAgent({ keepAlive: true, noDelay: true, ...(options.caFile === undefined ? {} : { ca: readFileSync(options.caFile) }) })
    : new HttpAgent({ keepAlive: true, noDelay: true });

  const call = <T>(path: string, body: string, waitMs: number, signal: AbortSignal | undefined): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const fail = (error: Error): void => reject(error instanceof CallRefusedError ? error : new CallFailedError(`${base.origin}: ${error.message}`, error));
      const outgoing = (secure ? httpsRequest : httpRequest)(
        { host: base.hostname.replace(/^\[|\]$/g, ""), port: base.port || (secure ? 443 : 80), path: prefix + path, method: "POST", agent, signal,
          headers: { authorization: `Bearer ${options.token}`, "content-type": "application/json", accept: "application/json", "content-length": Buffer.byteLength(body) } },
        (answer) => {
          const parts: Buffer[] = [];
          let size = 0;
          answer.on("data", (part: Buffer) => {
            size += part.length;
            if (size > LARGEST_ANSWER) answer.destroy(new Error("the answer is too large"));
            else parts.push(part);
          });
          answer.on("error", fail);
          answer.on("end", () => {
            clearTimeout(timer);
            const status = answer.statusCode ?? 0;
            const text = Buffer.concat(parts).toString("utf8");
            let json: unknown;
            try {
              json = text === "" ? {} : JSON.parse(text);
            } catch {
              return reject(new CallFailedError(`${base.origin}${path} answered ${status} with something that is no JSON; is TRAINYARD_URL the control plane?`));
            }
            if (status >= 200 && status < 300) return resolve(json as T);
            const { code, message, retryable } = json as Partial<AgentCallError>;
            if (code === undefined) return reject(new CallFailedError(`${base.origin}${path} answered ${status}`));
            reject(new CallRefusedError(status, { code, message: message ?? code, retryable: retryable ?? status >= 500 }));
          });
        },
      );
      const timer = setTimeout(() => outgoing.destroy(new Error(`no answer for ${waitMs + ANSWER_MS} ms`)), waitMs + ANSWER_MS);
      outgoing.on("error", (error) => {
        clearTimeout(timer);
        fail(error);
      });
      outgoing.on("close", () => clearTimeout(timer));
      outgoing.end(body);
    });

  return {
    openSession: (body, signal) => call(AGENT_PATHS.session, JSON.stringify(body), 0, signal),
    renew: (body, signal) => call(AGENT_PATHS.renew, JSON.stringify(body), 0, signal),
    poll: (body, signal) => call(AGENT_PATHS.poll, JSON.stringify(body), body.waitMs, signal),
    sendReports: ({ sessionId, epoch, reports }, signal) => call(AGENT_PATHS.reports, `{"sessionId":${JSON.stringify(sessionId)},"epoch":${JSON.stringify(epoch)},"reports":[${reports.join(",")}]}`, 15_000, signal),
    closeSession: async (sessionId, signal) => void (await call(AGENT_PATHS.close, JSON.stringify({ sessionId }), 0, signal)),
    destroy: () => agent.destroy(),
  };
}
