// Pages: what `first`, `last`, `after` and `before` mean together, and the page made of the rows found.
//   P1. A size outside 1–100 is refused, never capped; asking for both ends at once too.
//   P2. The order is the same whichever way one pages. hasNextPage and hasPreviousPage are exact in the direction of paging; against it they say whether
//       there is anything on the other side of the cursor that was given.

import type { ListPlace } from "../db/newest-first.js";
import { badInput } from "./api-errors.js";
import { builder } from "./builder.js";

export const MAX_PAGE = 100;
const DEFAULT_PAGE = 50;

export interface PageArgs {
  readonly first?: number | null | undefined;
  readonly last?: number | null | undefined;
  readonly after?: string | null | undefined;
  readonly before?: string | null | undefined;
}
export interface PageAsked<Key> {
  readonly size: number;
  readonly forward: boolean;
  readonly after: Key | null;
  readonly before: Key | null;
}
export interface PageInfoShape { readonly hasNextPage: boolean; readonly hasPreviousPage: boolean; readonly startCursor: string | null; readonly endCursor: string | null }
export interface ConnectionShape<Row> { readonly edges: readonly { readonly node: Row; readonly cursor: string }[]; readonly pageInfo: PageInfoShape }

/** P1. `decode` throws for a cursor that is none. Throws BAD_USER_INPUT. */
export function readPageArgs<Key>(args: PageArgs, decode: (cursor: string) => Key): PageAsked<Key> {
  const first = args.first ?? null, last = args.last ?? null;
  if (first !== null && last !== null) throw badInput("Ask for `first` or for `last`, not for both.");
  return {
    size: pageSize(first ?? last ?? DEFAULT_PAGE, first === null && last !== null ? "last" : "first"),
    forward: last === null,
    after: args.after == null ? null : decode(args.after),
    before: args.before == null ? null : decode(args.before),
  };
}

/** The size if it is between 1 and 100. Throws BAD_USER_INPUT. */
export function pageSize(size: number, name: string): number {
  if (size < 1 || size > MAX_PAGE) throw badInput(`\`${name}\` is between 1 and ${MAX_PAGE}; ${size} was asked for. Page through the rest with cursors.`);
  return size;
}

/** Makes the page of rows found in the direction of paging, one more than asked for where there are more. */
export function pageOf<Row, Key>(asked: PageAsked<Key>, found: readonly Row[], cursorOf: (row: Row) => string): ConnectionShape<Row> {
  const more = found.length > asked.size;
  const rows = found.slice(0, asked.size);
  if (!asked.forward) rows.reverse();
  const edges = rows.map((node) => ({ node, cursor: cursorOf(node) }));
  return {
    edges,
    pageInfo: {
      hasNextPage: asked.forward ? more : asked.before !== null,
      hasPreviousPage: asked.forward ? asked.after !== null : more,
      startCursor: edges[0]?.cursor ?? null,
      endCursor: edges.at(-1)?.cursor ?? null,
    },
  };
}

/** Cursors of lists are tagged text, so that a cursor of one list is no cursor of another. */
export function encodeListCursor(tag: string, ...parts: readonly (string | number)[]): string {
  return Buffer.from([tag, ...parts].join(":")).toString("base64url");
}

/** The parts of a cursor that `encodeListCursor` made with this tag. Throws BAD_USER_INPUT. */
export function decodeListCursor(cursor: string, tag: string, pattern: RegExp): string[] {
  const text = cursor.length <= 200 && /^[A-Za-z0-9_-]+$/.test(cursor) ? Buffer.from(cursor, "base64url").toString("latin1") : "";
  const [found, ...parts] = text.split(":");
  if (found !== tag || !pattern.test(parts.join(":"))) throw badInput("This is no cursor of this list. Give back a cursor exactly as it came.");
  return parts;
}

/** The cursor of a row in a list that goes from the newest to the oldest. */
export function encodeListPlace(tag: string, { createdMicros, id }: { readonly createdMicros: string; readonly id: string }): string {
  return encodeListCursor(tag, createdMicros, id);
}

/** The place that `encodeListPlace` made a cursor of; ids begin with `idPrefix`. Throws BAD_USER_INPUT. */
export function decodeListPlace(cursor: string, tag: string, idPrefix: string): ListPlace {
  return decodeListCursor(cursor, tag, new RegExp(`^\\d{1,17}:${idPrefix}_[0-9a-z]{26}$`)) as unknown as ListPlace;
}

export const PageInfo = builder.objectRef<PageInfoShape>("PageInfo").implement({
  description: "Where a page stands in its list.",
  fields: (t) => ({
    hasNextPage: t.exposeBoolean("hasNextPage"),
    hasPreviousPage: t.exposeBoolean("hasPreviousPage"),
    startCursor: t.exposeString("startCursor", { nullable: true }),
    endCursor: t.exposeString("endCursor", { nullable: true }),
  }),
});
