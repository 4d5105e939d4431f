// What a program finds in its environment: what the operator lets through, what the stage asks for, and where to leave its results.
//   V1. Of the agent's own environment only names on the allow-list pass, and never those that change how programs are loaded.
//   V2. Ours win over the stage's: a stage cannot point TRAINYARD_OUTPUTS_FILE elsewhere.

import type { Assignment } from "../../protocol/messages.js";
import type { AttemptDirectory } from "./attempt-directory.js";

const NEVER_INHERITED = /^(LD_|DYLD_|PYTHON|NODE_OPTIONS$|BASH_|ENV$|IFS$|TRAINYARD_)/;

export interface EnvironmentInput {
  /** What the place lets through (V1). */
  readonly inherited: Readonly<Record<string, string>>;
  /** The stage's own, secrets filled in. */
  readonly stage: Readonly<Record<string, string>>;
  readonly assignment: Assignment;
  readonly directory: AttemptDirectory;
  readonly previousOutput: string | null;
  readonly hostHasGpus: boolean;
}

/** Names that may pass (V1). */
export function inheritable(allowed: readonly string[]): readonly string[] {
  return allowed.filter((name) => !NEVER_INHERITED.test(name));
}

/** What programs get of the environment of the agent itself (V1). */
export function inheritedVariables(own: Readonly<Record<string, string | undefined>>, allowed: readonly string[]): Record<string, string> {
  return Object.fromEntries(inheritable(allowed).flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]]])));
}

/** The environment of the program. */
export function programEnvironment(input: EnvironmentInput): Record<string, string> {
  const { assignment, directory } = input;
  const several = assignment.members.length > 1;
  const ours: Record<string, string> = {
    TRAINYARD_PIPELINE_ID: assignment.pipelineId,
    TRAINYARD_STAGE: assignment.stage,
    TRAINYARD_ATTEMPT: String(assignment.fence),
    TRAINYARD_ATTEMPT_ID: assignment.attemptId,
    TRAINYARD_OUTPUTS_FILE: directory.outputsFile,
    TRAINYARD_METRICS_FILE: directory.metricsFile,
    TRAINYARD_OUTPUT_DIR: directory.output,
    ...(input.previousOutput === null ? {} : { TRAINYARD_PREVIOUS_OUTPUT_DIR: input.previousOutput }),
    ...(several ? { [MEMBER]: memberOf(assignment) } : {}),
    ...(several ? { TRAINYARD_NODE_RANK: String(assignment.rank), TRAINYARD_NODES: String(assignment.members.length) } : {}),
    ...(several && assignment.members[0]?.address ? { TRAINYARD_HEAD_ADDRESS: assignment.members[0].address } : {}),
    // Without an assigned GPU none is visible: a GPU is never used by two attempts. Indices are nvidia-smi's, hence the order by bus.
    ...(assignment.gpus.length > 0 ? { CUDA_VISIBLE_DEVICES: assignment.gpus.join(","), CUDA_DEVICE_ORDER: "PCI_BUS_ID" } : input.hostHasGpus ? { CUDA_VISIBLE_DEVICES: "" } : {}),
  };
  return { ...input.inherited, ...input.stage, ...ours }; // V2
}

/** By which everything is recognised that this member of an attempt started: two members may share a host. */
export function programMark(assignment: Pick<Assignment, "attemptId" | "members" | "rank">): string {
  return assignment.members.length > 1 ? `${MEMBER}=${memberOf(assignment)}` : `TRAINYARD_ATTEMPT_ID=${assignment.attemptId}`;
}

const MEMBER = "TRAINYARD_MEMBER";

function memberOf({ attemptId, rank }: Pick<Assignment, "attemptId" | "rank">): string {
  return `${attemptId}.${rank}`;
}
