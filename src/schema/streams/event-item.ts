// A stored event as an item of a stream: the fleet's and a pipeline's stream name the same event by different cursors.

import { encodePlace } from "../event-cursor.js";
import type { StoredEvent } from "./event-tail.js";

export interface EventItem { readonly kind: "event"; readonly event: StoredEvent; readonly cursor: string }

export function makeItem(event: StoredEvent, fleet: boolean): EventItem {
  return { kind: "event", event, cursor: encodePlace(fleet ? { kind: "fleet", position: event.position } : { kind: "pipeline", pipelineId: event.pipelineId, seq: event.seq }) };
}
