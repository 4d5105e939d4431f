// docs/pipeline.md and docs/pipeline.schema.json, from the schemas in src/domain/pipeline/spec.ts.
import { readFileSync } from "node:fs";
import { z } from "zod";
import {
  FAILURE_CODES, PERMANENT_CAUSES, approvalParamsSchema, cleanupParamsSchema, commandParamsSchema, conditionSchema, evaluateProgramParamsSchema, pipelineSchema, resourcesSchema,
  retrySchema, stageSchema, type FailureCode,
} from "../../src/domain/pipeline/spec.js";
import { REJECT_REASONS } from "../../src/data/read/records.js";
import { DROP_REASONS } from "../../src/data/rows/drop-reasons.js";
import { columnsSchema, filterSchema, preprocessParamsSchema } from "../../src/domain/data/preprocess-params.js";
import { endpointSchema, evaluateModelParamsSchema, generationSchema } from "../../src/domain/evaluation/evaluate-params.js";
import { mergeParamsSchema } from "../../src/domain/training/merge-params.js";
import { rewardSchema, trainParamsSchema } from "../../src/domain/training/train-params.js";
import { FAILURES } from "../../src/domain/error-catalogue.js";
import { packagePath } from "../../src/package-root.js";
import { fill, table, type Document } from "./document.js";
import { fieldTable, type FieldSchema } from "./field-table.js";

/** Schemas whose fields are listed, by the name that the template uses. */
const TABLES: Readonly<Record<string, z.ZodType>> = {
  "pipeline-fields": pipelineSchema,
  "stage-fields": stageSchema,
  "condition-fields": conditionSchema,
  "resource-fields": resourcesSchema,
  "retry-fields": retrySchema,
  "command-params": commandParamsSchema,
  "evaluate-params": evaluateProgramParamsSchema,
  "evaluate-model-params": evaluateModelParamsSchema,
  "evaluate-endpoint": endpointSchema,
  "evaluate-generation": generationSchema,
  "train-params": trainParamsSchema,
  "train-reward": rewardSchema,
  "merge-params": mergeParamsSchema,
  "cleanup-params": cleanupParamsSchema,
  "approval-params": approvalParamsSchema,
  "preprocess-params": preprocessParamsSchema,
  "preprocess-columns": columnsSchema,
  "preprocess-filter": filterSchema,
};

export const pipelineReference: Document = {
  path: "docs/pipeline.md",
  render: () =>
    fill(readFileSync(packagePath("scripts/documents/templates/pipeline.md"), "utf8"), {
      ...Object.fromEntries(Object.entries(TABLES).map(([name, schema]) => [name, fieldTable(inputSchema(schema))])),
      "preprocess-reasons": table(["reason", "row", "meaning"], [
        ...Object.entries(REJECT_REASONS).map(([reason, meaning]) => [`\`${reason}\``, "broken", meaning]),
        ...Object.entries(DROP_REASONS).map(([reason, meaning]) => [`\`${reason}\``, "left out", meaning]),
      ]),
      "retry-causes": table(["cause", "retried without `on`", "meaning"], FAILURE_CODES.map((code) => [`\`${code}\``, retriedByDefault(code), FAILURES[code].meaning])),
    }),
};

/** Params that a kind demands, for editors. `when`: how a stage of that form is told. */
const PARAMS: readonly { readonly name: string; readonly schema: z.ZodType; readonly when: JsonSchema }[] = [
  { name: "commandParams", schema: commandParamsSchema, when: { properties: { kind: { const: "command" } } } },
  { name: "evaluateProgramParams", schema: evaluateProgramParamsSchema, when: { properties: { kind: { const: "evaluate" }, params: { required: ["run"] } }, required: ["params"] } },
  { name: "evaluateModelParams", schema: evaluateModelParamsSchema, when: { properties: { kind: { const: "evaluate" }, params: { not: { required: ["run"] } } }, required: ["params"] } },
  { name: "cleanupParams", schema: cleanupParamsSchema, when: { properties: { kind: { const: "cleanup" } } } },
  { name: "approvalParams", schema: approvalParamsSchema, when: { properties: { kind: { const: "approval" } } } },
  { name: "trainParams", schema: trainParamsSchema, when: { properties: { kind: { const: "train" } } } },
  { name: "mergeParams", schema: mergeParamsSchema, when: { properties: { kind: { const: "merge" } } } },
  { name: "preprocessParams", schema: preprocessParamsSchema, when: { properties: { kind: { const: "preprocess" } } } },
];

type JsonSchema = { [key: string]: unknown };

export const pipelineJsonSchema: Document = {
  path: "docs/pipeline.schema.json",
  render() {
    const { $schema, ...pipeline } = inputSchema(pipelineSchema) as JsonSchema;
    const stage = ((pipeline["properties"] as JsonSchema)["stages"] as JsonSchema)["items"] as JsonSchema;
    (stage as { allOf?: unknown })["allOf"] = PARAMS.map(({ name, schema, when }) => ({
      if: { required: ["kind"], ...when },
      then: { properties: { params: { $ref: `#/$defs/${name}` } }, required: isEmptyAllowed(schema) ? [] : ["params"] },
    }));
    const definitions = PARAMS.map(({ name, schema }) => {
      const { $schema: _, ...params } = inputSchema(schema) as JsonSchema;
      return [name, { ...params, properties: mapValues(params["properties"] as JsonSchema, orReference) }];
    });
    const document = {
      $schema,
      $id: "urn:trainyard:pipeline",
      title: "Trainyard pipeline",
      description: "A pipeline specification. What each field means: docs/pipeline.md.",
      ...pipeline,
      $defs: Object.fromEntries(definitions) as JsonSchema,
    };
    return `${JSON.stringify(document, null, 2)}\n`;
  },
};

/** A field of params may be a reference alone and take its type only when the stage starts. */
function orReference(field: unknown): unknown {
  const { description, default: standard, ...rest } = field as JsonSchema;
  if (rest["type"] === "string") return field;
  return {
    ...(description === undefined ? {} : { description }),
    ...(standard === undefined ? {} : { default: standard }),
    anyOf: [rest, { type: "string", pattern: "^\\$\\{stages\\.[^{}]+\\}$", description: "A reference to an output, which is judged when the stage starts." }],
  };
}

function retriedByDefault(code: FailureCode): string {
  return PERMANENT_CAUSES.includes(code) ? "no" : "yes";
}

function inputSchema(schema: z.ZodType): FieldSchema {
  return z.toJSONSchema(schema, { io: "input" }) as FieldSchema;
}

function isEmptyAllowed(schema: z.ZodType): boolean {
  return schema.safeParse({}).success;
}

function mapValues(record: JsonSchema, change: (value: unknown) => unknown): JsonSchema {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}
