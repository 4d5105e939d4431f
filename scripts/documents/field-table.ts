// Tables of fields from a JSON Schema: name, what it may hold, default, meaning.
import { table } from "./document.js";

/** The part of JSON Schema that zod emits for our schemas. */
export interface FieldSchema {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly FieldSchema[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly required?: readonly string[];
  readonly items?: FieldSchema;
  readonly additionalProperties?: FieldSchema | boolean;
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}

/** One row per field of an object's schema. Throws for a field without a description: what a user may write is explained. */
export function fieldTable(schema: FieldSchema): string {
  const rows = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const description = field.description ?? (field.items?.description);
    if (description === undefined) throw new Error(`The field "${name}" has no description: give its zod schema a .describe().`);
    return [`\`${name}\``, typeOf(field), defaultOf(field, schema.required?.includes(name) === true), description];
  });
  return table(["field", "holds", "default", "meaning"], rows);
}

function defaultOf(field: FieldSchema, required: boolean): string {
  if (required) return "**required**";
  if (field.default === undefined) return "–";
  return isEmptyObject(field.default) && field.properties !== undefined ? "see below" : `\`${JSON.stringify(field.default)}\``;
}

/** What a value may be, in words, with its bounds. */
export function typeOf(field: FieldSchema): string {
  if (field.enum !== undefined) return field.enum.length > 8 ? LONG_CHOICE : field.enum.map((value) => `\`${String(value)}\``).join(", ");
  if (field.anyOf !== undefined) return [...new Set(field.anyOf.map(typeOf))].join(" or ");
  if (Array.isArray(field.type)) return field.type.map((type) => WORDS[type] ?? type).join(", ");
  switch (field.type) {
    case "array": return `list of ${field.items === undefined ? "anything" : plural(typeOf(field.items))}${bounds(field.minItems, field.maxItems)}`;
    case "object": return field.properties !== undefined ? "object" : `map from name to ${mapValue(field.additionalProperties)}`;
    case "string": return `${field.format === "uri" ? "URL" : "text"}${lengthOf(field)}${field.pattern === undefined ? "" : `, \`${field.pattern}\``}`;
    case "integer": case "number": return `${WORDS[field.type]}${rangeOf(field)}`;
    case undefined: return "anything";
    default: return typeof field.type === "string" ? WORDS[field.type] ?? field.type : "anything";
  }
}

const LONG_CHOICE = "one of a list, see below";
const WORDS: Readonly<Record<string, string>> = { string: "text", integer: "whole number", number: "number", boolean: "true or false", null: "null" };

function plural(words: string): string {
  if (words === LONG_CHOICE) return "words, see below";
  return words === "text" || words === "object" ? `${words}s` : words.startsWith("text, number") || words.startsWith("text or number") ? "texts, numbers or booleans" : words;
}

function mapValue(value: FieldSchema | boolean | undefined): string {
  return typeof value === "object" && Object.keys(value).length > 0 ? typeOf(value) : "anything";
}

function rangeOf({ minimum, maximum, exclusiveMinimum }: FieldSchema): string {
  const top = maximum === undefined || maximum >= Number.MAX_SAFE_INTEGER ? undefined : maximum;
  if (exclusiveMinimum !== undefined) return top === undefined ? ` above ${exclusiveMinimum}` : ` above ${exclusiveMinimum}, at most ${grouped(top)}`;
  return bounds(minimum, top);
}

function lengthOf({ minLength, maxLength }: FieldSchema): string {
  return maxLength === undefined ? "" : ` of ${minLength ?? 0}–${grouped(maxLength)} characters`;
}

function bounds(low: number | undefined, high: number | undefined): string {
  if (low === undefined && high === undefined) return "";
  if (high === undefined) return `, at least ${grouped(low!)}`;
  if (low === undefined) return `, at most ${grouped(high)}`;
  return `, ${grouped(low)}–${grouped(high)}`;
}

function grouped(value: number): string {
  return value.toLocaleString("en-US");
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length === 0;
}
