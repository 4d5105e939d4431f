// The work that chaos happens to: small pipelines of programs/witness.sh that between them use the graph, retries, GPUs, telemetry, deadlines and cancellation.

import { packagePath } from "../../src/package-root.js";
import type { ProcessesWorld } from "./processes-world.js";

interface Work { steps?: number; pause?: number; failing?: number }

/** A stage that runs the witness. */
export function stage(world: ProcessesWorld, name: string, dependsOn: readonly string[] = [], { steps = 3, pause = 0, failing = 0 }: Work = {}, more: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    name, kind: "command", dependsOn,
    params: { run: [packagePath("tests", "chaos", "programs", "witness.sh"), steps, pause, failing], env: { WITNESS_JOURNAL: world.witnessJournal }, graceSeconds: 2 }, ...more,
  };
}

export function diamond(world: ProcessesWorld): unknown {
  return { name: "diamond", stages: [stage(world, "a"), stage(world, "b", ["a"]), stage(world, "c", ["a"]), stage(world, "d", ["b", "c"])] };
}

/** Expected end of each pipeline, by its name. */
export const EXPECTED: Readonly<Record<string, string>> = { diamond: "COMPLETED", line: "COMPLETED", retries: "COMPLETED", gpus: "COMPLETED", telemetry: "COMPLETED", cancelled: "CANCELLED", deadlines: "FAILED" };

/** Submits the mix while whatever happens happens; resolves when everything was answered, the cancel included. */
export async function submitMix(world: ProcessesWorld): Promise<void> {
  const cancelled = world.submit({ name: "cancelled", stages: [stage(world, "long", [], { steps: 600, pause: 0.1 }), stage(world, "never", ["long"])] });
  await Promise.all([
    world.submit(diamond(world)),
    world.submit({ name: "line", stages: [stage(world, "one"), stage(world, "two", ["one"]), stage(world, "three", ["two"])] }),
    world.submit({ name: "retries", stages: [stage(world, "flaky", [], { failing: 2 }, { retry: { maxAttempts: 3, backoffSeconds: 0.1 } }), stage(world, "after", ["flaky"])] }),
    world.submit({ name: "gpus", stages: ["x", "y", "z"].map((name) => stage(world, name, [], { steps: 2, pause: 0.1 }, { resources: { gpus: 1 } })) }),
    cancelled.then(async (id) => {
      await world.until("the stage to be cancelled runs", async () => (await world.db.query("select 1 from stages where pipeline_id = $1 and status = 'RUNNING'", [id])).rowCount === 1, 40_000);
      await world.cancel(id);
    }),
  ]);
}

/** A second of metrics and logs, and somebody who reads them. */
export async function submitTelemetry(world: ProcessesWorld): Promise<string> {
  const id = await world.submit({ name: "telemetry", stages: [stage(world, "curve", [], { steps: 30, pause: 0.04 })] });
  await world.follow(id);
  return id;
}

/** Stages that time stops. */
export function submitDeadlines(world: ProcessesWorld): Promise<string> {
  return world.submit({ name: "deadlines", stages: Array.from({ length: 5 }, (_, index) => stage(world, `late-${index}`, [], { steps: 600, pause: 0.1 }, { timeoutSeconds: 0.5 })) });
}

/** Mutations that are refused: each leaves a row in the audit trail. */
export async function askInVain(world: ProcessesWorld): Promise<void> {
  for (let n = 0; n < 6; n++) await world.ask("mutation ($input: PipelineActionInput!) { cancelPipeline(input: $input) { __typename } }", { input: { pipelineId: "pip_00000000000000000000000000", reason: "in vain" } });
}
