// What the agent writes into a file for the evaluation program: the stage's params with everything of this host filled in. Secrets are not in it, only the names of
// the environment variables that hold them.

import { readFileSync } from "node:fs";
import { z } from "zod";
import { DATA_FORMATS } from "../domain/data/preprocess-params.js";
import { evaluateModelParamsSchema } from "../domain/evaluation/evaluate-params.js";

/** Variable that holds the endpoint's key. */
export const API_KEY_VARIABLE = "TRAINYARD_EVALUATION_API_KEY";
/** Variable that holds the header at this place of `endpoint.headers`. */
export function headerVariable(index: number): string {
  return `TRAINYARD_EVALUATION_HEADER_${index}`;
}

const configSchema = z.strictObject({
  params: evaluateModelParamsSchema,
  /** Files in the order of the params, as gathered by the agent; `spec` is the place of the entry in inputsOf. */
  files: z.array(z.strictObject({ path: z.string(), name: z.string(), spec: z.number().int().min(0), format: z.enum(DATA_FORMATS), gzip: z.boolean() })),
  /** Interpreter of the attempt's place; it has verl where that is needed. */
  python: z.string(),
  /** Version of that verl; null: it is not needed. */
  verl: z.string().nullable(),
  gpus: z.number().int().min(0),
  /** A stand-in draws the answers, or made what is evaluated. */
  simulated: z.boolean().default(false),
  /** Whether the place is this machine: then a scorer's program is started by the evaluation itself and judges each answer as it comes. */
  scorerIsHere: z.boolean(),
  /** File that gets what the programs in the place say. */
  placeOutput: z.string(),
  /** Output directories of earlier attempts of the stage on this host, newest first. */
  earlier: z.array(z.string()),
});
export type EvaluateConfig = z.infer<typeof configSchema>;

/** Throws ZodError and what the file system throws. */
export function readConfigFile(path: string): EvaluateConfig {
  return configSchema.parse(JSON.parse(readFileSync(path, "utf8")));
}
