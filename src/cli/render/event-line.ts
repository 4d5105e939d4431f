// One event as one line of text, for logs of a build server and terminals that cannot be redrawn.
import type { ApiEvent } from "../follow/pipeline-view.js";
import { simulatedStages, type JudgedStage } from "../../domain/pipeline/simulated.js";
import { statusStyle, type Style } from "../style.js";
import { shortOutputs } from "./pipeline-frame.js";
import { harmless } from "./text-width.js";

/** `12:00:01  train  RUNNING on host-1`; null for events that say nothing a reader misses. */
export function eventLine(event: ApiEvent, style: Style): string | null {
  const said = describe(event);
  if (said === null) return null;
  const [status, detail] = said;
  const time = style.dim(event.at.slice(11, 19));
  return `${time}  ${event.stage === null ? style.bold("pipeline") : harmless(event.stage)}  ${statusStyle(style, status)(status)}${detail === "" ? "" : `  ${harmless(detail)}`}`;
}

function describe({ type, payload }: ApiEvent): [status: string, detail: string] | null {
  const failure = payload["failure"] as { code: string; message: string; hint?: string | null } | undefined;
  const why = failure === undefined ? "" : `${failure.code}: ${failure.message}`;
  const reason = typeof payload["reason"] === "string" ? payload["reason"] : "";
  switch (type) {
    case "PipelineSubmitted": return ["SUBMITTED", [typeof payload["by"] === "string" ? `by ${payload["by"]}` : "", simulatedText(payload["spec"])].filter((part) => part !== "").join("; ")];
    case "PipelineStarted": return ["RUNNING", ""];
    case "PipelinePaused": return ["PAUSED", reason];
    case "PipelineResumed": return ["RUNNING", reason];
    case "PipelineCancelRequested": return ["CANCELLING", reason];
    case "PipelineRetried": return ["RUNNING", `again: ${(payload["stages"] as readonly string[] | undefined)?.join(", ") ?? ""}`];
    case "PipelineCompleted": return ["COMPLETED", ""];
    case "PipelineFailed": return ["FAILED", String(payload["error"] ?? "")];
    case "PipelineCancelled": return ["CANCELLED", reason];
    case "StageReused": return ["COMPLETED", "taken over from the parent pipeline"];
    case "StageQueued": return payload["cause"] === "ROLLBACK" ? ["QUEUED", "to go on from an earlier checkpoint"] : payload["cause"] === "RETRY" ? ["QUEUED", payload["notBefore"] == null ? "to be tried again" : `to be tried again at ${new Date(Number(payload["notBefore"])).toISOString().slice(11, 19)}`] : ["QUEUED", ""];
    case "StageWaitingApproval": return ["WAITING_APPROVAL", String(payload["message"] ?? "")];
    case "StageApproved": return ["APPROVED", `by ${String(payload["by"])}${reason === "" ? "" : `: ${reason}`}`];
    case "StageCompleted": return ["COMPLETED", shortOutputs((payload["outputs"] as Record<string, unknown> | undefined) ?? null)];
    case "StageFailed": return ["FAILED", failure?.hint ? `${why} ${failure.hint}` : why];
    case "StageCancelled": return ["CANCELLED", reason];
    case "StageSkipped": return ["SKIPPED", reason];
    case "StagePaused": return ["PAUSED", reason];
    case "AttemptStarted": return ["RUNNING", `on ${String(payload["agentName"])}${Number(payload["number"]) > 1 ? ` (try ${String(payload["number"])})` : ""}`];
    case "AttemptFailed": return ["ATTEMPT FAILED", payload["rolledBackTo"] == null ? why : `${why} Goes on from step ${String(payload["rolledBackTo"])}.`];
    case "AttemptLost": return ["ATTEMPT LOST", why];
    case "AttemptCancelled": return ["ATTEMPT STOPPED", reason];
    case "AttemptStopRequested": return ["STOPPING", reason];
    default: return null;
  }
}

/** Which stages of a specification are simulated; empty when none is. */
function simulatedText(spec: unknown): string {
  const stages = (spec as { readonly stages?: readonly JudgedStage[] } | undefined)?.stages;
  const names = Array.isArray(stages) ? [...simulatedStages(stages as readonly JudgedStage[])] : [];
  return names.length === 0 ? "" : `simulated: ${names.slice(0, 10).join(", ")}${names.length > 10 ? ", …" : ""}`;
}
