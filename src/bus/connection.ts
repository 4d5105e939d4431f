// One connection to Redis that is either good or over: it never queues, never reconnects by itself, and notices a frozen server.
//   C1. A command sent while the connection is down fails at once; nothing is carried out late (node-redis would queue it).
//   C2. A server that stops answering ends the connection after `silenceMs`: commands reject, `over` resolves. Whoever uses it owns the retry.

import { createClient, ErrorReply } from "redis";
import { UnavailableError } from "../domain/errors.js";

export interface RedisAddress {
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
}

export interface RedisConnection {
  /** Sends one command. Commands sent in the same turn travel together. Rejects with the server's error reply, or UnavailableError when the connection ends. */
  command(args: readonly string[]): Promise<unknown>;
  /** Resolves once, with the reason, when the connection has ended. */
  readonly over: Promise<Error>;
  /** Ends it without waiting for replies; repeatable. */
  close(): void;
}

export interface ConnectOptions {
  /** Longest wait for any reply, blocking reads included, in milliseconds. */
  readonly silenceMs: number;
  /** Longest wait for the connection itself, in milliseconds. */
  readonly connectMs?: number;
}

/** Connects, authenticates and pings. Throws UnavailableError. */
export async function connectRedis(address: RedisAddress, options: ConnectOptions): Promise<RedisConnection> {
  const client = createClient({
    url: address.url,
    ...(address.username === null ? {} : { username: address.username }),
    ...(address.password === null ? {} : { password: address.password }),
    RESP: 2, // plain arrays in every reply, whatever the server's version
    disableOfflineQueue: true, // C1
    disableClientInfo: true, // the agents' ACL users need not be allowed it
    maintNotifications: "disabled",
    socket: { connectTimeout: options.connectMs ?? 2_000, reconnectStrategy: false, noDelay: true },
    commandOptions: { timeout: 0 },
  });
  let end: (reason: Error) => void = () => undefined;
  let ended = false;
  const over = new Promise<Error>((resolve) => {
    end = (reason) => {
      if (ended) return;
      ended = true;
      resolve(reason);
      client.destroy();
    };
  });
  client.on("error", (error: Error) => end(error));
  client.on("end", () => end(new Error("the connection was closed")));

  const watched = async <T>(reply: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => end(new Error(`no reply for ${options.silenceMs} ms`)), options.silenceMs); // C2
    try {
      return await Promise.race([reply, over.then((reason) => Promise.reject(reason))]);
    } catch (error) {
      if (error instanceof ErrorReply) throw error;
      end(error as Error);
      const reason = await over;
      throw new UnavailableError(`Redis is away: ${reason.message}.`, { cause: reason });
    } finally {
      clearTimeout(timer);
    }
  };

  try {
    await watched(client.connect());
    await watched(client.ping());
  } catch (error) {
    end(error as Error);
    throw new UnavailableError(`Redis at ${withoutSecrets(address.url)} cannot be used: ${(error as Error).message}`, { cause: error });
  }
  return {
    command: (args) => {
      if (ended) return Promise.reject(new UnavailableError("Redis is away: the connection is over."));
      const reply = client.sendCommand([...args]);
      reply.catch(() => undefined); // it also rejects after `over` has answered the caller
      return watched(reply);
    },
    over,
    close: () => end(new Error("closed by us")),
  };
}

function withoutSecrets(url: string): string {
  const shown = new URL(url);
  shown.password = "";
  shown.username = "";
  return shown.href;
}
