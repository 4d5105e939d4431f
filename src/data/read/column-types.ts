// What types the values of a column have, in the words of DatasetColumn.type, from row after row in bounded memory.

import type { DatasetColumn } from "../../domain/data/dataset.js";

/** Deeper values and objects with more keys than this are called json. */
const MAX_TYPE_DEPTH = 6;
const MAX_FIELDS = 100;
const MAX_COLUMNS = 1_000;

export interface ColumnTypes {
  add(row: Readonly<Record<string, unknown>>): void;
  /** In the order of their first appearance. A column that a row does not have is null there. */
  result(): readonly DatasetColumn[];
}

interface TypeNode {
  strings: boolean;
  integers: boolean;
  numbers: boolean;
  booleans: boolean;
  /** Holds more than is told apart. */
  json: boolean;
  items: TypeNode | null;
  fields: Map<string, TypeNode> | null;
}

export function createColumnTypes(): ColumnTypes {
  const columns = new Map<string, { node: TypeNode; present: number }>();
  let rows = 0;
  return {
    add(row) {
      rows++;
      for (const name in row) {
        let column = columns.get(name);
        if (column === undefined) {
          if (columns.size === MAX_COLUMNS) continue;
          columns.set(name, (column = { node: newNode(), present: 0 }));
        }
        const value = row[name];
        if (value === null || value === undefined) continue;
        column.present++;
        widen(column.node, value, 0);
      }
    },
    result: () => [...columns].map(([name, { node, present }]) => ({ name, type: typeOf(node), nullCount: rows - present })),
  };
}

function newNode(): TypeNode {
  return { strings: false, integers: false, numbers: false, booleans: false, json: false, items: null, fields: null };
}

function widen(node: TypeNode, value: unknown, depth: number): void {
  switch (typeof value) {
    case "string": node.strings = true; return;
    case "boolean": node.booleans = true; return;
    case "number":
      if (Number.isInteger(value)) node.integers = true;
      else node.numbers = true;
      return;
    default: break;
  }
  if (value === null || typeof value !== "object" || node.json) return;
  if (depth === MAX_TYPE_DEPTH) {
    node.json = true;
    return;
  }
  if (Array.isArray(value)) {
    const items = (node.items ??= newNode());
    for (const one of value) widen(items, one, depth + 1);
    return;
  }
  const fields = (node.fields ??= new Map<string, TypeNode>());
  for (const key in value) {
    let field = fields.get(key);
    if (field === undefined) {
      if (fields.size === MAX_FIELDS) {
        node.json = true; // keys that are data
        node.fields = null;
        return;
      }
      fields.set(key, (field = newNode()));
    }
    widen(field, (value as Record<string, unknown>)[key], depth + 1);
  }
}

function typeOf(node: TypeNode): string {
  const kinds: string[] = [];
  if (node.strings) kinds.push("string");
  if (node.numbers || node.integers) kinds.push(node.numbers ? "number" : "integer");
  if (node.booleans) kinds.push("boolean");
  if (node.items !== null) kinds.push(`list<${typeOf(node.items)}>`);
  if (node.fields !== null) kinds.push(`struct<${[...node.fields].map(([name, field]) => `${name}: ${typeOf(field)}`).join(", ")}>`);
  if (node.json || kinds.length > 1) return "json";
  return kinds[0] ?? "null";
}
