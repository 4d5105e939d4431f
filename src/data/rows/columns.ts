// Which column of a record plays which part: as `columns` says, or by the usual names (src/domain/data/usual-columns.ts).

import type { ColumnRoles } from "../../domain/data/preprocess-params.js";
import { ANSWER_ROLES, CONTENT_ROLES, USUAL_COLUMNS, type ColumnRole } from "../../domain/data/usual-columns.js";

export type RecordValue = Readonly<Record<string, unknown>>;

/** Part → columns that may play it, in the order in which they are looked at. */
export type ColumnMap = Readonly<Record<ColumnRole, readonly string[]>>;

const ROLES = Object.keys(USUAL_COLUMNS) as ColumnRole[];
/** Files have a handful of key sets; hostile ones have one per row, and then remembering them would only cost memory. */
const REMEMBERED_KEY_SETS = 64;

/** Gives the columns of each record. Records of one file mostly have the same keys, so that a look at the keys is all it takes. */
export function createColumnFinder(columns: ColumnRoles | undefined): (value: RecordValue) => ColumnMap {
  const given: ColumnRoles = columns ?? {};
  const recognised = recognisedRoles(given);
  const fixed = Object.fromEntries(ROLES.map((role) => [role, given[role] === undefined ? [] : [given[role]]])) as unknown as ColumnMap;
  const known = new Map<string, ColumnMap>();
  let lastKeys: readonly string[] = [];
  let last: ColumnMap = fixed;
  return (value) => {
    const keys = Object.keys(value);
    if (sameKeys(keys, lastKeys)) return last;
    const name = keys.join("\0");
    let found = known.get(name);
    if (found === undefined) {
      found = { ...fixed, ...byUsualNames(keys, recognised) };
      if (known.size < REMEMBERED_KEY_SETS) known.set(name, found);
    }
    [lastKeys, last] = [keys, found];
    return found;
  };
}

/** Whether `columns` says where the dialogue is. */
export function namesContent(columns: ColumnRoles | undefined): boolean {
  return CONTENT_ROLES.some((role) => columns?.[role] !== undefined);
}

/** Who names the question means it: then only what stands beside the dialogue is still recognised by name. */
function recognisedRoles(given: ColumnRoles): ColumnRole[] {
  const content = namesContent(given);
  const answered = ANSWER_ROLES.some((role) => given[role] !== undefined);
  return ROLES.filter((role) => given[role] === undefined && (!content || role === "dataSource" || role === "ability" || (role === "groundTruth" && !answered)));
}

function byUsualNames(keys: readonly string[], roles: readonly ColumnRole[]): Partial<ColumnMap> {
  const byLowerCase = new Map<string, string>();
  for (const key of keys) {
    const lower = key.toLowerCase();
    if (key === lower || !byLowerCase.has(lower)) byLowerCase.set(lower, key);
  }
  return Object.fromEntries(roles.map((role) => [role, USUAL_COLUMNS[role].flatMap((name) => byLowerCase.get(name) ?? [])]));
}

function sameKeys(left: readonly string[], right: readonly string[]): boolean {
  if (left.length !== right.length) return false;
  for (let index = 0; index < left.length; index++) if (left[index] !== right[index]) return false;
  return true;
}

/** A column's value; undefined when the record has no such column of its own (so that "constructor" is no column of every row). */
export function valueOf(value: RecordValue, column: string): unknown {
  return Object.hasOwn(value, column) ? value[column] : undefined;
}

/** The first of the columns that holds something; null when none does. */
export function filled(value: RecordValue, columns: readonly string[]): string | null {
  for (const column of columns) if (valueOf(value, column) != null) return column;
  return null;
}

/** A scalar as text: numbers and booleans as JSON writes them; undefined for everything else. */
export function scalarText(value: unknown): string | undefined {
  return typeof value === "string" ? value : typeof value === "number" || typeof value === "boolean" ? String(value) : undefined;
}
