// Files from the server over HTTP: one request, and what may be repeated.
//   D1. A refusal keeps the server's code and words; what it calls retryable, and a connection that broke, may be repeated.

import { setTimeout as delay } from "node:timers/promises";
import type { Cli } from "../cli.js";
import { CliError, EXIT, UnreachableError, type ExitCode } from "../exit-codes.js";
import { reasonOf, refusedToken, unreachableHint } from "./client.js";

/** Tries in a row without a byte that came, before it is given up. */
const TRIES = 8;
const FIRST_MS = 250;
const LONGEST_MS = 15_000;
/** Time to the first byte of an answer, in milliseconds: the server may have to connect to a host first. */
const ANSWER_MS = 60_000;

export class DataRefusal extends CliError {
  readonly code: string;
  readonly retryable: boolean;
  constructor(exitCode: ExitCode, code: string, message: string, retryable: boolean) {
    super(exitCode, message);
    this.code = code;
    this.retryable = retryable;
  }
}

/** The connection broke while an answer came. */
export class BrokenOffError extends CliError {}

/** GETs a path of the server's, e.g. /data/v1/…; the body is still to be read. Throws DataRefusal, UnreachableError, CliError. */
export async function dataRequest(cli: Cli, path: string, parameters: Readonly<Record<string, string>> = {}, headers: Readonly<Record<string, string>> = {}, signal?: AbortSignal): Promise<Response> {
  const connection = cli.connection();
  const url = new URL(connection.url);
  url.pathname = url.pathname.replace(/\/graphql$/, path);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(Object.assign(new Error("no answer in time"), { name: "TimeoutError" })), ANSWER_MS);
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { ...headers, ...(connection.token === null ? {} : { authorization: `Bearer ${connection.token}` }) },
      signal: signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]), // holds for the body too; only `signal` can fire then
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new UnreachableError(connection.url, reasonOf(error), unreachableHint(connection, cli.self), error);
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  const text = (await response.text().catch(() => "")).slice(0, 100_000);
  if (response.status === 401) throw refusedToken({ connection, self: cli.self });
  let error: { message?: string; extensions?: { code?: string; retryable?: boolean } } | undefined;
  try {
    error = (JSON.parse(text) as { errors?: readonly { message: string }[] }).errors?.[0];
  } catch { /* no answer of ours */ }
  const again = response.status === 502 || response.status === 503 || response.status === 504;
  if (error?.message === undefined) throw new DataRefusal(EXIT.failure, "", `${url.host} answers ${response.status}, and not as a Trainyard of this version would: the server may be older than this program, or a proxy stands in between.`, again);
  throw new DataRefusal(response.status === 403 ? EXIT.auth : response.status === 404 ? EXIT.notFound : EXIT.failure, error.extensions?.code ?? "", error.message, error.extensions?.retryable ?? again);
}

/** Repeats what broke off (D1), waiting longer each time; `moved` says that something came, and counting begins anew. */
export async function overBreaks<T>(signal: AbortSignal, attempt: (moved: () => void) => Promise<T>): Promise<T> {
  for (let inARow = 0; ;) {
    try {
      return await attempt(() => { inARow = 0; });
    } catch (error) {
      signal.throwIfAborted();
      const passes = error instanceof UnreachableError || error instanceof BrokenOffError || (error instanceof DataRefusal && error.retryable);
      if (!passes || ++inARow >= TRIES) throw error;
      await delay(Math.min(LONGEST_MS, FIRST_MS * 2 ** inARow) * (0.5 + Math.random()), undefined, { signal });
    }
  }
}
