// The verl that an evaluation needs where its programs run: asked for before anything is drawn, and the params judged by what is there.

import { scorerKindOf, type EvaluateModelParams } from "../../domain/evaluation/evaluate-params.js";
import { generationOverrideProblems } from "../../verl/override-check.js";
import { releaseFor } from "../../verl/releases.js";
import type { Place } from "../place/place.js";
import { failed, NeverStarted } from "./program-role.js";

/** How long it may take, in milliseconds: a checkout has to be imported. */
const ASK_MS = 300_000;

/** Metadata first: importing verl takes seconds. A checkout on the path has none. */
const PROBE = `
from importlib import metadata
try:
    print(metadata.version("verl"))
except metadata.PackageNotFoundError:
    import importlib.util
    if importlib.util.find_spec("verl") is not None:
        import verl
        print(verl.__version__)
`;

export interface VerlQuestion {
  readonly place: Place;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  say(text: string): void;
}

/** Its version; null when the evaluation needs none. Throws NeverStarted, and the signal's reason. */
export async function evaluationVerl(params: EvaluateModelParams, python: string, { place, environment, signal, say }: VerlQuestion): Promise<string | null> {
  if (params.simulate || (params.endpoint !== undefined && scorerKindOf(params) !== "verl")) return null;
  const needs = params.endpoint === undefined ? "draws the answers of a local model" : `scores them (${scorerKindOf(params)})`;
  const answer = await place.ask({ argv: [python, "-c", PROBE], environment, timeoutMs: ASK_MS, signal });
  signal.throwIfAborted();
  if (answer.kind === "absent") throw new NeverStarted(failed("INVALID_INPUT", `There is no Python interpreter ${JSON.stringify(python)} on ${place.name}: ${answer.why}`, "Give its path in params.python, or in TRAINYARD_AGENT_PYTHON of the agent."));
  const version = answer.kind === "answered" && answer.status === 0 ? (answer.stdout.trim().split("\n").at(-1) ?? "") : "";
  if (version === "") {
    const why = answer.kind === "answered" ? (answer.stderr.trim().split("\n").at(-1) ?? "") : answer.why;
    throw new NeverStarted(failed("MODULE_NOT_FOUND", `${python} on ${place.name} has no verl, which ${needs}.${why === "" ? "" : ` It said: ${why.slice(0, 300)}`}`, "Install it there, name an interpreter that has it in params.python, or run the stage on another agent (resources.labels)."));
  }
  const choice = releaseFor(version);
  if (choice === null) throw new NeverStarted(failed("INVALID_INPUT", `${python} has verl ${version}, which cannot be used; 0.7.0 is the oldest.`, "Install a newer verl there, or name an interpreter that has one in params.python."));
  say(`verl ${version}${choice.tried ? "" : `, which was never tried here; taken for ${choice.release.release}`}`);
  const [problem] = generationOverrideProblems(params.overrides ?? {}, choice.release, "params.overrides").filter(({ severity }) => severity === "ERROR");
  if (problem !== undefined) throw new NeverStarted(failed("INVALID_INPUT", `${problem.path}: ${problem.message}`, problem.hint));
  return version;
}
