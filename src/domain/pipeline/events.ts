// What happened to a pipeline. Events are stored for ever and replayed by every later version: add fields as optional, never change a meaning.
// In the public API the payload is what stands here less `type`, `at` and `stage`.

import type { AgentId, AttemptId, PipelineId, StageId } from "../ids.js";
import type { PipelineSpec } from "./spec.js";
import type { Failure, Member, MemberOutcome, Outputs, StopCause } from "./state.js";

interface Base<Type extends string> {
  readonly type: Type;
  /** Milliseconds since 1970, from the control plane's clock. */
  readonly at: number;
}
interface OfStage<Type extends string> extends Base<Type> {
  readonly stage: string;
}
interface OfAttempt<Type extends string> extends OfStage<Type> {
  readonly attemptId: AttemptId;
  /** The fence. */
  readonly number: number;
}

export type PipelineEvent =
  | (Base<"PipelineSubmitted"> & { readonly pipelineId: PipelineId; readonly spec: PipelineSpec; readonly stageIds: readonly StageId[]; readonly forkedFrom: PipelineId | null; readonly by: string })
  | (Base<"PipelineStarted">)
  | (Base<"PipelinePaused"> & { readonly reason: string; readonly by: string })
  | (Base<"PipelineResumed"> & { readonly reason: string; readonly by: string })
  | (Base<"PipelineCancelRequested"> & { readonly reason: string; readonly by: string })
  | (Base<"PipelineRetried"> & { readonly reason: string; readonly by: string; readonly stages: readonly string[] })
  | (Base<"PipelineCompleted">)
  | (Base<"PipelineFailed"> & { readonly error: string })
  | (Base<"PipelineCancelled"> & { readonly reason: string })
  | (OfStage<"StageReused"> & { readonly fromStageId: StageId; readonly outputs: Outputs })
  | (OfStage<"StageQueued"> & { readonly cause: "READY" | "RETRY" | "RESUMED" | "REFUSED" | "ROLLBACK"; readonly notBefore: number | null })
  | (OfStage<"StageWaitingApproval"> & { readonly message: string | null })
  | (OfStage<"StageApproved"> & { readonly by: string; readonly reason: string })
  | (OfStage<"StageCompleted"> & { readonly attemptId: AttemptId | null; readonly number: number; readonly outputs: Outputs })
  | (OfStage<"StageFailed"> & { readonly failure: Failure })
  | (OfStage<"StageCancelled"> & { readonly reason: string })
  | (OfStage<"StageSkipped"> & { readonly reason: string })
  | (OfStage<"StagePaused"> & { readonly reason: string })
  | (OfStage<"StageReset"> & { /** Dependencies not COMPLETED at this moment. */ readonly waitingFor: number })
  | (OfAttempt<"AttemptOffered"> & { readonly members: readonly Member[] })
  | (OfAttempt<"AttemptStarted"> & { readonly agentId: string; readonly agentName: string; readonly command: readonly string[] | null })
  | (OfAttempt<"MemberEnded"> & { readonly agentId: string; readonly outcome: MemberOutcome })
  | (OfAttempt<"AttemptStopRequested"> & { readonly cause: StopCause; readonly reason: string; /** PEER_ENDED: the agent whose end it was. */ readonly peer?: AgentId; /** HEALTH: the step of the checkpoint from which a new attempt is to go on. */ readonly rollbackTo?: number })
  | (OfAttempt<"AttemptFailed"> & { readonly failure: Failure; /** Whether it counts against retry.maxAttempts. */ readonly counts: boolean; /** Checkpoints after this step are not gone on from. */ readonly rolledBackTo?: number })
  | (OfAttempt<"AttemptLost"> & { readonly failure: Failure })
  | (OfAttempt<"AttemptCancelled"> & { readonly reason: string });

export type PipelineEventType = PipelineEvent["type"];
export type EventOf<Type extends PipelineEventType> = Extract<PipelineEvent, { type: Type }>;
