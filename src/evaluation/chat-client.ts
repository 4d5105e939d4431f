// One request to an OpenAI-compatible chat endpoint, and what its answer means.
//   C1. Redirects are not followed: the key goes to the address that was given and nowhere else.
//   C2. Errors name status and the service's own words, never the request's headers.
// Proxies of the environment are not used.

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Message } from "../data/rows/training-row.js";

export interface ChatEndpoint {
  /** Without /chat/completions. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly concurrency: number;
}

export interface ChatAnswer {
  readonly text: string;
  /** It ended because maxTokens was reached. */
  readonly truncated: boolean;
}

/** Why a request brought no answer. */
export type RequestProblem =
  /** May pass: busy, broken connection, silence. */
  | "passing"
  /** This prompt will not be answered: too long, filtered, malformed. */
  | "prompt"
  /** No prompt will be: wrong key, unknown model, wrong address. */
  | "endpoint";

export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly problem: RequestProblem;
  /** E.g. HTTP_429, TIMEOUT, ECONNREFUSED. */
  readonly code: string;
  /** What the service asked for, in milliseconds; null when it said nothing. */
  readonly retryAfterMs: number | null;
  constructor(problem: RequestProblem, code: string, message: string, retryAfterMs: number | null = null) {
    super(message);
    this.problem = problem;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface ChatClient {
  /** Throws RequestError, and the signal's reason. */
  complete(body: Readonly<Record<string, unknown>> & { readonly messages: readonly Message[] }, signal: AbortSignal): Promise<readonly ChatAnswer[]>;
  /** Names of the models that the service says it has; empty when it does not say. */
  models(signal: AbortSignal): Promise<readonly string[]>;
  close(): void;
}

/** Longest answer that is read, in bytes. */
const MOST_BYTES = 64 * 1_048_576;
const PASSING: ReadonlySet<number> = new Set([408, 409, 425, 429]);
/** Longest wait that a service may ask for. */
const LONGEST_RETRY_AFTER_MS = 600_000;

export function createChatClient(endpoint: ChatEndpoint): ChatClient {
  const base = new URL(endpoint.url);
  const secure = base.protocol === "https:";
  const agent = new (secure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: endpoint.concurrency });
  const at = (path: string): URL => {
    const url = new URL(base);
    url.pathname = `${base.pathname.replace(/\/+$/, "")}${path}`;
    return url;
  };
  const call = (method: "GET" | "POST", path: string, body: string | null, signal: AbortSignal): Promise<{ response: IncomingMessage; text: string }> => new Promise((resolve, reject) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(endpoint.timeoutMs)]);
    const failed = (error: unknown): void => {
      if (signal.aborted) return reject(signal.reason as Error);
      if (limit.aborted) return reject(new RequestError("passing", "TIMEOUT", `no answer within ${endpoint.timeoutMs / 1_000} s`));
      if (error instanceof RequestError) return reject(error);
      const code = (error as NodeJS.ErrnoException).code ?? "NETWORK";
      reject(new RequestError(/^(?:CERT_|ERR_TLS|UNABLE_TO|SELF_SIGNED|DEPTH_ZERO)|ERR_INVALID_CHAR/.test(code) ? "endpoint" : "passing", code, `${base.host}: ${(error as Error).message}`));
    };
    try {
      const sent = (secure ? httpsRequest : httpRequest)(at(path), {
        method, agent, signal: limit,
        headers: { ...endpoint.headers, accept: "application/json", ...(body === null ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }) },
      }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MOST_BYTES) response.destroy(new RequestError("prompt", "ANSWER_TOO_LARGE", `the answer is larger than ${MOST_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on("end", () => (response.complete ? resolve({ response, text: Buffer.concat(chunks).toString("utf8") }) : failed(Object.assign(new Error("the connection broke off"), { code: "ECONNRESET" }))));
        response.on("error", failed);
        response.on("aborted", () => failed(Object.assign(new Error("the connection broke off"), { code: "ECONNRESET" })));
      });
      sent.on("error", failed);
      sent.end(body);
    } catch (error) {
      failed(error);
    }
  });
  return {
    async complete(body, signal) {
      const { response, text } = await call("POST", "/chat/completions", JSON.stringify(body), signal);
      const status = response.statusCode ?? 0;
      if (status !== 200) throw refusalOf(status, text, response.headers["retry-after"], base);
      return answersOf(text);
    },
    async models(signal) {
      try {
        const { response, text } = await call("GET", "/models", null, signal);
        const { data } = JSON.parse(response.statusCode === 200 ? text : "{}") as { data?: { id?: unknown }[] };
        return (data ?? []).flatMap(({ id }) => (typeof id === "string" ? [id] : []));
      } catch {
        return [];
      }
    },
    close: () => agent.destroy(),
  };
}

function refusalOf(status: number, text: string, retryAfter: string | undefined, base: URL): RequestError {
  const { words, code: said } = wordsOf(text);
  const message = `HTTP ${status}${words === "" ? "" : `: ${words}`}`;
  const code = `HTTP_${status}`;
  if (PASSING.has(status) || status >= 500) {
    // A quota that is used up is also told as 429, and will not pass.
    if (status === 429 && said === "insufficient_quota") return new RequestError("endpoint", code, message);
    return new RequestError("passing", code, message, retryAfterMs(retryAfter));
  }
  if (status === 401 || status === 403) return new RequestError("endpoint", code, `${message}. Check the key (endpoint.apiKey, a secret of the agent) and what it may use.`);
  if (status >= 300 && status < 400) return new RequestError("endpoint", code, `${base.origin} redirects (HTTP ${status}), which is not followed. Give the final address in endpoint.url.`);
  if (status === 404 || status === 405 || said === "model_not_found" || /model.{0,80}(?:not found|does not exist|not exist|unknown)/i.test(words)) return new RequestError("endpoint", code, message);
  return new RequestError("prompt", code, message);
}

/** What the service says of an error, shortened to one line. */
function wordsOf(text: string): { words: string; code: string | null } {
  const short = (words: string) => words.replaceAll(/\s+/g, " ").trim().slice(0, 500).toWellFormed();
  try {
    const { error, message, detail } = JSON.parse(text) as { error?: unknown; message?: unknown; detail?: unknown };
    const inner = (typeof error === "object" && error !== null ? error : {}) as { message?: unknown; code?: unknown; type?: unknown };
    const words = [inner.message, error, message, detail].find((one) => typeof one === "string");
    const code = [inner.code, inner.type].find((one) => typeof one === "string");
    return { words: short((words as string | undefined) ?? text), code: (code as string | undefined) ?? null };
  } catch {
    return { words: short(text.replaceAll(/<[^>]*>/g, " ")), code: null };
  }
}

/** Seconds or a date, in milliseconds from now. */
export function retryAfterMs(header: string | undefined, now = Date.now()): number | null {
  if (header === undefined) return null;
  const ms = /^\d+(?:\.\d+)?$/.test(header.trim()) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), LONGEST_RETRY_AFTER_MS) : null;
}

function answersOf(text: string): readonly ChatAnswer[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new RequestError("passing", "NO_JSON", `the answer is no JSON: ${text.slice(0, 200).replaceAll(/\s+/g, " ").toWellFormed()}`);
  }
  const choices = (value as { choices?: unknown } | null)?.choices;
  if (!Array.isArray(choices) || choices.length === 0) {
    const { words } = wordsOf(text);
    throw new RequestError("endpoint", "NO_CHOICES", `the answer holds no choices, so this is no chat completion: ${words}`);
  }
  return choices.map((choice: { message?: { content?: unknown }; finish_reason?: unknown } | null) => ({
    text: (typeof choice?.message?.content === "string" ? choice.message.content : "").toWellFormed(), // null where the model says nothing
    truncated: choice?.finish_reason === "length",
  }));
}
