// What a simulated run is to do besides going well: a JSON object, given by an environment variable so that a stage can name it in params.env.
//   C1. Nothing here is random: the same scenario, seed and data give the same lines and files.

import { readFileSync } from "node:fs";
import { z } from "zod";
import { SCENARIO_VARIABLE } from "./stand-in.js";

const milliseconds = z.number().min(0).max(86_400_000);

/** What happens at a step. `runs`: in a run from the model, in one that goes on from a checkpoint, or in both. */
const incidentSchema = z.strictObject({
  step: z.number().int().positive(),
  runs: z.enum(["fresh", "resumed", "every"]).default("fresh"),
  kind: z.enum([
    "crash", // an exception of the trainer, instead of the step
    "out-of-memory", // CUDA's, instead of the step
    "killed", // a rank gone by SIGKILL, as the kernel does it when memory is short
    "hang", // no further sign of life, and no end
    "wait", // until the file `until` exists
    "end", // exit code 0 instead of the step, without a last checkpoint
    "partial-save", // dies between the shards of this step's checkpoint
    "nan", // from this step on: loss and gradient are NaN, and the run goes on to exit code 0
    "gradient-explosion", "loss-spike", "kl-explosion", "entropy-collapse", "reward-collapse", // from this step on
  ]),
  until: z.string().min(1).optional(),
});
export type Incident = z.infer<typeof incidentSchema>;

const scenarioSchema = z.strictObject({
  /** Before the first step. */
  startMs: milliseconds.default(0),
  stepMs: milliseconds.default(500),
  /** Between two files of a checkpoint. */
  saveMs: milliseconds.default(0),
  /** How long RL's tracker stands empty when it is rewritten. */
  emptyTrackerMs: milliseconds.default(2),
  /** Added to the configuration's own seed. */
  seed: z.number().int().min(0).default(0),
  incidents: z.array(incidentSchema).max(100).default([]),
  /** SIGTERM and SIGINT are not heard, by any process of the run. */
  deaf: z.boolean().default(false),
  /** RL: Ray never finds the processors it wants, and waits. */
  unplaceable: z.boolean().default(false),
  /** RL: an engine process in a session of its own outlives the run's end. */
  leftover: z.boolean().default(false),
});
export type Scenario = z.infer<typeof scenarioSchema>;

/** Throws Error, one line, on a scenario that cannot be read. */
export function readScenario(environment: Readonly<Record<string, string | undefined>>): Scenario {
  const given = environment[SCENARIO_VARIABLE]?.trim() ?? "";
  try {
    return scenarioSchema.parse(given === "" ? {} : JSON.parse(given.startsWith("{") ? given : readFileSync(given, "utf8")));
  } catch (error) {
    const why = error instanceof z.ZodError ? error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("; ") : (error as Error).message;
    throw new Error(`${SCENARIO_VARIABLE} is no scenario: ${why.replaceAll("\n", " ")}`);
  }
}

/** What is to happen at this step of this run; `resumed`: it goes on from a checkpoint. */
export function incidentsAt(scenario: Scenario, step: number, resumed: boolean): readonly Incident[] {
  return scenario.incidents.filter((incident) => incident.step === step && meant(incident, resumed));
}

/** Whether something that lasts has begun by this step. */
export function hasBegun(scenario: Scenario, kind: Incident["kind"], step: number, resumed: boolean): boolean {
  return scenario.incidents.some((incident) => incident.kind === kind && incident.step <= step && meant(incident, resumed));
}

function meant({ runs }: Incident, resumed: boolean): boolean {
  return runs === "every" || (runs === "resumed") === resumed;
}
