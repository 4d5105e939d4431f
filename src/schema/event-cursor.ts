// Event cursors: places in the event log as opaque text. `g:<position>` counts over all pipelines, `p:<pipeline>:<seq>` within one.

import { isId, type PipelineId } from "../domain/ids.js";
import { badInput } from "./api-errors.js";

export type EventPlace =
  | { readonly kind: "fleet"; readonly position: number }
  | { readonly kind: "pipeline"; readonly pipelineId: PipelineId; readonly seq: number };

export function encodePlace(place: EventPlace): string {
  return Buffer.from(place.kind === "fleet" ? `g:${place.position}` : `p:${place.pipelineId}:${place.seq}`).toString("base64url");
}

/** Throws BAD_USER_INPUT for anything that `encodePlace` did not make. */
export function decodePlace(cursor: string): EventPlace {
  const text = /^[A-Za-z0-9_-]+$/.test(cursor) ? Buffer.from(cursor, "base64url").toString("latin1") : "";
  const [kind, ...rest] = text.split(":");
  if (kind === "g" && rest.length === 1 && isCount(rest[0]!)) return { kind: "fleet", position: Number(rest[0]) };
  if (kind === "p" && rest.length === 2 && isId("pip", rest[0]!) && isCount(rest[1]!)) return { kind: "pipeline", pipelineId: rest[0], seq: Number(rest[1]) };
  throw badInput("This is no event cursor of this API. Give back a cursor exactly as it came, or leave it out to start from now.");
}

function isCount(text: string): boolean {
  return /^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text));
}
