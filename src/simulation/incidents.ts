// Things that happen to a run at a step, as the scenario orders them. What lasts (NaN, an explosion) is in the curves; what breaks a checkpoint is with the saving.

import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { incidentsAt, type Scenario } from "./scenario.js";
import { OUT_OF_MEMORY, TrainerFailure } from "./trainer-failure.js";

/** The run ends here with exit code 0, as if it had had no more data. */
export class EndedEarly extends Error {}

/** A hang is no everlasting burden for whoever forgot the process, in milliseconds. */
const LONGEST_HANG_MS = 3_600_000;
const LOOK_MS = 10;

/** Before the step is taken. Throws TrainerFailure or EndedEarly; may not return, or end this process. */
export async function meetIncidents(scenario: Scenario, step: number, resumed: boolean): Promise<void> {
  for (const { kind, until } of incidentsAt(scenario, step, resumed)) {
    switch (kind) {
      case "crash": throw new TrainerFailure("RuntimeError", `simulated crash at step ${step}`);
      case "out-of-memory": throw OUT_OF_MEMORY;
      case "killed": process.kill(process.pid, "SIGKILL"); break;
      case "hang": await delay(LONGEST_HANG_MS); break;
      case "wait": while (until !== undefined && !existsSync(until)) await delay(LOOK_MS); break;
      case "end": throw new EndedEarly();
      default: // lasts, or concerns the checkpoint
    }
  }
}

/** Files of a rank that a save of this step writes whole before the run dies; null: all, and it lives. */
export function savedBeforeDeath(scenario: Scenario, step: number, resumed: boolean): number | null {
  return incidentsAt(scenario, step, resumed).some(({ kind }) => kind === "partial-save") ? 1 : null;
}
