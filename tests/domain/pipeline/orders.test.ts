import { describe, expect, test } from "vitest";
import { decide } from "../../../src/domain/pipeline/decide.js";
import { REFUSED, STOPPED, START, Story, completed, failed, stage } from "./story.js";

const user = { by: "ann", reason: "" };
const chain = [stage("a"), stage("b", ["a"]), stage("c", ["b"])];
const approval = { name: "go", kind: "approval" };

test("an order for a pipeline that does not exist is a bug of the shell", () => {
  expect(() => decide(null, { type: "CancelPipeline", ...user, at: START })).toThrow("without a pipeline");
});

test.each(["RetryStage", "CancelStage", "ApproveStage"] as const)("%s names the stage it did not find", (type) => {
  expect(new Story(chain).refusal({ type, ...user, stage: "nope" })).toMatchObject({ code: "NOT_FOUND", message: expect.stringContaining('"nope"') });
});

describe("cancel", () => {
  test("ends at once what has not started", () => {
    const story = new Story([...chain, approval]);
    expect(story.cancel()).toEqual(["PipelineCancelRequested", "StageCancelled a", "StageCancelled b", "StageCancelled c", "StageCancelled go", "PipelineCancelled"]);
    expect(story.state).toMatchObject({ status: "CANCELLED", error: "enough" });
  });

  test("stops what runs and what is offered, and the pipeline ends when their agents say so", () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["a"])]).run("a");
    story.offer("b", "two");
    expect(story.cancel()).toEqual(["PipelineCancelRequested", "AttemptStopRequested a #1 CANCEL", "AttemptStopRequested b #1 CANCEL", "StageCancelled c"]);
    expect(story.state.status).toBe("RUNNING");
    expect(story.cancel()).toEqual([]);
    expect(story.end("b", REFUSED)).toEqual(["AttemptCancelled b #1", "StageCancelled b"]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StageCancelled a", "PipelineCancelled"]);
  });

  test("is kept when a program finished before its stop came: the stage has completed, the pipeline is cancelled, nothing new starts", () => {
    const story = new Story(chain).run("a");
    story.cancel();
    expect(story.end("a", completed({ n: 1 }))).toEqual(["StageCompleted a #1", "PipelineCancelled"]);
    expect(story.statuses()).toEqual({ a: "COMPLETED", b: "CANCELLED", c: "CANCELLED" });
  });

  test("ends a program that fails or is lost meanwhile as cancelled, without a retry", () => {
    for (const end of [failed(), { kind: "LOST", reason: "gone" } as const]) {
      const story = new Story([stage("a", [], { retry: { maxAttempts: 3 } })]).run("a");
      story.cancel();
      expect(story.end("a", end)).toEqual(["AttemptCancelled a #1", "StageCancelled a", "PipelineCancelled"]);
    }
  });

  test("ends a back-off", () => {
    const story = new Story([stage("a", [], { retry: { maxAttempts: 2 } })]).run("a");
    story.end("a", failed());
    expect(story.cancel()).toEqual(["PipelineCancelRequested", "StageCancelled a", "PipelineCancelled"]);
  });

  test("works while paused and overrides the pause of what is still stopping", () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["b"])]).run("a").run("b");
    story.pause();
    story.end("a", STOPPED);
    expect(story.cancel()).toEqual(["PipelineCancelRequested", "StageCancelled a", "AttemptStopRequested b #1 CANCEL", "StageCancelled c"]);
    expect(story.refusal({ type: "ResumePipeline", ...user })).toMatchObject({ code: "PIPELINE_CANCELLING" });
    expect(story.end("b", STOPPED)).toEqual(["AttemptCancelled b #1", "StageCancelled b", "PipelineCancelled"]);
  });

  test("refuses offers, approvals, pauses and retries from then on", () => {
    const story = new Story([stage("a"), stage("b")]).run("a");
    story.cancel();
    expect(story.refusal(story.offerOf("b"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    expect(story.refusal({ type: "PausePipeline", ...user })).toMatchObject({ code: "PIPELINE_CANCELLING" });
    expect(story.refusal({ type: "RetryPipeline", ...user })).toMatchObject({ code: "PIPELINE_CANCELLING", retryable: true });
    expect(story.refusal({ type: "RetryStage", ...user, stage: "b" })).toMatchObject({ code: "PIPELINE_CANCELLING" });
  });

  test("a program that starts before its stop reached it is on record", () => {
    const story = new Story([stage("a")]);
    story.offer("a");
    story.cancel();
    expect(story.start("a")).toEqual(["AttemptStarted a #1", "PipelineStarted"]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StageCancelled a", "PipelineCancelled"]);
  });

  test("is refused once the pipeline is over", () => {
    const story = new Story([stage("a")]);
    story.complete("a");
    expect(story.refusal({ type: "CancelPipeline", ...user })).toMatchObject({ code: "PIPELINE_OVER" });
    expect(story.refusal({ type: "PausePipeline", ...user })).toMatchObject({ code: "PIPELINE_OVER" });
  });
});

describe("cancel of one stage", () => {
  test("skips what hangs on it; other branches go on; the pipeline ends cancelled", () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["a"]), stage("d", ["c"])]);
    expect(story.cancelStage("a")).toEqual(["StageCancelled a", "StageSkipped c", "StageSkipped d"]);
    expect(story.stage("d")).toMatchObject({ reason: 'stage "a" was cancelled' });
    expect(story.complete("b")).toEqual(["StageCompleted b #1", "PipelineCancelled"]);
    expect(story.state.error).toBe("1 of 4 stages cancelled, 2 skipped.");
  });

  test("stops a running one first", () => {
    const story = new Story([stage("a"), stage("b", ["a"])]).run("a");
    expect(story.cancelStage("a")).toEqual(["AttemptStopRequested a #1 CANCEL"]);
    expect(story.cancelStage("a")).toEqual([]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StageCancelled a", "StageSkipped b", "PipelineCancelled"]);
  });

  test("is overtaken by a program that finished first", () => {
    const story = new Story([stage("a"), stage("b", ["a"])]).run("a");
    story.cancelStage("a");
    expect(story.end("a", completed())).toEqual(["StageCompleted a #1", "StageQueued b READY"]);
  });

  test("works on a paused one, one that waits for approval, and one that waits for others", () => {
    const story = new Story([stage("a"), approval, stage("b", ["a"])]).run("a");
    story.pause();
    story.end("a", STOPPED);
    expect(story.cancelStage("b")).toEqual(["StageCancelled b"]);
    expect(story.cancelStage("go")).toEqual(["StageCancelled go"]);
    expect(story.cancelStage("a")).toEqual(["StageCancelled a", "PipelineCancelled"]);
  });

  test("is refused when the stage is over", () => {
    const story = new Story([stage("a"), stage("b")]);
    story.complete("a");
    expect(story.refusal({ type: "CancelStage", ...user, stage: "a" })).toMatchObject({ code: "STAGE_OVER" });
  });

  test("a failed stage outweighs a cancelled one", () => {
    const story = new Story([stage("a"), stage("b")]);
    story.cancelStage("a");
    expect(story.run("b").end("b", failed())).toEqual(["AttemptFailed b #1 EXIT_NONZERO", "StageFailed b EXIT_NONZERO", "PipelineFailed"]);
  });
});

describe("pause and resume", () => {
  test("before anything started: nothing is placed until it is resumed, and the pipeline is as new", () => {
    const story = new Story(chain);
    expect(story.pause()).toEqual(["PipelinePaused"]);
    expect(story.state.status).toBe("PAUSED");
    expect(story.refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    expect(story.refusal({ type: "PausePipeline", ...user })).toMatchObject({ code: "PIPELINE_PAUSED" });
    expect(story.resume()).toEqual(["PipelineResumed", "StageQueued a RESUMED"]);
    expect(story.state).toMatchObject({ status: "PENDING", startedAt: null });
    story.offer("a");
    expect(story.start("a")).toEqual(["AttemptStarted a #1", "PipelineStarted"]);
  });

  test("stops what runs and starts it again as a new attempt that does not count as a try", () => {
    const story = new Story(chain).run("a");
    expect(story.pause()).toEqual(["PipelinePaused", "AttemptStopRequested a #1 PAUSE"]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StagePaused a"]);
    expect(story.resume()).toEqual(["PipelineResumed", "StageQueued a RESUMED"]);
    expect(story.state.status).toBe("RUNNING");
    expect(story.offer("a")).toEqual(["AttemptOffered a #2"]);
    expect(story.stage("a")).toMatchObject({ attempts: 2, tries: 0 });
  });

  test("an attempt that is offered but not started is called back, whatever its agent answers", () => {
    for (const answer of [STOPPED, REFUSED, { kind: "LOST", reason: "gone" } as const]) {
      const story = new Story(chain);
      story.offer("a");
      expect(story.pause()).toEqual(["PipelinePaused", "AttemptStopRequested a #1 PAUSE"]);
      expect(story.end("a", answer)).toEqual(["AttemptCancelled a #1", "StagePaused a"]);
    }
  });

  test("a program that finishes before the stop reaches it has finished; what follows waits for the resume", () => {
    const story = new Story(chain).run("a");
    story.pause();
    expect(story.end("a", completed())).toEqual(["StageCompleted a #1", "StageQueued b READY"]);
    expect(story.refusal(story.offerOf("b"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    expect(story.resume()).toEqual(["PipelineResumed", "StageQueued b RESUMED"]);
    expect(story.offer("b")).toEqual(["AttemptOffered b #1"]);
  });

  test("a pipeline whose last program finishes while pausing is complete", () => {
    const story = new Story([stage("a")]).run("a");
    story.pause();
    expect(story.end("a", completed())).toEqual(["StageCompleted a #1", "PipelineCompleted"]);
  });

  test("resumed before the stop reached the program, the stage goes on at once", () => {
    const story = new Story(chain).run("a");
    story.pause();
    expect(story.resume()).toEqual(["PipelineResumed"]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StageQueued a RESUMED"]);
  });

  test("a program that fails by itself while pausing has failed", () => {
    const story = new Story([stage("a", [], { retry: { maxAttempts: 2, backoffSeconds: 60 } })]).run("a");
    story.pause();
    expect(story.end("a", failed())).toEqual(["AttemptFailed a #1 EXIT_NONZERO", "StageQueued a RETRY in 60 s"]);
    expect(story.wait(10).resume()).toEqual(["PipelineResumed", "StageQueued a RESUMED in 50 s"]);
    expect(story.refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
  });

  test("a pause leaves approvals open", () => {
    const story = new Story([approval, stage("a", ["go"])]);
    story.pause();
    expect(story.approve("go")).toEqual(["StageApproved go", "PipelineStarted", "StageCompleted go", "StageQueued a READY"]);
    expect(story.state.status).toBe("PAUSED");
  });

  test("only a paused pipeline is resumed", () => {
    expect(new Story(chain).refusal({ type: "ResumePipeline", ...user })).toMatchObject({ code: "PIPELINE_NOT_PAUSED" });
  });
});

describe("retry of the pipeline", () => {
  test("runs what failed and was skipped again and keeps what completed", () => {
    const story = new Story(chain);
    story.complete("a", { n: 1 });
    expect(story.run("b").end("b", failed())).toEqual(["AttemptFailed b #1 EXIT_NONZERO", "StageFailed b EXIT_NONZERO", "StageSkipped c", "PipelineFailed"]);
    expect(story.wait(60).retry()).toEqual(["PipelineRetried b c", "StageReset b waits for 0", "StageReset c waits for 1", "StageQueued b READY"]);
    expect(story.state).toMatchObject({ status: "RUNNING", error: null, finishedAt: null });
    expect(story.stage("b")).toMatchObject({ attempts: 1, tries: 0 });
    expect(story.offer("b")).toEqual(["AttemptOffered b #2"]);
    story.start("b");
    story.end("b", completed());
    expect(story.complete("c")).toEqual(["StageCompleted c #1", "PipelineCompleted"]);
  });

  test("works while another branch still runs", () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["a", "b"])]).run("a").run("b");
    story.end("a", failed());
    expect(story.statuses()).toEqual({ a: "FAILED", b: "RUNNING", c: "SKIPPED" });
    expect(story.retry()).toEqual(["PipelineRetried a c", "StageReset a waits for 0", "StageReset c waits for 2", "StageQueued a READY"]);
    story.end("b", completed());
    expect(story.complete("a")).toEqual(["StageCompleted a #2", "StageQueued c READY"]);
  });

  test("does not end a pause: what it resets waits for the resume", () => {
    const story = new Story([stage("a"), stage("b")]).run("a").run("b");
    story.end("a", failed());
    story.pause();
    story.end("b", STOPPED);
    expect(story.retry()).toEqual(["PipelineRetried a", "StageReset a waits for 0", "StageQueued a READY"]);
    expect(story.state.status).toBe("PAUSED");
    expect(story.refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    expect(story.resume()).toEqual(["PipelineResumed", "StageQueued a RESUMED", "StageQueued b RESUMED"]);
  });

  test("after a cancel runs everything that had not completed", () => {
    const story = new Story(chain);
    story.complete("a");
    story.cancel();
    expect(story.retry()).toEqual(["PipelineRetried b c", "StageReset b waits for 0", "StageReset c waits for 1", "StageQueued b READY"]);
    expect(story.state).toMatchObject({ status: "RUNNING", cancelling: null, error: null });
  });

  test("judges conditions anew", () => {
    const story = new Story([stage("a"), stage("b", ["a"], { when: { value: "${stages.a.outputs.ok}" } })]);
    story.complete("a", { ok: false });
    expect(story.retry()).toEqual(["PipelineRetried b", "StageReset b waits for 0", "StageSkipped b", "PipelineCompleted"]);
  });

  test("is refused when there is nothing to run again", () => {
    const story = new Story([stage("a")]);
    expect(story.refusal({ type: "RetryPipeline", ...user })).toMatchObject({ code: "NOTHING_TO_RETRY" });
    story.complete("a");
    expect(story.refusal({ type: "RetryPipeline", ...user })).toMatchObject({ code: "NOTHING_TO_RETRY" });
  });

  test("of a pipeline that never started leaves it pending", () => {
    const story = new Story(chain);
    story.cancel();
    story.retry();
    expect(story.state).toMatchObject({ status: "PENDING", startedAt: null });
    story.offer("a");
    expect(story.start("a")).toEqual(["AttemptStarted a #1", "PipelineStarted"]);
  });
});

describe("retry of one stage", () => {
  test("runs it and what was skipped because of it", () => {
    const story = new Story(chain).run("a");
    story.end("a", failed());
    expect(story.retryStage("a")).toEqual(["PipelineRetried a b c", "StageReset a waits for 0", "StageReset b waits for 1", "StageReset c waits for 1", "StageQueued a READY"]);
  });

  test("leaves skipped what also hangs on another stage that ended badly, and all behind it", () => {
    const story = new Story([stage("a"), stage("b"), stage("only-a", ["a"]), stage("both", ["only-a", "b"]), stage("behind", ["both"])]).run("a").run("b");
    story.end("a", failed());
    story.end("b", failed());
    expect(story.retryStage("a")).toEqual(["PipelineRetried a only-a", "StageReset a waits for 0", "StageReset only-a waits for 1", "StageQueued a READY"]);
    expect(story.complete("a")).toEqual(["StageCompleted a #2", "StageQueued only-a READY"]);
    expect(story.complete("only-a")).toEqual(["StageCompleted only-a #1", "PipelineFailed"]);
    expect(story.retryStage("b")).toEqual(["PipelineRetried b both behind", "StageReset b waits for 0", "StageReset both waits for 1", "StageReset behind waits for 1", "StageQueued b READY"]);
  });

  test("is refused while a stage upstream of it ended badly, and names that stage", () => {
    const story = new Story(chain).run("a");
    story.end("a", failed());
    expect(story.refusal({ type: "RetryStage", ...user, stage: "c" })).toMatchObject({ code: "UPSTREAM_NOT_COMPLETED", message: expect.stringMatching(/needs "[ab]", which is (FAILED|SKIPPED)/) });
  });

  test("of a cancelled stage waits for needs that still run", () => {
    const story = new Story(chain).run("a");
    story.cancelStage("b");
    expect(story.retryStage("b")).toEqual(["PipelineRetried b c", "StageReset b waits for 1", "StageReset c waits for 1"]);
    expect(story.end("a", completed())).toEqual(["StageCompleted a #1", "StageQueued b READY"]);
  });

  test("leaves alone what the user cancelled downstream", () => {
    const story = new Story([stage("a"), stage("b", ["a"]), stage("c", ["a", "b"])]).run("a");
    story.cancelStage("b");
    story.end("a", failed());
    expect(story.statuses()).toEqual({ a: "FAILED", b: "CANCELLED", c: "SKIPPED" });
    expect(story.retryStage("a")).toEqual(["PipelineRetried a", "StageReset a waits for 0", "StageQueued a READY"]);
    expect(story.complete("a")).toEqual(["StageCompleted a #2", "PipelineCancelled"]);
  });

  test("of a stage skipped by its condition skips it again as long as the condition does not hold", () => {
    const story = new Story([stage("a"), stage("b", ["a"], { when: { value: "${stages.a.outputs.ok}" } }), stage("c", ["b"])]);
    story.complete("a", { ok: false });
    expect(story.refusal({ type: "RetryStage", ...user, stage: "c" })).toMatchObject({ code: "UPSTREAM_NOT_COMPLETED" });
    expect(story.retryStage("b")).toEqual(["PipelineRetried b c", "StageReset b waits for 0", "StageReset c waits for 1", "StageSkipped b", "StageSkipped c", "PipelineCompleted"]);
  });

  test.each([["queued", (_: Story) => {}], ["running", (story: Story) => void story.run("a")], ["completed", (story: Story) => void story.complete("a")]])("is refused for a %s stage", (_, given) => {
    const story = new Story(chain);
    given(story);
    expect(story.refusal({ type: "RetryStage", ...user, stage: "a" })).toMatchObject({ code: "STAGE_NOT_RETRYABLE" });
  });
});
