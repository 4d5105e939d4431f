// How the stand-in for a trainer's Python is started. It is a program of ours that takes what Python would be given (`-m module …`), follows verl's contract
// (trainer.program.ts) and trains nothing.

import type { KnownRelease } from "../verl/releases.js";
import { programArguments } from "../worker-program.js";

/** Variable with the scenario: a JSON object, or the absolute path of a file that holds one (scenario.ts). Without it everything goes well. */
export const SCENARIO_VARIABLE = "TRAINYARD_SIMULATION";

/** Words that stand where an interpreter's path stands: for LaunchContext.python, and before `-m verl.model_merger …`. `release`: the verl whose configuration
 *  and habits it plays. */
export function simulatedPython(release: KnownRelease): readonly string[] {
  return [process.execPath, ...programArguments("simulation/trainer.program"), `--plays=${release}`];
}
