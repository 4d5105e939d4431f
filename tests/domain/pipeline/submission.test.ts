import { expect, test } from "vitest";
import type { PipelineId } from "../../../src/domain/ids.js";
import { resolvedParams } from "../../../src/domain/pipeline/decide.js";
import { Story, specOf, stage, stageIds } from "./story.js";

test("a submitted pipeline queues the stages that need nothing", () => {
  const story = new Story([stage("c", ["a", "b"]), stage("a"), stage("b")]);
  expect(story.events.map((event) => event.type)).toEqual(["PipelineSubmitted", "StageQueued", "StageQueued"]);
  expect(story.statuses()).toEqual({ a: "QUEUED", b: "QUEUED", c: "PENDING" });
  expect(story.state).toMatchObject({ status: "PENDING", startedAt: null, seq: 3, counts: { PENDING: 1, QUEUED: 2 } });
});

test("a pipeline is submitted once", () => {
  const story = new Story([stage("a")]);
  const spec = specOf([stage("a")]);
  expect(story.refusal({ type: "SubmitPipeline", by: "ann", reason: "", pipelineId: story.state.id, spec, stageIds: stageIds(1), forkedFrom: null, reuse: new Map() })).toMatchObject({ code: "PIPELINE_EXISTS" });
});

test("a stage is queued when the last of its needs completes, and the pipeline completes with its last stage", () => {
  const story = new Story([stage("a"), stage("b"), stage("c", ["a", "b"])]);
  expect(story.complete("a")).toEqual(["StageCompleted a #1"]);
  expect(story.complete("b")).toEqual(["StageCompleted b #1", "StageQueued c READY"]);
  expect(story.complete("c")).toEqual(["StageCompleted c #1", "PipelineCompleted"]);
  expect(story.state).toMatchObject({ status: "COMPLETED", error: null });
});

test("the pipeline starts with the first program", () => {
  const story = new Story([stage("a"), stage("b")]);
  story.offer("a");
  expect(story.state.status).toBe("PENDING");
  expect(story.wait(5).start("a")).toEqual(["AttemptStarted a #1", "PipelineStarted"]);
  expect(story.state).toMatchObject({ status: "RUNNING", startedAt: story.at });
  story.offer("b");
  expect(story.start("b")).toEqual(["AttemptStarted b #1"]);
});

// ── references ──────────────────────────────────────────────────────────────────────────────────────

test("a stage receives what earlier stages left, with its type", () => {
  const story = new Story([stage("a"), stage("b", ["a"], { params: { run: ["x", "${stages.a.outputs.n}", "n=${stages.a.outputs.n}"], totalSteps: "${stages.a.outputs.n}" } })]);
  story.complete("a", { n: 20 });
  expect(resolvedParams(story.state, "b")).toEqual({ run: ["x", 20, "n=20"], totalSteps: 20 });
});

test("a missing output fails the stage that needs it, before anything is started, and skips what follows", () => {
  const story = new Story([stage("a"), stage("b", ["a"], { params: { run: ["${stages.a.outputs.model}"] } }), stage("c", ["b"]), stage("d", ["c", "a"])]);
  expect(story.complete("a", { loss: 1 })).toEqual(["StageCompleted a #1", "StageFailed b MISSING_OUTPUT", "StageSkipped c", "StageSkipped d", "PipelineFailed"]);
  expect(story.last("StageFailed").failure.message).toBe('${stages.a.outputs.model}: stage "a" left no output "model". It left: loss.');
  expect(story.last("StageSkipped").reason).toBe('stage "b" failed (MISSING_OUTPUT)');
  expect(story.state.error).toBe("1 of 4 stages failed, 2 skipped. See the error of each, then retry the pipeline.");
});

test("an output that does not fit where it is used fails the stage as INVALID_INPUT", () => {
  const story = new Story([stage("a"), stage("b", ["a"], { params: { run: ["x"], totalSteps: "${stages.a.outputs.n}" } })]);
  expect(story.complete("a", { n: "many" })).toEqual(["StageCompleted a #1", "StageFailed b INVALID_INPUT", "PipelineFailed"]);
  expect(story.last("StageFailed").failure.message).toContain("params.totalSteps");
});

// ── conditions ──────────────────────────────────────────────────────────────────────────────────────

test("a condition that does not hold skips the stage and all that follows it, with the reason; other branches go on", () => {
  const story = new Story([stage("score"), stage("deploy", ["score"], { when: { value: "${stages.score.outputs.accuracy}", atLeast: 0.8 } }), stage("tell", ["deploy"]), stage("tidy", ["score"])]);
  expect(story.complete("score", { accuracy: 0.5 })).toEqual(["StageCompleted score #1", "StageSkipped deploy", "StageSkipped tell", "StageQueued tidy READY"]);
  expect(story.stage("deploy")).toMatchObject({ reason: "its condition does not hold: ${stages.score.outputs.accuracy} is 0.5, not at least 0.8" });
  expect(story.stage("tell")).toMatchObject({ reason: 'stage "deploy" was skipped: its condition does not hold: ${stages.score.outputs.accuracy} is 0.5, not at least 0.8' });
  expect(story.complete("tidy")).toEqual(["StageCompleted tidy #1", "PipelineCompleted"]);
});

test("a condition that holds queues the stage", () => {
  const story = new Story([stage("a"), stage("b", ["a"], { when: { value: "${stages.a.outputs.ok}" } })]);
  expect(story.complete("a", { ok: true })).toEqual(["StageCompleted a #1", "StageQueued b READY"]);
});

test("a condition on an output that was not left fails the stage", () => {
  const story = new Story([stage("a"), stage("b", ["a"], { when: { value: "${stages.a.outputs.ok}" } })]);
  expect(story.complete("a")).toEqual(["StageCompleted a #1", "StageFailed b MISSING_OUTPUT", "PipelineFailed"]);
});

test("a stage whose needs were skipped in part is skipped", () => {
  const story = new Story([stage("a"), stage("no", ["a"], { when: { value: "${stages.a.outputs.ok}" } }), stage("yes", ["a"]), stage("both", ["yes", "no"])]);
  story.complete("a", { ok: false });
  expect(story.statuses()).toEqual({ a: "COMPLETED", no: "SKIPPED", yes: "QUEUED", both: "SKIPPED" });
  expect(story.complete("yes")).toEqual(["StageCompleted yes #1", "PipelineCompleted"]);
});

// ── approval ────────────────────────────────────────────────────────────────────────────────────────

test("an approval stage waits for a person, and its message holds what earlier stages left", () => {
  const story = new Story([stage("score"), { name: "go", kind: "approval", dependsOn: ["score"], params: { message: "Accuracy ${stages.score.outputs.accuracy}. Deploy?" } }, stage("deploy", ["go"], { params: { run: ["x", "${stages.go.outputs.approvedBy}"] } })]);
  expect(story.complete("score", { accuracy: 0.9 })).toEqual(["StageCompleted score #1", "StageWaitingApproval go"]);
  expect(story.stage("go")).toMatchObject({ status: "WAITING_APPROVAL", message: "Accuracy 0.9. Deploy?" });
  expect(story.refusal({ type: "ApproveStage", by: "bob", reason: "", stage: "deploy" })).toMatchObject({ code: "NOT_WAITING_APPROVAL" });
  expect(story.approve("go")).toEqual(["StageApproved go", "StageCompleted go", "StageQueued deploy READY"]);
  expect(resolvedParams(story.state, "deploy")).toEqual({ run: ["x", "bob"] });
  expect(story.refusal({ type: "ApproveStage", by: "bob", reason: "", stage: "go" })).toMatchObject({ code: "NOT_WAITING_APPROVAL" });
});

test("a message that is a number alone is shown as text, and none at all is null", () => {
  const story = new Story([stage("a"), { name: "n", kind: "approval", dependsOn: ["a"], params: { message: "${stages.a.outputs.n}" } }, { name: "silent", kind: "approval", dependsOn: ["a"] }]);
  story.complete("a", { n: 7 });
  expect(story.stage("n")).toMatchObject({ message: "7" });
  expect(story.stage("silent")).toMatchObject({ message: null });
});

test("a pipeline of approvals starts and ends without an agent", () => {
  const story = new Story([{ name: "go", kind: "approval" }]);
  expect(story.approve("go")).toEqual(["StageApproved go", "PipelineStarted", "StageCompleted go", "PipelineCompleted"]);
});

// ── fork ────────────────────────────────────────────────────────────────────────────────────────────

test("a fork takes over what its parent completed and runs the rest", () => {
  const parent = "pip_parent" as PipelineId;
  const story = new Story([stage("a"), stage("b", ["a"]), stage("c", ["b"], { params: { run: ["${stages.a.outputs.x}"] } })], { forkedFrom: parent, reuse: { b: { y: 1 }, a: { x: "old" } } });
  expect(story.events.map((event) => event.type)).toEqual(["PipelineSubmitted", "StageReused", "StageReused", "StageQueued"]);
  expect(story.stage("a")).toMatchObject({ status: "COMPLETED", outputs: { x: "old" }, reusedFrom: "stg_parent_a", attempts: 0 });
  expect(story.state.forkedFrom).toBe(parent);
  expect(resolvedParams(story.state, "c")).toEqual({ run: ["old"] });
  expect(story.complete("c")).toEqual(["StageCompleted c #1", "PipelineCompleted"]);
});

test("a fork that reuses everything is complete at once", () => {
  const story = new Story([stage("a")], { reuse: { a: {} } });
  expect(story.events.map((event) => event.type)).toEqual(["PipelineSubmitted", "StageReused", "PipelineCompleted"]);
});
