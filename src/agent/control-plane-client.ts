// Calls to the control plane over HTTP(S): JSON in, JSON out, one connection kept open per kind of call.

import { readFileSync } from "node:fs";
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import { AGENT_PATHS, type AgentCallError, type OpenSession, type Polled, type Renew, type Renewed, type ReportsAccepted, type ResolvedDataset, type SessionOpened } from "../protocol/messages.js";
import type { DatasetId, SessionId } from "../domain/ids.js";

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
/** A content whose bytes stay away for so long is broken off, in milliseconds. */
const CONTENT_SILENCE_MS = 60_000;

export interface ControlPlaneClient {
  openSession(body: OpenSession, signal?: AbortSignal): Promise<SessionOpened>;
  renew(body: Renew, signal?: AbortSignal): Promise<Renewed>;
  poll(body: { sessionId: SessionId; waitMs: number; received: readonly string[] }, signal?: AbortSignal): Promise<Polled>;
  /** `reports` are JSON texts. */
  sendReports(body: { sessionId: SessionId; epoch: string; reports: readonly string[] }, signal?: AbortSignal): Promise<ReportsAccepted>;
  closeSession(sessionId: SessionId, signal?: AbortSignal): Promise<void>;
  /** What `dataset:<name>[@<version>]`, or an id, stands for. */
  resolveDataset(body: { ref: string; sessionId?: SessionId }, signal?: AbortSignal): Promise<ResolvedDataset>;
  /** The bytes of a data set. The stream fails when they break off. */
  datasetContent(datasetId: DatasetId, signal?: AbortSignal): Promise<Readable>;
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

  const requestOf = (path: string, body: string, signal: AbortSignal | undefined) => ({
    host: base.hostname.replace(/^\[|\]$/g, ""), port: base.port || (secure ? 443 : 80), path: prefix + path, method: "POST", agent, signal,
    headers: { authorization: `Bearer ${options.token}`, "content-type": "application/json", accept: "application/json", "content-length": Buffer.byteLength(body) },
  });
  const asCallError = (error: Error): Error => (error instanceof CallRefusedError || error instanceof CallFailedError ? error : new CallFailedError(`${base.origin}: ${error.message}`, error));
  /** The JSON of an answer. Rejects with CallRefusedError when it is a refusal. */
  const readAnswer = async (answer: IncomingMessage, path: string): Promise<unknown> => {
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of answer as AsyncIterable<Buffer>) {
      size += part.length;
      if (size > LARGEST_ANSWER) throw new Error("the answer is too large");
      parts.push(part);
    }
    const status = answer.statusCode ?? 0;
    const text = Buffer.concat(parts).toString("utf8");
    let json: unknown;
    try {
      json = text === "" ? {} : JSON.parse(text);
    } catch {
      throw new CallFailedError(`${base.origin}${path} answered ${status} with something that is no JSON; is TRAINYARD_URL the control plane?`);
    }
    if (status >= 200 && status < 300) return json;
    const { code, message, retryable } = json as Partial<AgentCallError>;
    if (code === undefined) throw new CallFailedError(`${base.origin}${path} answered ${status}`);
    throw new CallRefusedError(status, { code, message: message ?? code, retryable: retryable ?? status >= 500 });
  };
  const call = <T>(path: string, body: string, waitMs: number, signal: AbortSignal | undefined): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      const fail = (error: Error): void => reject(asCallError(error));
      const outgoing = (secure ? httpsRequest : httpRequest)(
        requestOf(path, body, signal),
        (answer) => void readAnswer(answer, path).finally(() => clearTimeout(timer)).then((json) => resolve(json as T), fail),
      );
      const timer = setTimeout(() => outgoing.destroy(new Error(`no answer for ${waitMs + ANSWER_MS} ms`)), waitMs + ANSWER_MS);
      outgoing.on("error", (error) => {
        clearTimeout(timer);
        fail(error);
      });
      outgoing.on("close", () => clearTimeout(timer));
      outgoing.end(body);
    });

  const content = (path: string, body: string, signal: AbortSignal | undefined): Promise<Readable> =>
    new Promise<Readable>((resolve, reject) => {
      const outgoing = (secure ? httpsRequest : httpRequest)(requestOf(path, body, signal), (answer) => {
        if (answer.statusCode === 200) resolve(answer);
        else void readAnswer(answer, path).then(() => reject(new CallFailedError(`${base.origin}${path} answered ${answer.statusCode}`)), (error: Error) => reject(asCallError(error)));
      });
      outgoing.setTimeout(CONTENT_SILENCE_MS, () => outgoing.destroy(new Error(`nothing came for ${CONTENT_SILENCE_MS / 1_000} s`)));
      outgoing.on("error", (error) => reject(asCallError(error)));
      outgoing.end(body);
    });

  return {
    openSession: (body, signal) => call(AGENT_PATHS.session, JSON.stringify(body), 0, signal),
    renew: (body, signal) => call(AGENT_PATHS.renew, JSON.stringify(body), 0, signal),
    poll: (body, signal) => call(AGENT_PATHS.poll, JSON.stringify(body), body.waitMs, signal),
    sendReports: ({ sessionId, epoch, reports }, signal) => call(AGENT_PATHS.reports, `{"sessionId":${JSON.stringify(sessionId)},"epoch":${JSON.stringify(epoch)},"reports":[${reports.join(",")}]}`, 15_000, signal),
    closeSession: async (sessionId, signal) => void (await call(AGENT_PATHS.close, JSON.stringify({ sessionId }), 0, signal)),
    resolveDataset: (body, signal) => call(AGENT_PATHS.dataset, JSON.stringify(body), 0, signal),
    datasetContent: (datasetId, signal) => content(AGENT_PATHS.datasetContent, JSON.stringify({ datasetId }), signal),
    destroy: () => agent.destroy(),
  };
}
