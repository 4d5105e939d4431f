// State events: one pipeline's history, the fleet's, and both as live streams.

import type { PipelineId } from "../domain/ids.js";
import { isId } from "../domain/ids.js";
import { NotFoundError } from "../domain/errors.js";
import { builder } from "./builder.js";
import { decodePlace } from "./event-cursor.js";
import type { Context } from "./context.js";
import { pageSize } from "./paging.js";
import { makeItem, type EventItem } from "./streams/event-item.js";
import { eventStream, placeIn, readAfter, type StreamItem } from "./streams/event-stream.js";

/** Events of one answer unless asked otherwise. */
export const DEFAULT_HISTORY = 100;

export const PipelineEvent = builder.objectRef<EventItem>("PipelineEvent").implement({
  description: "Something that happened to a pipeline. Stored for ever, never changed.",
  fields: (t) => ({
    cursor: t.expose("cursor", { type: "EventCursor" }),
    pipelineId: t.id({ resolve: ({ event }) => event.pipelineId }),
    seq: t.field({ type: "SafeInt", description: "1, 2, 3 … within its pipeline, without a hole.", resolve: ({ event }) => event.seq }),
    type: t.string({ description: "What happened, in the past tense; docs list them all.", resolve: ({ event }) => event.type }),
    stage: t.string({ nullable: true, description: "Name of the stage it happened to; null when it concerns the whole pipeline.", resolve: ({ event }) => event.stage }),
    payload: t.field({ type: "JSON", description: "The facts of this type of event.", resolve: ({ event }) => JSON.parse(event.payloadText) as unknown }),
    at: t.field({ type: "DateTime", resolve: ({ event }) => event.at }),
  }),
});

const Bookmark = builder.objectRef<Extract<StreamItem, { kind: "bookmark" }>>("Bookmark").implement({
  description: "The stream is quiet and alive. Keep its cursor: resuming from there misses nothing.",
  fields: (t) => ({ cursor: t.expose("cursor", { type: "EventCursor" }) }),
});

const ResyncRequired = builder.objectRef<Extract<StreamItem, { kind: "resync" }>>("ResyncRequired").implement({
  description: "Events after the cursor are no longer kept. Read the state, then subscribe again from `head`; this stream ends.",
  fields: (t) => ({ head: t.expose("head", { type: "EventCursor" }) }),
});

const TYPE_OF_ITEM = { event: "PipelineEvent", bookmark: "Bookmark", resync: "ResyncRequired" } as const;

const PipelineStreamItem = builder.unionType("PipelineStreamItem", {
  description: "What a stream of events is made of.",
  types: [PipelineEvent, Bookmark, ResyncRequired],
  resolveType: (item) => TYPE_OF_ITEM[(item as StreamItem).kind],
});

builder.queryField("events", (t) => t.field({
  type: [PipelineEvent],
  description: "History over all pipelines, oldest first, from after the cursor.",
  args: { after: t.arg({ type: "EventCursor" }), first: t.arg.int({ defaultValue: DEFAULT_HISTORY }) },
  resolve: (_root, { after, first }, context) => history(context, null, after ?? null, first ?? DEFAULT_HISTORY),
}));

builder.subscriptionField("pipelineEvents", (t) => t.field({
  type: PipelineStreamItem,
  description: "Each state event of one pipeline exactly once and in order, from after the cursor. Without a cursor it starts now, with a Bookmark that says where.",
  args: { pipelineId: t.arg.id({ required: true }), after: t.arg({ type: "EventCursor" }) },
  subscribe: (_root, { pipelineId, after }, context) => {
    if (!isId("pip", pipelineId)) throw new NotFoundError("pipeline", pipelineId);
    return eventStream({ db: context.deps.db, tail: context.deps.tail, pipelineId, after: after ?? null, bookmarkEveryMs: context.deps.bookmarkEveryMs });
  },
  resolve: (item) => item as EventItem,
}));

builder.subscriptionField("fleetEvents", (t) => t.field({
  type: PipelineStreamItem,
  description: "The same over all pipelines, in one order that everybody sees.",
  args: { after: t.arg({ type: "EventCursor" }) },
  subscribe: (_root, { after }, context) =>
    eventStream({ db: context.deps.db, tail: context.deps.tail, pipelineId: null, after: after ?? null, bookmarkEveryMs: context.deps.bookmarkEveryMs }),
  resolve: (item) => item as EventItem,
}));

/** A page of history. Throws BAD_USER_INPUT for a cursor that is none or belongs elsewhere. */
export async function history(context: Context, pipelineId: PipelineId | null, after: string | null, first: number): Promise<EventItem[]> {
  const size = pageSize(first, "first");
  const place = after === null ? 0 : await placeIn(context.deps.db, decodePlace(after), pipelineId);
  return (await readAfter(context.deps.db, pipelineId, place, size)).map((event) => makeItem(event, pipelineId === null));
}
