// The schema as text, for schema.graphql.

import { lexicographicSortSchema, printSchema } from "graphql";
import { buildSchema } from "./schema.js";

/** The schema in the schema language, sorted, with a final newline: what is committed as schema.graphql. */
export function printSchemaSdl(): string {
  return `${printSchema(lexicographicSortSchema(buildSchema()))}\n`;
}
