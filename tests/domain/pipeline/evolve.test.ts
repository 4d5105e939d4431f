import { describe, expect, test } from "vitest";
import type { AttemptId, StageId } from "../../../src/domain/ids.js";
import type { PipelineEvent, PipelineEventType } from "../../../src/domain/pipeline/events.js";
import { evolve } from "../../../src/domain/pipeline/evolve.js";
import { REFUSED, START, STOPPED, Story, agentId, completed, failed, failure, memberOf, replay, snapshot, stage } from "./story.js";

const at = START + 1;
const user = { by: "ann", reason: "" };
const attempt = { at, stage: "a", attemptId: "att_1" as AttemptId, number: 1 };
const running = () => new Story([stage("a"), stage("b", ["a"])]).run("a");
const refuses = (story: Story, event: PipelineEvent) => expect(() => evolve(story.state, event), event.type).toThrow(`Event ${event.type}`);

/** One of each that would be possible somewhere. */
const EVENTS = {
  PipelineSubmitted: new Story([stage("a")]).events[0] as Extract<PipelineEvent, { type: "PipelineSubmitted" }>,
  PipelineStarted: { type: "PipelineStarted", at },
  PipelinePaused: { type: "PipelinePaused", at, ...user },
  PipelineResumed: { type: "PipelineResumed", at, ...user },
  PipelineCancelRequested: { type: "PipelineCancelRequested", at, ...user },
  PipelineRetried: { type: "PipelineRetried", at, ...user, stages: ["a"] },
  PipelineCompleted: { type: "PipelineCompleted", at },
  PipelineFailed: { type: "PipelineFailed", at, error: "x" },
  PipelineCancelled: { type: "PipelineCancelled", at, reason: "x" },
  StageReused: { type: "StageReused", at, stage: "a", fromStageId: "stg_x" as StageId, outputs: {} },
  StageQueued: { type: "StageQueued", at, stage: "a", cause: "READY", notBefore: null },
  StageWaitingApproval: { type: "StageWaitingApproval", at, stage: "a", message: null },
  StageApproved: { type: "StageApproved", at, stage: "a", ...user },
  StageCompleted: { type: "StageCompleted", ...attempt, outputs: {} },
  StageFailed: { type: "StageFailed", at, stage: "a", failure: failure() },
  StageCancelled: { type: "StageCancelled", at, stage: "a", reason: "x" },
  StageSkipped: { type: "StageSkipped", at, stage: "a", reason: "x" },
  StagePaused: { type: "StagePaused", at, stage: "a", reason: "x" },
  StageReset: { type: "StageReset", at, stage: "a", waitingFor: 0 },
  AttemptOffered: { type: "AttemptOffered", ...attempt, members: [memberOf("one")] },
  AttemptStarted: { type: "AttemptStarted", ...attempt, agentId: agentId("one"), agentName: "one", command: null },
  MemberEnded: { type: "MemberEnded", ...attempt, agentId: agentId("one"), outcome: STOPPED },
  AttemptStopRequested: { type: "AttemptStopRequested", ...attempt, cause: "CANCEL", reason: "x" },
  AttemptFailed: { type: "AttemptFailed", ...attempt, failure: failure(), counts: true },
  AttemptLost: { type: "AttemptLost", ...attempt, failure: failure() },
  AttemptCancelled: { type: "AttemptCancelled", ...attempt, reason: "x" },
} satisfies { [T in PipelineEventType]: Extract<PipelineEvent, { type: T }> };

/** In each situation, the events that are possible; every other one is refused. */
const SITUATIONS: Record<string, { story: () => Story; possible: readonly PipelineEventType[] }> = {
  "a is queued": { story: () => new Story([stage("a"), stage("b", ["a"])]), possible: ["PipelineStarted", "PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "StageQueued", "StageFailed", "StageCancelled", "StagePaused", "AttemptOffered"] },
  "a is offered": { story: () => { const story = new Story([stage("a")]); story.offer("a"); return story; }, possible: ["PipelineStarted", "PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "AttemptStarted", "MemberEnded", "AttemptStopRequested", "AttemptFailed", "AttemptLost", "AttemptCancelled"] },
  "a runs": { story: running, possible: ["PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "StageCompleted", "MemberEnded", "AttemptStopRequested", "AttemptFailed", "AttemptLost", "AttemptCancelled"] },
  "a waits for b": { story: () => new Story([stage("a", ["b"]), stage("b")]), possible: ["PipelineStarted", "PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "StageReused", "StageFailed", "StageCancelled", "StageSkipped"] },
  "a waits for approval": { story: () => new Story([{ name: "a", kind: "approval" }]), possible: ["PipelineStarted", "PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "StageApproved", "StageCancelled"] },
  "a is paused": { story: () => { const story = running(); story.pause(); story.end("a", STOPPED); return story; }, possible: ["PipelineResumed", "PipelineCancelRequested", "PipelineRetried", "StageQueued", "StageCancelled"] },
  "a is complete, b is not": { story: () => { const story = running(); story.end("a", completed()); return story; }, possible: ["PipelinePaused", "PipelineCancelRequested", "PipelineRetried"] },
  "a failed, b runs": { story: () => { const story = new Story([stage("a"), stage("b")]).run("a").run("b"); story.end("a", failed()); return story; }, possible: ["PipelinePaused", "PipelineCancelRequested", "PipelineRetried", "StageReset"] },
  "a runs and is being cancelled": { story: () => { const story = running(); story.cancel(); return story; }, possible: ["StageCompleted", "MemberEnded", "AttemptStopRequested", "AttemptFailed", "AttemptLost", "AttemptCancelled"] },
  "the pipeline is over": { story: () => { const story = running(); story.end("a", failed()); return story; }, possible: ["PipelineRetried"] },
};

describe("an event that is impossible throws", () => {
  test.each(Object.entries(SITUATIONS))("when %s", (_, { story, possible }) => {
    for (const event of Object.values(EVENTS)) {
      // An approval completes without an attempt.
      if (possible.includes(event.type)) expect(() => evolve(story().state, event), event.type).not.toThrow();
      else refuses(story(), event);
    }
  });

  test("before the pipeline exists", () => {
    for (const { type, ...rest } of Object.values(EVENTS)) {
      if (type !== "PipelineSubmitted") expect(() => evolve(null, { type, ...rest } as PipelineEvent), type).toThrow("there is no pipeline yet");
    }
  });

  test("for a stage that the pipeline does not have", () => refuses(running(), { ...EVENTS.StageQueued, stage: "z" }));
  test("for another attempt or fence than the live one", () => {
    for (const type of ["AttemptStarted", "MemberEnded", "AttemptStopRequested", "AttemptFailed", "AttemptLost", "AttemptCancelled", "StageCompleted"] as const) {
      refuses(running(), { ...EVENTS[type], attemptId: "att_2" as AttemptId });
      if (type !== "StageCompleted") refuses(running(), { ...EVENTS[type], number: 2 });
    }
  });
  test("for an agent that has no part in the attempt", () => {
    refuses(running(), { ...EVENTS.MemberEnded, agentId: agentId("two") });
    refuses(running(), { ...EVENTS.AttemptStarted, agentId: agentId("two") });
  });
  test("for a fence that skips a number", () => refuses(new Story([stage("a")]), { ...EVENTS.AttemptOffered, number: 2 }));
  test("for as many ids as there are no stages", () => expect(() => evolve(null, { ...EVENTS.PipelineSubmitted, stageIds: [] })).toThrow("need as many ids"));
});

test("replaying a history from JSON gives the state, and each event adds one to seq", () => {
  const story = new Story([stage("a", [], { retry: { maxAttempts: 2, backoffSeconds: 0 } }), stage("b", ["a"])]);
  story.offer("a");
  story.end("a", REFUSED);
  story.wait(10).run("a").end("a", failed());
  story.complete("a", { nested: { list: [1, "two", null, true] } });
  story.run("b").pause();
  expect(snapshot(replay(story.events))).toEqual(snapshot(story.state));
  expect(story.state.seq).toBe(story.events.length);
});

test("a state is never changed, only followed by another", () => {
  const story = running();
  const before = story.state;
  const frozen = JSON.stringify(snapshot(before));
  story.end("a", completed({ n: 1 }));
  expect(JSON.stringify(snapshot(before))).toBe(frozen);
});
