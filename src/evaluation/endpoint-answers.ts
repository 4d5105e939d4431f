// Draws the answers of all rows from an endpoint: so many requests at once, each repeated with growing waits while its failure may pass.
//   A1. Never more than `concurrency` requests are under way.
//   A2. When the service asks to wait (Retry-After), nobody asks meanwhile.
//   A3. A wrong key, an unknown model or a wrong address ends everything at once; a prompt that is refused is that row's error.
//   A4. When requests fail all the time, it gives up instead of failing every row in turn.

import { setTimeout as delay } from "node:timers/promises";
import { nearestName } from "../domain/pipeline/dag.js";
import type { EvaluateModelParams } from "../domain/evaluation/evaluate-params.js";
import { RequestError, type ChatAnswer, type ChatClient } from "./chat-client.js";
import { EvaluationGaveUpError, EvaluationRefusedError } from "./evaluation-errors.js";
import type { EvaluationRow } from "./evaluation-rows.js";

export const DEFAULT_CONCURRENCY = 8;
export const DEFAULT_RETRY = { maxAttempts: 6, backoffSeconds: 1, maxBackoffSeconds: 60 } as const;

export type Drawn = { readonly answers: readonly ChatAnswer[]; readonly error?: undefined } | { readonly answers: readonly ChatAnswer[]; readonly error: { readonly code: string; readonly message: string } };

export interface DrawOptions {
  readonly client: ChatClient;
  readonly params: EvaluateModelParams;
  readonly signal: AbortSignal;
  /** In [0, 1). */
  random(): number;
  say(text: string): void;
  /** What became of a row; at most `concurrency` of these are under way. */
  took(row: EvaluationRow, drawn: Drawn): Promise<void>;
}

/** Rows in a row that got no answer for a passing reason before A4. */
const failuresBeforeGivingUp = (concurrency: number): number => Math.max(20, 2 * concurrency);

/** Resolves when every row was handed to `took`. Throws EvaluationRefusedError, EvaluationGaveUpError, the signal's reason, and what `took` throws. */
export async function drawFromEndpoint(rows: readonly EvaluationRow[], options: DrawOptions): Promise<void> {
  const { params } = options;
  const concurrency = params.concurrency ?? DEFAULT_CONCURRENCY;
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const pause = createPause(options.say);
  let next = 0;
  let failedInARow = 0;
  const worker = async (): Promise<void> => {
    while (next < rows.length) {
      signal.throwIfAborted();
      const row = rows[next++]!;
      const drawn = await drawRow(row, options, signal, pause);
      failedInARow = drawn.error === undefined || drawn.error.code.startsWith("HTTP_4") && drawn.error.code !== "HTTP_429" ? 0 : failedInARow + 1;
      await options.took(row, drawn);
      if (failedInARow >= failuresBeforeGivingUp(concurrency)) throw new EvaluationGaveUpError(`${failedInARow} rows in a row got no answer, the last one: ${drawn.error!.message}`);
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, rows.length) }, worker); // A1
  for (const one of workers) one.catch((error: unknown) => ended.abort(error)); // the first that fails ends the others
  const results = await Promise.allSettled(workers);
  options.signal.throwIfAborted();
  if (ended.signal.aborted) throw ended.signal.reason as Error;
  const failed = results.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason as Error;
}

/** All answers of a row. A service that gives fewer than it was asked for is asked again for the rest. */
async function drawRow(row: EvaluationRow, options: DrawOptions, signal: AbortSignal, pause: Pause): Promise<Drawn> {
  const answers: ChatAnswer[] = [];
  const { n } = options.params.generation;
  try {
    while (answers.length < n) answers.push(...(await ask(requestOf(row, options.params, n - answers.length), options, signal, pause)).slice(0, n - answers.length));
    return { answers };
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    if (error.problem === "endpoint") throw await refusal(error, options, signal); // A3
    return { answers: [], error: { code: error.code, message: error.message } };
  }
}

type Request = Parameters<ChatClient["complete"]>[0];

/** The body of a request; `extra` goes over it, and null leaves a field out. */
export function requestOf(row: Pick<EvaluationRow, "prompt">, { endpoint, generation }: EvaluateModelParams, n: number): Request {
  const { temperature = generation.n === 1 ? 0 : 1, topP, maxTokens, extra = {} } = generation;
  const body = { model: endpoint!.model, messages: row.prompt, temperature, ...(topP === undefined ? {} : { top_p: topP }), max_tokens: maxTokens, ...(n === 1 ? {} : { n }), ...extra };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)) as unknown as Request;
}

async function ask(request: Request, { client, params, random, say }: DrawOptions, signal: AbortSignal, pause: Pause): Promise<readonly ChatAnswer[]> {
  const { maxAttempts, backoffSeconds, maxBackoffSeconds } = params.retry ?? DEFAULT_RETRY;
  for (let attempt = 1; ; attempt++) {
    await pause.over(signal);
    try {
      return await client.complete(request, signal);
    } catch (error) {
      if (!(error instanceof RequestError) || error.problem !== "passing" || attempt >= maxAttempts) throw error;
      if (error.retryAfterMs !== null) {
        pause.until(Date.now() + error.retryAfterMs, error); // A2
        continue;
      }
      const wait = Math.min(maxBackoffSeconds, backoffSeconds * 2 ** (attempt - 1)) * (0.5 + random() / 2);
      if (attempt > 1) say(`a request failed ${attempt} times (${error.message}); the next try in ${wait.toFixed(1)} s`);
      await delay(wait * 1_000, undefined, { signal });
    }
  }
}

interface Pause {
  until(at: number, why: RequestError): void;
  over(signal: AbortSignal): Promise<void>;
}

function createPause(say: (text: string) => void): Pause {
  let end = 0;
  return {
    until(at, why) {
      if (at > end + 1_000) say(`the service asks to wait ${((at - Date.now()) / 1_000).toFixed(1)} s (${why.message})`);
      end = Math.max(end, at);
    },
    async over(signal) {
      for (let left = end - Date.now(); left > 0; left = end - Date.now()) await delay(left, undefined, { signal });
    },
  };
}

/** A3, with the models that the service has where it says so. */
async function refusal(error: RequestError, { client, params }: DrawOptions, signal: AbortSignal): Promise<EvaluationRefusedError> {
  const { url, model } = params.endpoint!;
  if (error.code === "HTTP_401" || error.code === "HTTP_403" || !/^HTTP_4/.test(error.code)) return new EvaluationRefusedError(`${url} does not answer: ${error.message}`);
  const models = await client.models(signal);
  if (models.length === 0) return new EvaluationRefusedError(`${url} does not answer for model "${model}": ${error.message}. Check endpoint.url (usually it ends in /v1) and endpoint.model.`);
  if (models.includes(model)) return new EvaluationRefusedError(`${url} has model "${model}" and still refuses: ${error.message}`);
  const near = nearestName(model, models);
  return new EvaluationRefusedError(`${url} has no model "${model}"${near === null ? "" : `; did you mean "${near}"?`} It has ${models.slice(0, 10).join(", ")}${models.length > 10 ? ", …" : ""}.`);
}
