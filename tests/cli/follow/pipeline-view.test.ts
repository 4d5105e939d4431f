import { expect, test } from "vitest";
import { applyEvent, viewOf, type ApiEvent, type PipelineSnapshot } from "../../../src/cli/follow/pipeline-view.js";

const SNAPSHOT: PipelineSnapshot = {
  id: "pip_1", name: "p", status: "RUNNING", error: null, createdAt: "2026-01-01T00:00:00.000Z", startedAt: null, finishedAt: null, head: "c0",
  stages: [{ id: "stg_a", name: "a", kind: "COMMAND", dependsOn: [], status: "QUEUED", startedAt: null, finishedAt: null, outputs: null, reason: null, error: null, progress: null, attempts: [] }],
};
let seq = 0;
const event = (type: string, payload: Record<string, unknown> = {}, stage: string | null = "a"): ApiEvent => ({ cursor: `c${++seq}`, pipelineId: "pip_1", seq, type, stage, payload, at: `2026-01-01T00:00:${String(seq % 60).padStart(2, "0")}.000Z` });
const failure = { code: "EXIT_NONZERO", message: "exit code 1", hint: null, logTail: [] };

test("a stage that fails once and is tried again shows its second try, then its outputs", () => {
  const view = viewOf(SNAPSHOT);
  const stage = view.stages.get("a")!;
  applyEvent(view, event("AttemptOffered", { number: 1, members: [{ agentName: "host-1" }] }));
  expect(stage).toMatchObject({ status: "QUEUED", attempt: 1, agent: "host-1" });
  applyEvent(view, event("AttemptStarted", { number: 1, agentName: "host-1" }));
  expect(stage).toMatchObject({ status: "RUNNING", startedAt: expect.any(String) as string });
  applyEvent(view, event("AttemptFailed", { number: 1, failure }));
  applyEvent(view, event("StageQueued", { cause: "RETRY" }));
  expect(stage).toMatchObject({ status: "QUEUED", remark: "attempt 1: EXIT_NONZERO" });
  applyEvent(view, event("AttemptStarted", { number: 2, agentName: "host-2" }));
  expect(stage).toMatchObject({ status: "RUNNING", attempt: 2, agent: "host-2", remark: null });
  applyEvent(view, event("StageCompleted", { outputs: { n: 1 } }));
  applyEvent(view, event("PipelineCompleted", {}, null));
  expect(stage).toMatchObject({ status: "COMPLETED", outputs: { n: 1 }, error: null });
  expect(view).toMatchObject({ status: "COMPLETED", finishedAt: expect.any(String) as string });
});

test("an event that comes again changes nothing", () => {
  const view = viewOf(SNAPSHOT);
  const started = event("AttemptStarted", { number: 1, agentName: "host-1" });
  const completed = event("StageCompleted", { outputs: {} });
  expect([applyEvent(view, started), applyEvent(view, completed), applyEvent(view, started), applyEvent(view, completed)]).toEqual([true, true, false, false]);
  expect(view.stages.get("a")!.status).toBe("COMPLETED");
  expect(view.cursor).toBe(completed.cursor);
});

test("a retry of the pipeline opens what had ended", () => {
  const view = viewOf(SNAPSHOT);
  applyEvent(view, event("StageFailed", { failure }));
  applyEvent(view, event("PipelineFailed", { error: "a failed" }, null));
  expect(view).toMatchObject({ status: "FAILED", error: "a failed" });
  applyEvent(view, event("PipelineRetried", { stages: ["a"] }, null));
  applyEvent(view, event("StageReset", { waitingFor: 0 }));
  expect(view).toMatchObject({ status: "RUNNING", error: null, finishedAt: null });
  expect(view.stages.get("a")).toMatchObject({ status: "PENDING", error: null });
});

test("an event of a stage that is not known does no harm", () => {
  const view = viewOf(SNAPSHOT);
  expect(() => applyEvent(view, event("StageCompleted", {}, "unknown"))).not.toThrow();
});
