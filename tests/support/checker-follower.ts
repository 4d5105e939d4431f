// A reader of one stage's metrics and log over graphql-ws that loses its connection again and again and goes on from where it stood, and keeps all it was told. What it was not told, somebody must
// have declared: that is judged by the checker (invariant 15).

import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "graphql-ws";
import WebSocket from "ws";
import type { Chance } from "./chance.js";

export interface ToldPoint { readonly name: string; readonly step: number; readonly value: number | null; readonly nonFinite: string | null }
export interface ToldChunk { readonly fromByte: number; readonly toByte: number; readonly text: string; readonly skippedBytes: number }
/** What a reader was told, in the order of arrival. */
export interface Followed {
  readonly stageId: string;
  readonly points: ToldPoint[];
  /** Points that the stream said it left out. */
  dropped: number;
  readonly chunks: ToldChunk[];
  /** How often it tore a connection on which it had been told something. */
  torn: number;
}

export interface Follower {
  readonly followed: Followed;
  stop(): Promise<void>;
}

const METRICS = "subscription ($id: ID!, $from: SafeInt) { stageMetrics(stageId: $id, afterStep: $from) { dropped points { name step value nonFinite } } }";
const LOGS = "subscription ($id: ID!, $from: SafeInt) { stageLogs(stageId: $id, fromByte: $from) { fromByte toByte text skippedBytes } }";
/** Messages of one connection at most, before it is torn. */
const PATIENCE = 4;
/** So many connections of each reader are torn after their first message already: how many messages there are is not up to chance alone, but to how busy the machine is. */
const IMPATIENT = 2;

/** A socket that is torn while it still connects says so after graphql-ws has stopped listening: somebody must listen. */
class TearableSocket extends WebSocket {
  constructor(...given: ConstructorParameters<typeof WebSocket>) {
    super(...given);
    this.on("error", () => undefined);
  }
}

/** From the first point and the first byte. Connections are torn, without a goodbye: the first ones at once (IMPATIENT), later ones after a few messages as `chance` has it. */
export function startFollower(options: { url: string; token: string; stageId: string; chance: Chance }): Follower {
  const followed: Followed = { stageId: options.stageId, points: [], dropped: 0, chunks: [], torn: 0 };
  let afterStep = -1;
  let fromByte = 0;
  const stops: (() => void)[] = [];
  let stopped = false;

  const loop = async (query: string, chance: Chance, place: () => number, hear: (data: Record<string, unknown>) => void): Promise<void> => {
    for (let connections = 0; !stopped; connections++) {
      const client = createClient({ url: options.url, webSocketImpl: TearableSocket, retryAttempts: 0, connectionParams: { authorization: `Bearer ${options.token}` } });
      let patience = connections < IMPATIENT ? 1 : 1 + chance.below(PATIENCE);
      let torn = false;
      await new Promise<void>((resolve) => {
        const tear = (): void => {
          torn = true;
          client.terminate();
          resolve();
        };
        stops.push(tear);
        client.subscribe<Record<string, unknown>>({ query, variables: { id: options.stageId, from: place() } }, {
          next: ({ data }) => {
            if (torn || data == null) return;
            hear(data);
            if (--patience > 0) return;
            followed.torn++;
            tear();
          },
          error: () => resolve(),
          complete: () => resolve(),
        });
      });
      await client.dispose();
      if (!stopped) await delay(torn ? 30 : 200); // nobody answers: no hurry
    }
  };
  const loops = [
    loop(METRICS, options.chance.of("metrics"), () => afterStep, (data) => {
      const { dropped, points } = data["stageMetrics"] as { dropped: number; points: ToldPoint[] };
      followed.dropped += dropped;
      followed.points.push(...points);
      afterStep = Math.max(afterStep, ...points.map(({ step }) => step));
    }),
    loop(LOGS, options.chance.of("logs"), () => fromByte, (data) => {
      const chunk = data["stageLogs"] as ToldChunk;
      followed.chunks.push(chunk);
      fromByte = chunk.toByte;
    }),
  ];
  return {
    followed,
    async stop() {
      stopped = true;
      for (const tear of stops) tear();
      await Promise.all(loops);
    },
  };
}
