import fc from "fast-check";
import { expect, test } from "vitest";
import type { PipelineEventType } from "../../../src/domain/pipeline/events.js";
import { stagesOf } from "./random-pipelines.js";
import { replay, snapshot } from "./story.js";
import { World } from "./world.js";

/** What happens: as many things as a run has room for, each kind as likely as any other. */
const choices = (maxLength: number) => fc.array(fc.noBias(fc.tuple(fc.integer({ min: 0, max: World.KINDS - 1 }), fc.nat(99_999))), { maxLength, size: "max" });

/** More with e.g. PROPERTY_RUNS=100000. */
const numRuns = Number(process.env["PROPERTY_RUNS"] ?? 2_000);

const EVERY_EVENT: Record<Exclude<PipelineEventType, "StageReused">, 0> = {
  PipelineSubmitted: 0, PipelineStarted: 0, PipelinePaused: 0, PipelineResumed: 0, PipelineCancelRequested: 0, PipelineRetried: 0, PipelineCompleted: 0, PipelineFailed: 0, PipelineCancelled: 0,
  StageQueued: 0, StageWaitingApproval: 0, StageApproved: 0, StageCompleted: 0, StageFailed: 0, StageCancelled: 0, StageSkipped: 0, StagePaused: 0, StageReset: 0,
  AttemptOffered: 0, AttemptStarted: 0, MemberEnded: 0, AttemptStopRequested: 0, AttemptFailed: 0, AttemptLost: 0, AttemptCancelled: 0,
};

test("whatever users, agents, the scheduler and the wire do, every invariant holds, and once faults stop the pipeline ends", { timeout: 20 * numRuns + 60_000 }, () => {
  const seen = new Map<string, number>();
  fc.assert(fc.property(stagesOf(30), choices(120), (stages, chosen) => {
    const world = new World(stages);
    for (const [what, which] of chosen) world.step(what, which);
    world.settle();
    expect(snapshot(replay(world.events))).toEqual(snapshot(world.state));
    for (const event of world.events) seen.set(event.type, (seen.get(event.type) ?? 0) + 1);
  }), { numRuns });
  for (const type of Object.keys(EVERY_EVENT)) expect(seen.get(type) ?? 0, `${type} happens often enough to be tested`).toBeGreaterThan(numRuns / 100);
});

test("a pipeline that ended can be retried until nothing but its conditions and its missing outputs stands in the way", { timeout: 60_000 }, () => {
  fc.assert(fc.property(stagesOf(12), choices(60), (stages, chosen) => {
    const world = new World(stages);
    for (const [what, which] of chosen) world.step(what, which);
    world.settle();
    if (world.state.status === "COMPLETED") return;
    world.give({ type: "RetryPipeline", by: "ann", reason: "" });
    world.settle();
    for (const [index, stage] of [...world.state.stages].entries()) {
      const { when, params } = world.state.spec.stages[index]!;
      const needs = world.state.dag.needs[index]!.map((need) => world.state.stages.at(need).status);
      if (stage.status === "COMPLETED" || needs.some((status) => status !== "COMPLETED")) continue;
      expect(when !== undefined || JSON.stringify(params).includes("${stages."), `${world.state.dag.names[index]} is ${JSON.stringify(stage)}`).toBe(true);
    }
  }), { numRuns: Math.ceil(numRuns / 4) });
});
