// The columns of the files that a preprocess stage writes, by task: their shape, their place in Parquet's schema, and the row that fills them.
//   C1. They follow from the params alone, so every file of a stage has the same schema, whatever its rows hold.
//   C2. Everything may be null as far as the schema goes, as in files that pyarrow writes: readers that compare schemas find no difference.

import type { SchemaElement } from "hyparquet";
import type { PreprocessParams } from "../../domain/data/preprocess-params.js";
import type { Message, TrainingRow } from "../rows/training-row.js";

export type ColumnShape = "string" | "integer" | { readonly list: ColumnShape } | { readonly struct: Readonly<Record<string, ColumnShape>> };
export type OutputColumns = Readonly<Record<string, ColumnShape>>;
export type SplitName = "train" | "validation";

const MESSAGES: ColumnShape = { list: { struct: { role: "string", content: "string" } } };

/** Column → shape, in the order of the file. `extra` is there when `keepColumns` names any. */
export function outputColumns(params: Pick<PreprocessParams, "task" | "preferenceForm" | "keepColumns">): OutputColumns {
  const extra: OutputColumns = params.keepColumns.length > 0 ? { extra: "string" } : {};
  switch (params.task) {
    case "sft":
      return { messages: MESSAGES, ...extra };
    case "rl":
      return {
        data_source: "string",
        prompt: MESSAGES,
        ability: "string",
        reward_model: { struct: { style: "string", ground_truth: "string" } },
        extra_info: { struct: { split: "string", index: "integer", question: "string", answer: "string", extra: "string" } },
      };
    case "preference": {
      const side = params.preferenceForm === "text" ? "string" : MESSAGES;
      return { prompt: side, chosen: side, rejected: side, ...extra };
    }
  }
}

/** The row as its columns take it. `index`: its number among all kept rows, in the order of the input. Every column of `outputColumns` is there. */
export function outputRow(row: TrainingRow, place: { split: SplitName; index: number }, params: Pick<PreprocessParams, "preferenceForm">): Record<string, unknown> {
  switch (row.task) {
    case "sft":
      return { messages: row.messages, extra: row.extra };
    case "rl":
      return {
        data_source: row.dataSource,
        prompt: row.prompt,
        ability: row.ability,
        reward_model: { style: row.style, ground_truth: row.groundTruth },
        extra_info: { split: place.split, index: BigInt(place.index), question: row.question, answer: row.answer, extra: row.extra },
      };
    case "preference": {
      const side = (messages: readonly Message[]) => (params.preferenceForm === "text" ? asText(messages) : messages);
      return { prompt: side(row.prompt), chosen: side(row.chosen), rejected: side(row.rejected), extra: row.extra };
    }
  }
}

/** Messages as plain text: their contents, a blank line between them. A plain prompt and answer stay as they were. */
function asText(messages: readonly Message[]): string {
  return messages.map((message) => message.content).join("\n\n");
}

/** In the words of DatasetColumn.type: list<struct<role: string, content: string>>. */
export function shapeInWords(shape: ColumnShape): string {
  if (typeof shape === "string") return shape;
  if ("list" in shape) return `list<${shapeInWords(shape.list)}>`;
  return `struct<${Object.entries(shape.struct).map(([name, field]) => `${name}: ${shapeInWords(field)}`).join(", ")}>`;
}

/** Parquet's flat, depth-first list of elements, with lists in the standard three levels. */
export function schemaElements(columns: OutputColumns): SchemaElement[] {
  return [{ name: "schema", num_children: Object.keys(columns).length }, ...Object.entries(columns).flatMap(([name, shape]) => elementsOf(name, shape))];
}

function elementsOf(name: string, shape: ColumnShape): SchemaElement[] {
  if (shape === "string") return [{ name, type: "BYTE_ARRAY", repetition_type: "OPTIONAL", converted_type: "UTF8", logical_type: { type: "STRING" } }];
  if (shape === "integer") return [{ name, type: "INT64", repetition_type: "OPTIONAL" }];
  if ("list" in shape) {
    return [
      { name, repetition_type: "OPTIONAL", num_children: 1, converted_type: "LIST", logical_type: { type: "LIST" } },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      ...elementsOf("element", shape.list),
    ];
  }
  const fields = Object.entries(shape.struct);
  return [{ name, repetition_type: "OPTIONAL", num_children: fields.length }, ...fields.flatMap(([field, inner]) => elementsOf(field, inner))];
}
