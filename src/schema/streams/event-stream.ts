// The stream of state events after a cursor: each exactly once, in order, out of the tail's memory where it can and out of SQL where it must.
//   V1. The wake-up is registered before the first read, so nothing falls between reading and waiting.
//   V2. Numbers are dense: an event whose predecessor is missing means that retention removed some. The reader is told to resync; nothing is skipped in silence.
//   V3. Without a cursor the stream starts now and says where that is: a Bookmark comes first. A quiet stream repeats it.

import type { PipelineId } from "../../domain/ids.js";
import { NotFoundError } from "../../domain/errors.js";
import type { Db } from "../../db/database.js";
import { failpoint } from "../../failpoints.js";
import { badInput } from "../api-errors.js";
import { decodePlace, encodePlace } from "../event-cursor.js";
import type { EventItem } from "./event-item.js";
import { headPosition, selectEvents, type Attachment, type EventTail, type StoredEvent } from "./event-tail.js";
import { pullStream, type Page, type PageSource } from "./pull-stream.js";

export type StreamItem =
  | EventItem
  | { readonly kind: "bookmark"; readonly cursor: string }
  | { readonly kind: "resync"; readonly head: string };

/** Events in one page. */
export const EVENT_PAGE = 256;

export interface EventStreamOptions {
  readonly db: Db;
  readonly tail: EventTail;
  /** One pipeline, or all (null). */
  readonly pipelineId: PipelineId | null;
  /** As the client sent it. */
  readonly after: string | null;
  readonly bookmarkEveryMs: number;
}

/** Throws BAD_USER_INPUT for a cursor that is none; the stream itself throws NotFoundError when there is no such pipeline. */
export function eventStream({ db, tail, pipelineId, after, bookmarkEveryMs }: EventStreamOptions): AsyncIterableIterator<StreamItem> {
  const asked = after === null ? null : decodePlace(after);
  const encode = (place: number) => encodePlace(pipelineId === null ? { kind: "fleet", position: place } : { kind: "pipeline", pipelineId, seq: place });
  let attachment: Attachment | null = null;
  /** Position or seq of the last event given out. */
  let place = 0;
  /** The newest there was when the stream started: up to here there must be events. */
  let head = 0;
  let first: readonly StreamItem[] = [];

  async function resync(): Promise<Page<StreamItem>> {
    return { items: [{ kind: "resync", head: encode(await headOf(db, pipelineId)) }], then: "end" };
  }

  const source: PageSource<StreamItem> = {
    idleEveryMs: bookmarkEveryMs,
    idle: () => ({ kind: "bookmark", cursor: encode(place) }),
    async start(wake) {
      attachment = tail.attach(pipelineId, wake); // V1
      await attachment.ready;
      head = await headOf(db, pipelineId);
      place = asked === null ? head : await placeIn(db, asked, pipelineId);
      if (asked === null) first = [{ kind: "bookmark", cursor: encode(head) }];
    },
    async page() {
      if (first.length > 0) {
        const items = first;
        first = [];
        return { items, then: "more" }; // what came while the head was read is still to be looked for
      }
      if (place > head && place > (head = await headOf(db, pipelineId))) return resync(); // a cursor from before a restored backup
      const remembered = tail.after(pipelineId, place, EVENT_PAGE);
      const events = remembered ?? (await readAfter(db, pipelineId, place));
      const number = (event: StoredEvent) => (pipelineId === null ? event.position : event.seq);
      if (events.length === 0) return place < head && remembered === null ? resync() : { items: [], then: "wait" };
      if (number(events[0]!) !== place + 1 || number(events.at(-1)!) !== place + events.length) return resync(); // V2
      failpoint("during-subscription-page");
      place += events.length;
      head = Math.max(head, place);
      return { items: events.map((event) => tail.itemOf(event, pipelineId === null)), then: remembered === null || events.length === EVENT_PAGE ? "more" : "wait" };
    },
    stop: () => attachment?.detach(),
  };
  return pullStream(source);
}

/** History: events after a place, oldest first. */
export function readAfter(db: Db, pipelineId: PipelineId | null, place: number, limit: number = EVENT_PAGE): Promise<StoredEvent[]> {
  return pipelineId === null
    ? selectEvents(db).where("position", ">", place).orderBy("position").limit(limit).execute()
    : selectEvents(db).where("pipeline_id", "=", pipelineId).where("seq", ">", place).orderBy("seq").limit(limit).execute();
}

/** Newest position, or newest seq of a pipeline. Throws NotFoundError. */
async function headOf(db: Db, pipelineId: PipelineId | null): Promise<number> {
  if (pipelineId === null) return headPosition(db);
  const row = await db.selectFrom("pipelines").select("seq").where("id", "=", pipelineId).executeTakeFirst();
  if (row === undefined) throw new NotFoundError("pipeline", pipelineId);
  return row.seq;
}

/** A cursor as a number in this stream; a cursor of the other kind is translated. Throws BAD_USER_INPUT. */
export async function placeIn(db: Db, asked: ReturnType<typeof decodePlace>, pipelineId: PipelineId | null): Promise<number> {
  if (asked.kind === "fleet") {
    if (pipelineId === null) return asked.position;
    const row = await db.selectFrom("events").select((eb) => eb.fn.max("seq").as("seq")).where("pipeline_id", "=", pipelineId).where("position", "<=", asked.position).executeTakeFirst();
    return row?.seq ?? 0;
  }
  if (pipelineId !== null && asked.pipelineId !== pipelineId) throw badInput("The cursor belongs to another pipeline. Use a cursor of this pipeline, or leave it out to start from now.");
  if (pipelineId !== null) return asked.seq;
  if (asked.seq === 0) return 0;
  const row = await db.selectFrom("events").select("position").where("pipeline_id", "=", asked.pipelineId).where("seq", "=", asked.seq).executeTakeFirst();
  if (row === undefined) throw badInput("The event that this cursor names is not kept. Read the state, then follow from its head.");
  return row.position;
}
