import { expect, test } from "vitest";
import { viewOf, type PipelineSnapshot } from "../../../src/cli/follow/pipeline-view.js";
import { renderDemoResult } from "../../../src/cli/render/demo-result.js";
import { eventLine } from "../../../src/cli/render/event-line.js";
import { renderPipelineFrame } from "../../../src/cli/render/pipeline-frame.js";
import { widthOf } from "../../../src/cli/render/text-width.js";
import { createStyle } from "../../../src/cli/style.js";

const plain = createStyle(false);
const NOW = Date.parse("2026-01-01T00:01:00.000Z");
type StageSnapshot = PipelineSnapshot["stages"][number];

function stage(name: string, given: Partial<StageSnapshot> = {}): StageSnapshot {
  return { id: `stg_${name}`, name, kind: "COMMAND", dependsOn: [], status: "PENDING", startedAt: null, finishedAt: null, outputs: null, reason: null, error: null, progress: null, attempts: [], ...given };
}
function pipeline(stages: readonly StageSnapshot[], status = "RUNNING") {
  return viewOf({ id: "pip_1", name: "demo", status, error: null, createdAt: "2026-01-01T00:00:00.000Z", startedAt: "2026-01-01T00:00:00.000Z", finishedAt: null, head: "c", stages });
}
const running = { status: "RUNNING", startedAt: "2026-01-01T00:00:50.000Z", attempts: [{ number: 1, status: "RUNNING", agent: { name: "host-1" } }] };

test("a running stage shows agent, time, progress with the time left, and its newest metrics", () => {
  const view = pipeline([stage("train", { ...running, progress: { step: 50, totalSteps: 200, etaSeconds: 30 } })]);
  view.stages.get("train")!.metrics.set("train/lr", { step: 50, value: 0.001, nonFinite: null }).set("train/loss", { step: 50, value: null, nonFinite: "NaN" });
  expect(renderPipelineFrame(view, { now: NOW, width: 200, height: 20, style: plain })).toEqual([
    "demo  pip_1  RUNNING  0 of 1 stages  1 min 00 s",
    "  ▶ train  RUNNING    host-1          10 s  ████░░░░░░░░░░░░  25 %  ETA 30 s  train/loss NaN",
  ]);
});

test("a stage that failed, waits, was skipped or asks for approval says why", () => {
  const view = pipeline([
    stage("a", { status: "FAILED", error: { code: "OUT_OF_MEMORY", message: "too big", hint: null, logTail: [] } }),
    stage("b", { status: "SKIPPED", reason: "a failed" }),
    stage("c", { status: "QUEUED" }),
    stage("d", { status: "WAITING_APPROVAL", reason: "ship it?" }),
  ]);
  view.stages.get("c")!.waitReasons = ["no agent has a GPU"];
  const text = renderPipelineFrame(view, { now: NOW, width: 120, height: 20, style: plain }).join("\n");
  for (const words of ["OUT_OF_MEMORY: too big", "a failed", "no agent has a GPU", "APPROVAL?", "ship it?"]) expect(text).toContain(words);
});

test("a frame is never wider or higher than the screen, and what moves is what is kept of a long one", () => {
  const stages = Array.from({ length: 500 }, (_, index) => stage(`stage-${index}-${"x".repeat(index % 50)}`, index === 321 ? running : index < 300 ? { status: "COMPLETED" } : {}));
  const frame = renderPipelineFrame(pipeline(stages), { now: NOW, width: 60, height: 12, style: createStyle(true) });
  expect(frame.length).toBeLessThanOrEqual(12);
  for (const line of frame) expect(widthOf(line)).toBeLessThanOrEqual(60);
  expect(frame.join("\n")).toContain("stage-321");
  expect(frame.at(-1)).toContain("more stages");
});

test("names of strangers cannot move the cursor", () => {
  const view = pipeline([stage("a", { status: "SKIPPED", reason: "\u001b[2Jgone\r" })]);
  expect(renderPipelineFrame(view, { now: NOW, width: 100, height: 9, style: plain }).join("")).not.toMatch(/\u001b|\r/);
});

test("one event is one line; events that say nothing new have none", () => {
  const event = (type: string, payload: Record<string, unknown>, stageName: string | null = "train") => eventLine({ cursor: "c", pipelineId: "p", seq: 1, type, stage: stageName, payload, at: "2026-01-01T12:00:01.000Z" }, plain);
  expect(event("AttemptStarted", { agentName: "host-1", number: 2 })).toBe("12:00:01  train  RUNNING  on host-1 (try 2)");
  expect(event("StageFailed", { failure: { code: "TIMEOUT", message: "took too long", hint: "Raise timeoutSeconds." } })).toBe("12:00:01  train  FAILED  TIMEOUT: took too long Raise timeoutSeconds.");
  expect(event("PipelineCompleted", {}, null)).toBe("12:00:01  pipeline  COMPLETED");
  expect(event("MemberEnded", {})).toBeNull();
});

test("the demo's result names both variants with their scores, and the one that was chosen", () => {
  const done = (name: string, outputs: Record<string, unknown>) => stage(name, { status: "COMPLETED", startedAt: "2026-01-01T00:00:00.000Z", finishedAt: "2026-01-01T00:00:08.000Z", outputs });
  const view = pipeline([
    done("train-small", { checkpoint: "/a/small.json", weights: 3999 }), done("train-wide", { checkpoint: "/a/wide.json", weights: 14283 }),
    done("evaluate-small", { scores: { bits_per_char: 2.886 } }), done("evaluate-wide", { scores: { bits_per_char: 2.825 } }),
    done("choose", { checkpoint: "/a/wide.json", score: 2.825 }),
  ], "COMPLETED");
  const lines = renderDemoResult(view, plain, null);
  expect(lines.find((line) => /^wide\b/.test(line))).toMatch(/14283\s+2\.825\s+← chosen/);
  expect(lines.find((line) => /^small\b/.test(line))).toMatch(/3999\s+2\.886\s*$/);
  expect(lines.find((line) => /^train-small/.test(line))).toMatch(/COMPLETED\s+8\.0 s/);
});
