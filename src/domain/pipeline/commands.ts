// What may be ordered of a pipeline. Time, new ids and names come in with the command: `decide` asks nobody. Commands of users carry `by`, those of the
// shell carry the facts it observed; every fact is checked against the state again.

import type { AgentId, AttemptId, PipelineId, StageId } from "../ids.js";
import type { PipelineSpec } from "./spec.js";
import type { Member, MemberOutcome, Outputs } from "./state.js";

interface Base<Type extends string> {
  readonly type: Type;
  /** Milliseconds since 1970. */
  readonly at: number;
}
interface ByUser<Type extends string> extends Base<Type> {
  /** Name of the token that ordered it. */
  readonly by: string;
  readonly reason: string;
}
interface OfMember<Type extends string> extends Base<Type> {
  readonly stage: string;
  readonly attemptId: AttemptId;
  /** The fence the reporter holds. */
  readonly fence: number;
  readonly agentId: AgentId;
}

export type PipelineCommand =
  | (ByUser<"SubmitPipeline"> & {
      readonly pipelineId: PipelineId; readonly spec: PipelineSpec; readonly stageIds: readonly StageId[]; readonly forkedFrom: PipelineId | null;
      /** Results a fork takes over, by stage name. */
      readonly reuse: ReadonlyMap<string, { readonly fromStageId: StageId; readonly outputs: Outputs }>;
    })
  | ByUser<"CancelPipeline"> | ByUser<"PausePipeline"> | ByUser<"ResumePipeline"> | ByUser<"RetryPipeline">
  | (ByUser<"RetryStage"> & { readonly stage: string }) | (ByUser<"CancelStage"> & { readonly stage: string }) | (ByUser<"ApproveStage"> & { readonly stage: string })
  | (Base<"OfferAttempt"> & { readonly stage: string; readonly attemptId: AttemptId; readonly members: readonly Omit<Member, "status" | "outcome">[] })
  | (OfMember<"StartMember"> & { /** The exact argv, secrets redacted. */ readonly command: readonly string[] | null })
  | (OfMember<"EndMember"> & { readonly outcome: MemberOutcome })
  | (OfMember<"LoseMember"> & { readonly reason: string })
  | (Base<"FireTimer"> & { readonly stage: string })
  | (Base<"StopSilentAttempt"> & { readonly stage: string; readonly attemptId: AttemptId; /** Last sign of life of the program, milliseconds since 1970. */ readonly silentSince: number })
  /** The policy on the health of a training: stop the attempt, or stop it and go on from the checkpoint of `rollbackTo`. */
  | (Base<"StopUnhealthyAttempt"> & { readonly stage: string; readonly attemptId: AttemptId; readonly reason: string; readonly rollbackTo: number | null });

export type CommandType = PipelineCommand["type"];
export type CommandOf<Type extends CommandType> = Extract<PipelineCommand, { type: Type }>;
