// Which checkpoint a train stage goes on from. verl's own "auto" starts over without a word when it finds nothing, and fails late on another number of ranks; here
// it is decided before anything starts, and the path is given to verl.
//   R1. Only what is complete counts. Of several attempts the newest one that left any counts: a later attempt's steps supersede an earlier one's.
//   R2. What a rollback has ruled out is passed over: of attempts up to its fence, every step after its own.
//   R3. An attempt that was told to train something else (its params differ) is not gone on from.
//   R4. Ranks find their files by number: another world size is refused, never started over.

/** A checkpoint on disk. */
export interface FoundCheckpoint {
  readonly step: number;
  /** …/global_step_N, or …/checkpoint-N of TRL. */
  readonly path: string;
  /** Ranks that saved it; null: it can be loaded by any number. */
  readonly worldSize: number | null;
  /** What it lacks; empty when it is complete. */
  readonly missing: readonly string[];
}

export interface EarlierAttempt {
  readonly fence: number;
  /** Whether it was told the same (R3). */
  readonly sameRun: boolean;
  readonly checkpoints: readonly FoundCheckpoint[];
  /** Step at which it ended well, its end only not followed by an export. */
  readonly finishedStep: number | null;
}

export interface ResumeInput {
  readonly mode: "auto" | "never" | { readonly from: readonly FoundCheckpoint[]; readonly asked: string };
  /** In any order. */
  readonly attempts: readonly EarlierAttempt[];
  readonly rollbacks: readonly { readonly fence: number; readonly step: number }[];
  readonly worldSize: number;
}

export type ResumeChoice =
  /** `why` is said in the log; null when there was nothing to go on from. */
  | { readonly kind: "start"; readonly why: string | null }
  /** `fence` null: of another run. `finished`: nothing is left to train. */
  | { readonly kind: "resume"; readonly checkpoint: FoundCheckpoint; readonly fence: number | null; readonly finished: boolean }
  | { readonly kind: "refuse"; readonly message: string; readonly hint: string };

export function chooseResume({ mode, attempts, rollbacks, worldSize }: ResumeInput): ResumeChoice {
  if (mode === "never") return { kind: "start", why: attempts.length > 0 ? "params.resume is never" : null };
  const newestFirst = [...attempts].sort((a, b) => b.fence - a.fence);
  for (const { fence, sameRun, checkpoints, finishedStep } of newestFirst) { // R1
    if (!sameRun) continue; // R3
    const best = newest(checkpoints.filter(({ step }) => !ruledOut(fence, step, rollbacks)));
    if (best !== null) return matched(best, fence, best.step === finishedStep, worldSize);
  }
  if (typeof mode === "object") {
    const best = newest(mode.from);
    if (best !== null) return matched(best, null, false, worldSize);
    const [partial] = [...mode.from].sort((a, b) => b.step - a.step);
    return {
      kind: "refuse",
      message: partial === undefined ? `params.resume.from: there is no checkpoint at ${mode.asked} on this host.` : `params.resume.from: the checkpoint ${partial.path} is not complete: ${inShort(partial.missing)} missing.`,
      hint: "Give the path of a checkpoint (…/global_step_N, for TRL …/checkpoint-N) that lies on the host of this agent.",
    };
  }
  const others = newestFirst.filter(({ sameRun, checkpoints }) => !sameRun && newest(checkpoints) !== null);
  if (others.length > 0) return { kind: "start", why: `the checkpoints of attempt ${others[0]!.fence} are of a run with other params` };
  if (attempts.length === 0) return { kind: "start", why: null };
  return { kind: "start", why: rollbacks.length > 0 ? "the rollbacks leave no checkpoint to go on from" : "no earlier attempt left a complete checkpoint on this host" };
}

/** R4. */
function matched(checkpoint: FoundCheckpoint, fence: number | null, finished: boolean, worldSize: number): ResumeChoice {
  if (finished || checkpoint.worldSize === null || checkpoint.worldSize === worldSize) return { kind: "resume", checkpoint, fence, finished };
  return {
    kind: "refuse",
    message: `The checkpoint of step ${checkpoint.step} (${checkpoint.path}) was saved by ${checkpoint.worldSize} ranks and this attempt has ${worldSize}: verl cannot go on from it.`,
    hint: `Give the stage ${checkpoint.worldSize} GPUs in all again, or fork the pipeline from this stage with params.resume: never.`,
  };
}

function newest(checkpoints: readonly FoundCheckpoint[]): FoundCheckpoint | null {
  return checkpoints.reduce<FoundCheckpoint | null>((best, found) => (found.missing.length === 0 && (best === null || found.step > best.step) ? found : best), null);
}

/** R2. */
function ruledOut(fence: number, step: number, rollbacks: ResumeInput["rollbacks"]): boolean {
  return rollbacks.some((rollback) => fence <= rollback.fence && step > rollback.step);
}

function inShort(names: readonly string[]): string {
  return names.length <= 3 ? `${names.join(", ")} ${names.length === 1 ? "is" : "are"}` : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more are`;
}

/** What two attempts must have in common in their params for one to go on from the other's checkpoints; the rest says how they are followed and ended. */
export function runIdentity(params: Readonly<Record<string, unknown>>): string {
  const { export: _export, resume: _resume, health: _health, graceSeconds: _graceSeconds, samples: _samples, python: _python, env: _env, verl: _verl, testEvery: _testEvery, saveEvery: _saveEvery, keepCheckpoints: _keepCheckpoints, ...run } = params;
  return JSON.stringify(run, (_key, value: unknown) => (typeof value === "object" && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value));
}
