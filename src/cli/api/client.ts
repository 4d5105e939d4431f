// GraphQL over HTTP for the commands: one call, one answer, and every failure translated into an error that says what to do.
//   H1. A call that may have reached the server is repeated only when the caller says that repeating is harmless.
import { setTimeout as delay } from "node:timers/promises";
import { CliError, EXIT, UnreachableError } from "../exit-codes.js";
import type { Connection } from "../connection.js";

/** Time one call may take, in milliseconds. */
const CALL_TIMEOUT_MS = 30_000;

export interface ApiClient {
  readonly connection: Connection;
  /** Runs one operation. Throws UnreachableError, or CliError for what the server answered. */
  call<T>(document: string, variables?: Readonly<Record<string, unknown>>, options?: CallOptions): Promise<T>;
}

export interface CallOptions {
  /** Time this call may take, in milliseconds; below the 300 s after which Node's fetch gives an answer up. */
  readonly timeoutMs?: number;
}

export interface ClientOptions {
  readonly connection: Connection;
  /** How the user calls this program, for hints: "trainyard" or "npx trainyard". */
  readonly self: string;
  readonly timeoutMs?: number;
}

interface GraphQLAnswer {
  readonly data?: unknown;
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string; readonly requestId?: string } }[];
}

export function createApiClient(options: ClientOptions): ApiClient {
  return {
    connection: options.connection,
    async call<T>(document: string, variables: Readonly<Record<string, unknown>> = {}, callOptions: CallOptions = {}): Promise<T> {
      const { status, text } = await post({ ...options, ...callOptions }, JSON.stringify({ query: document, variables }));
      const answer = parseAnswer(text);
      if (status === 401 || answer?.errors?.some((error) => error.extensions?.code === "UNAUTHENTICATED")) throw refusedToken(options);
      if (answer === null) throw noGraphQL(options.connection.url, status, text);
      const error = answer.errors?.[0];
      if (error !== undefined) throw answeredError(error, status);
      return answer.data as T;
    },
  };
}

async function post({ connection, self, timeoutMs }: ClientOptions, body: string): Promise<{ status: number; text: string }> {
  try {
    const response = await fetch(connection.url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/graphql-response+json, application/json",
        ...(connection.token === null ? {} : { authorization: `Bearer ${connection.token}` }),
      },
      body,
      signal: AbortSignal.timeout(timeoutMs ?? CALL_TIMEOUT_MS),
    });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    throw new UnreachableError(connection.url, reasonOf(error), unreachableHint(connection, self), error);
  }
}

/** What to try when nobody answers. */
export function unreachableHint(connection: Connection, self: string): string {
  if (connection.source === "TRAINYARD_URL" || connection.source === "--url") return `Check ${connection.source}, or start a server here with \`${self} up\`.`;
  if (connection.dataDir !== null) return `It was started with the data directory ${connection.dataDir}. Start it again with \`${self} up --data-dir ${connection.dataDir}\`, or point TRAINYARD_URL at another.`;
  return `Start one with \`${self} up\`, or point TRAINYARD_URL at yours.`;
}

/** Why fetch or a socket failed, in few words. */
export function reasonOf(error: unknown): string {
  const cause = ((error as { cause?: unknown }).cause ?? error) as { code?: string; message?: string; name?: string; errors?: readonly { code?: string }[] };
  const code = cause.code ?? cause.errors?.[0]?.code;
  switch (code) {
    case "ECONNREFUSED": return "connection refused";
    case "ENOTFOUND": case "EAI_AGAIN": return "the name of the host cannot be resolved";
    case "ECONNRESET": case "UND_ERR_SOCKET": case "EPIPE": return "the connection broke";
    case "EHOSTUNREACH": case "ENETUNREACH": return "no way to the host";
    case "ETIMEDOUT": case "UND_ERR_CONNECT_TIMEOUT": return "the host does not answer";
    case "SELF_SIGNED_CERT_IN_CHAIN": case "DEPTH_ZERO_SELF_SIGNED_CERT": case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
      return "its certificate is signed by an authority unknown here; name it in NODE_EXTRA_CA_CERTS";
    default:
  }
  if ((error as { name?: string }).name === "TimeoutError") return "no answer in time";
  return cause.message ?? String(error);
}

export function refusedToken({ connection, self }: Pick<ClientOptions, "connection" | "self">): CliError {
  return connection.token === null
    ? new CliError(EXIT.auth, `${connection.url} asks for a token and none is given.`, { hint: `Set TRAINYARD_TOKEN. An admin makes one with \`${self} token create --role operator --name you\`.` })
    : new CliError(EXIT.auth, `${connection.url} refuses the token: it is wrong, expired or revoked.`, { hint: `Set TRAINYARD_TOKEN to a valid one; \`${self} doctor\` shows which one is used.` });
}

function parseAnswer(text: string): GraphQLAnswer | null {
  try {
    const answer = JSON.parse(text) as GraphQLAnswer | null;
    return typeof answer === "object" && answer !== null && ("data" in answer || Array.isArray(answer.errors)) ? answer : null;
  } catch {
    return null;
  }
}

function noGraphQL(url: string, status: number, text: string): CliError {
  const said = text.trim().slice(0, 200);
  if (status === 403) return new CliError(EXIT.auth, `${url} answers 403${said === "" ? "" : `: ${said}`}.`, { hint: "The token does not reach this; agent tokens serve agents only." });
  if (status === 413) return new CliError(EXIT.failure, `${url} refuses the request as too large.`, { hint: "Make the specification smaller, or raise TRAINYARD_BODY_LIMIT_BYTES on the server." });
  if (status >= 500) return new CliError(EXIT.failure, `${url} answers ${status}${said === "" ? "" : `: ${said}`}.`, { hint: "Try again; if it stays so, look at the server's log." });
  return new CliError(EXIT.failure, `${url} answers ${status}, and not as a Trainyard would.`, { hint: "Check the address: it is the root of the server, e.g. http://127.0.0.1:7070." });
}

/** The error of one GraphQL answer or subscription. */
export function answeredError(error: { message: string; extensions?: { code?: string; requestId?: string } }, status = 200): CliError {
  const code = error.extensions?.code;
  if (code === "FORBIDDEN") return new CliError(EXIT.auth, error.message, { hint: "The token's role does not allow this; ask an admin for a higher one." });
  if (code === "NOT_FOUND") return new CliError(EXIT.notFound, error.message);
  if (code === "BAD_USER_INPUT" || code === "INVALID_INPUT" || code === "OUT_OF_RANGE") return new CliError(EXIT.usage, error.message);
  if (status === 400 && /Cannot query field|Unknown (argument|type)/.test(error.message)) {
    return new CliError(EXIT.failure, `The server does not know this request: ${error.message}`, { hint: "Server and command line are of different versions; update the older one." });
  }
  if (code === "ROWS_NOT_REACHABLE" || code === "FILE_CHANGED") return new CliError(EXIT.failure, error.message); // says what to do
  const requestId = error.extensions?.requestId;
  return new CliError(EXIT.failure, `The server failed: ${error.message}`, { hint: requestId === undefined ? null : `Its log tells more under request id ${requestId}.` });
}

/** Repeats a call that is harmless to repeat (H1) while the server cannot be reached: `attempts` in all, a little further apart each time. */
export async function persistently<T>(attempts: number, call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof UnreachableError) || attempt >= attempts || reasonOf(error.cause ?? error) === "connection refused") throw error;
      await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt));
    }
  }
}

/** Repeats a call while the server cannot be reached, ever further apart, for as long as it takes. Throws what the call threw when the signal aborts. */
export async function patiently<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let waitMs = 250; ; waitMs = Math.min(5_000, waitMs * 2)) {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof UnreachableError) || signal.aborted) throw error;
      await delay(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Time that one call may take whose work on the server goes on without it, in milliseconds. */
const LONG_CALL_MS = 240_000;

/** Asks for work that takes as long as it takes, and that whoever asks again joins (H1): a call without an answer in time, or whose connection broke, is repeated. */
export async function untilDone<T>(call: (options: CallOptions) => Promise<T>): Promise<T> {
  for (;;) {
    const begunAt = Date.now();
    try {
      return await persistently(4, () => call({ timeoutMs: LONG_CALL_MS }));
    } catch (error) {
      if (!(error instanceof UnreachableError) || Date.now() - begunAt < LONG_CALL_MS) throw error;
    }
  }
}
