// Lists that go from the newest row to the oldest, by `created_at` and `id`: rows of one moment have an order too.

import { sql } from "kysely";

/** Where a row stands in its list: its age as Postgres keeps it, in microseconds since 1970, then its id. */
export type ListPlace = readonly [createdMicros: string, id: string];

/** What a row's place begins with. */
export const createdMicros = sql<string>`(extract(epoch from created_at) * 1000000)::bigint::text`;

/** Rows that come after this place in the list. */
export function isOlder(place: ListPlace) {
  return sql<boolean>`(created_at, id) < (${momentOf(place)}, ${place[1]})`;
}

/** Rows that come before this place in the list. */
export function isNewer(place: ListPlace) {
  return sql<boolean>`(created_at, id) > (${momentOf(place)}, ${place[1]})`;
}

function momentOf([micros]: ListPlace) {
  return sql`timestamptz 'epoch' + ${micros}::bigint * interval '1 microsecond'`;
}

/** Rows whose name contains the text, in any case. */
export function nameContains(text: string) {
  return sql<boolean>`name ilike ${`%${text.replaceAll(/[\\%_]/g, "\\$&")}%`}`;
}
