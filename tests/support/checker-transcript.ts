// A subscriber to all state events over graphql-ws that comes back after every break with its last cursor, and keeps all it was told.

import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

export interface Told { readonly pipelineId: string; readonly seq: number; readonly type: string }

export interface Transcript {
  /** In the order of arrival, repetitions included. */
  readonly told: readonly Told[];
  /** How often it had to connect again. */
  readonly reconnects: number;
  stop(): Promise<void>;
}

const QUERY = "subscription ($after: EventCursor) { fleetEvents(after: $after) { __typename ... on PipelineEvent { cursor pipelineId seq type } ... on Bookmark { cursor } } }";

/** Follows from the very first event. */
export function startTranscript(options: { url: string; token: string }): Transcript {
  const told: Told[] = [];
  let after = Buffer.from("g:0").toString("base64url");
  let stopped = false;
  let reconnects = 0;
  let hangUp: () => void = () => undefined;
  const loop = (async () => {
    while (!stopped) {
      const client = createClient({ url: options.url, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: { authorization: `Bearer ${options.token}` } });
      await new Promise<void>((resolve) => {
        hangUp = resolve;
        client.subscribe<{ fleetEvents: Told & { __typename: string; cursor: string } }>({ query: QUERY, variables: { after } }, {
          next: ({ data }) => {
            if (data?.fleetEvents.__typename === "PipelineEvent") told.push({ pipelineId: data.fleetEvents.pipelineId, seq: Number(data.fleetEvents.seq), type: data.fleetEvents.type });
            if (data?.fleetEvents.cursor !== undefined) after = data.fleetEvents.cursor;
          },
          error: () => resolve(),
          complete: () => resolve(),
        });
      });
      await client.dispose();
      reconnects++;
      if (!stopped) await delay(50);
    }
  })();
  return {
    told,
    get reconnects() { return reconnects; },
    async stop() {
      stopped = true;
      hangUp();
      await loop;
    },
  };
}
