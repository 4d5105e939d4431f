// The schema of a Parquet file in words.

import type { SchemaElement, SchemaTree } from "hyparquet";

export interface ParquetColumn {
  readonly name: string;
  /** As DatasetColumn.type has it. */
  readonly type: string;
}

export function columnsOf(schema: SchemaTree): readonly ParquetColumn[] {
  return schema.children.map((child) => ({ name: child.element.name, type: typeOf(child, 0) }));
}

function typeOf(node: SchemaTree, depth: number): string {
  if (depth > 8) return "json";
  const { element, children } = node;
  if (children.length === 0) return element.repetition_type === "REPEATED" ? `list<${scalarOf(element)}>` : scalarOf(element);
  const annotation = element.logical_type?.type ?? element.converted_type;
  const first = children[0]!;
  if (annotation === "LIST" && children.length === 1) {
    const item = first.children.length === 1 && first.element.repetition_type === "REPEATED" ? first.children[0]! : first;
    return `list<${item === first && item.children.length > 0 ? structOf(item, depth) : typeOf({ ...item, element: { ...item.element, repetition_type: "OPTIONAL" } }, depth + 1)}>`;
  }
  if ((annotation === "MAP" || annotation === "MAP_KEY_VALUE") && first.children.length === 2) return `map<${typeOf(first.children[0]!, depth + 1)}, ${typeOf(first.children[1]!, depth + 1)}>`;
  return element.repetition_type === "REPEATED" ? `list<${structOf(node, depth)}>` : structOf(node, depth);
}

function structOf(node: SchemaTree, depth: number): string {
  return `struct<${node.children.map((child) => `${child.element.name}: ${typeOf(child, depth + 1)}`).join(", ")}>`;
}

function scalarOf(element: SchemaElement): string {
  const annotation = element.logical_type?.type ?? element.converted_type;
  switch (annotation) {
    case "JSON": return "json";
    case "DECIMAL": case "FLOAT16": return "number";
    case "DATE": case "TIMESTAMP": case "TIMESTAMP_MILLIS": case "TIMESTAMP_MICROS": case "UUID": case "STRING": case "UTF8": case "ENUM": return "string";
    default: break;
  }
  switch (element.type) {
    case "BOOLEAN": return "boolean";
    case "INT32": case "INT64": return "integer";
    case "FLOAT": case "DOUBLE": return "number";
    case "INT96": return "string";
    default: return "string"; // bytes: text wherever they are UTF-8
  }
}
