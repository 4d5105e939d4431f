// Subscriptions over graphql-ws that survive a server's restart.
//   W1. A lost connection is tried again for ever, with jitter; only a refused token or a refused operation ends the stream.
//   W2. What is sent after a reconnect is the payload object itself: the reader moves its cursor inside `variables`, so nothing is missed or repeated.
//   W3. A server that answers no ping within PONG_TIMEOUT_MS is taken for gone, although its socket still stands.
import { createClient, type Client } from "graphql-ws";
import WebSocket from "ws";
import { answeredError, refusedToken, type ClientOptions } from "../api/client.js";
import type { Cli } from "../cli.js";
import type { CliError } from "../exit-codes.js";

const PING_EVERY_MS = 10_000;
const PONG_TIMEOUT_MS = 5_000;
/** Longest wait between two tries, in milliseconds. */
const RETRY_CAP_MS = 10_000;

export interface StreamOptions<Item> {
  readonly query: string;
  /** Changed in place by `onItem` (W2). */
  readonly variables: Record<string, unknown>;
  onItem(item: Item): void;
}

export interface Stream {
  /** Rejects with CliError when the stream cannot go on; resolves after stop(). */
  readonly done: Promise<void>;
  stop(): void;
}

export interface SubscriptionClient {
  stream<Item>(options: StreamOptions<Item>): Stream;
  close(): void;
}

/** Connects with the first stream, and says on stderr when the line breaks and when it stands again. The caller closes it. */
export function openSubscriptions(cli: Cli): SubscriptionClient {
  const options: ClientOptions = { connection: cli.connection(), self: cli.self };
  const { connection } = options;
  let lost = false, closed = false;
  let pongTimer: NodeJS.Timeout | undefined;
  const client: Client = createClient({
    url: connection.wsUrl,
    webSocketImpl: WebSocket,
    lazy: true,
    retryAttempts: Infinity,
    shouldRetry: (error) => !isRefusal(error),
    retryWait: (retries) => new Promise((resolve) => setTimeout(resolve, retryDelayMs(retries, Math.random()))),
    keepAlive: PING_EVERY_MS,
    connectionAckWaitTimeout: 10_000,
    connectionParams: () => (connection.token === null ? {} : { authorization: `Bearer ${connection.token}` }),
    on: {
      ping: (received) => {
        if (!received) pongTimer = setTimeout(() => client.terminate(), PONG_TIMEOUT_MS); // W3
      },
      pong: (received) => {
        if (received) clearTimeout(pongTimer);
      },
      connected: () => {
        if (lost) cli.note(cli.noteStyle.dim("The connection is back."));
        lost = false;
      },
      closed: () => {
        clearTimeout(pongTimer);
        if (!lost && !closed) cli.note(cli.noteStyle.yellow("The connection to the server is lost; trying again until it is back. Nothing will be missed."));
        lost = true;
      },
    },
  });

  return {
    stream<Item>({ query, variables, onItem }: StreamOptions<Item>): Stream {
      const payload = { query, variables };
      let stopped = false;
      let unsubscribe: () => void = () => undefined;
      const done = new Promise<void>((resolve, reject) => {
        const subscribe = () => {
          unsubscribe = client.subscribe<Record<string, Item>>(payload, {
            next: (result) => {
              if (stopped) return;
              const error = result.errors?.[0];
              if (error !== undefined) return reject(answeredError(error as Parameters<typeof answeredError>[0]));
              for (const item of Object.values(result.data ?? {})) onItem(item);
            },
            error: (error) => (stopped ? resolve() : reject(translate(error, options))),
            complete: () => {
              if (stopped || closed) return resolve();
              setTimeout(subscribe, retryDelayMs(0, Math.random())); // a server that shuts down ends its streams first; its successor takes them up
            },
          });
        };
        subscribe();
      });
      done.catch(() => undefined); // whoever awaits `done` is told; nobody else is
      return {
        done,
        stop() {
          stopped = true;
          unsubscribe();
        },
      };
    },
    close() {
      closed = true;
      clearTimeout(pongTimer);
      void client.dispose();
    },
  };
}

/** Wait before the n-th retry (from 0), in milliseconds: doubling from 250 to the cap, half of it by chance, so that a fleet of watchers comes back spread out. */
export function retryDelayMs(retries: number, chance: number): number {
  const whole = Math.min(RETRY_CAP_MS, 250 * 2 ** Math.min(retries, 10));
  return whole / 2 + (whole / 2) * chance;
}

function isRefusal(error: unknown): boolean {
  const code = (error as { code?: unknown }).code;
  return code === 4403 || code === 4401;
}

function translate(error: unknown, options: ClientOptions): CliError | Error {
  if (Array.isArray(error)) return answeredError(error[0] as Parameters<typeof answeredError>[0]);
  if (isRefusal(error)) return refusedToken(options);
  const { code, reason } = error as { code?: number; reason?: string };
  if (typeof code === "number") return answeredError({ message: `the subscription was closed with ${code}${reason === undefined || reason === "" ? "" : ` (${reason})`}` });
  return error instanceof Error ? error : new Error(String((error as { message?: string }).message ?? error));
}
