import type { FailureCode } from "../../../src/domain/pipeline/spec.js";
import { describe, expect, test } from "vitest";
import { FAILURE_CODES, PERMANENT_CAUSES } from "../../../src/domain/pipeline/spec.js";
import { nextTimerAt, type MemberOutcome } from "../../../src/domain/pipeline/state.js";
import { REFUSED, STOPPED, Story, agentId, completed, failed, stage } from "./story.js";

const retried = (rest: Record<string, unknown> = {}) => ({ retry: { maxAttempts: 3, backoffSeconds: 10, backoffFactor: 2, maxBackoffSeconds: 15, ...rest } });
const gang = (rest: Record<string, unknown> = {}) => [stage("a", [], { resources: { nodes: 3 }, ...rest }), stage("b", ["a"])];

describe("offers", () => {
  test("a queued stage is offered once, and fences rise by one", () => {
    const story = new Story([stage("a", [], retried())]);
    expect(story.offer("a")).toEqual(["AttemptOffered a #1"]);
    expect(story.refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    story.end("a", failed());
    story.wait(10);
    expect(story.offer("a")).toEqual(["AttemptOffered a #2"]);
  });

  test("neither a stage that waits for others nor one that is over is offered", () => {
    const story = new Story([stage("a"), stage("b", ["a"]), stage("c", ["b"])]);
    expect(story.refusal(story.offerOf("b"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    story.complete("a");
    expect(story.refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
  });

  test("nothing is offered before its back-off ends", () => {
    const story = new Story([stage("a", [], retried())]).run("a");
    story.end("a", failed());
    expect(story.wait(9.999).refusal(story.offerOf("a"))).toMatchObject({ code: "STAGE_NOT_PLACEABLE" });
    expect(story.wait(0.001).offer("a")).toEqual(["AttemptOffered a #2"]);
  });

  test("members that are no gang are a bug of the scheduler", () => {
    const story = new Story([stage("a")]);
    const offer = story.offerOf("a", "x", "y");
    for (const members of [[], [offer.members[0]!, { ...offer.members[1]!, agentId: agentId("x") }], [offer.members[1]!, offer.members[0]!]]) {
      expect(() => story.when({ ...offer, members })).toThrow("no gang");
    }
  });
});

describe("reports", () => {
  test("a repeated start changes nothing", () => {
    const story = new Story([stage("a")]).run("a");
    expect(story.start("a")).toEqual([]);
  });

  test("an end that overtakes its start completes the stage all the same; the late start is refused", () => {
    const story = new Story([stage("a")]);
    story.offer("a");
    const member = story.member("a");
    expect(story.end("a", completed({ n: 1 }))).toEqual(["AttemptStarted a #1", "PipelineStarted", "StageCompleted a #1", "PipelineCompleted"]);
    expect(story.refusal({ type: "StartMember", ...member, command: null })).toMatchObject({ code: "STALE_LEASE", held: null, presented: 1 });
  });

  test("a repeated end is refused: the attempt is over", () => {
    const story = new Story([stage("a"), stage("b")]).run("a");
    const member = story.member("a");
    story.end("a", completed());
    expect(story.refusal({ type: "EndMember", ...member, outcome: completed() })).toMatchObject({ code: "STALE_LEASE", retryable: false, message: expect.stringContaining("fence 1 is over") });
  });

  test("what an older fence reports is refused and names the fence that replaced it", () => {
    const story = new Story([stage("a", [], retried())]).run("a");
    const zombie = story.member("a");
    story.lose("a");
    story.wait(10).run("a");
    for (const command of [{ type: "StartMember", ...zombie, command: null }, { type: "EndMember", ...zombie, outcome: completed() }] as const) {
      expect(story.refusal(command)).toMatchObject({ code: "STALE_LEASE", held: 2, presented: 1, attemptId: zombie.attemptId, message: expect.stringContaining("was replaced by fence 2") });
    }
    expect(story.when({ type: "LoseMember", ...zombie, reason: "late" })).toEqual([]);
  });

  test("the right attempt with the wrong fence, or from an agent that has no part in it, is refused", () => {
    const story = new Story([stage("a")]).run("a");
    expect(story.refusal({ type: "EndMember", ...story.member("a"), fence: 2, outcome: completed() })).toMatchObject({ code: "STALE_LEASE" });
    expect(story.refusal({ type: "EndMember", ...story.member("a", "stranger"), outcome: completed() })).toMatchObject({ code: "STALE_LEASE", held: null });
    expect(story.when({ type: "LoseMember", ...story.member("a", "stranger"), reason: "x" })).toEqual([]);
  });

  test("a report of a stage the pipeline does not have is not found", () => {
    const story = new Story([stage("a")]).run("a");
    expect(story.refusal({ type: "EndMember", ...story.member("a"), stage: "z", outcome: completed() })).toMatchObject({ code: "NOT_FOUND" });
  });

  test("a loss after the end changes nothing", () => {
    const story = new Story([stage("a"), stage("b")]).run("a");
    const member = story.member("a");
    story.end("a", completed());
    expect(story.when({ type: "LoseMember", ...member, reason: "silence" })).toEqual([]);
  });
});

describe("retry", () => {
  test("waits longer each time, up to the bound, then the stage fails for good", () => {
    const story = new Story([stage("a", [], retried({ maxAttempts: 4 })), stage("b", ["a"])]);
    expect(story.run("a").end("a", failed())).toEqual(["AttemptFailed a #1 EXIT_NONZERO", "StageQueued a RETRY in 10 s"]);
    expect(story.wait(10).run("a").end("a", failed())).toEqual(["AttemptFailed a #2 EXIT_NONZERO", "StageQueued a RETRY in 15 s"]);
    expect(story.wait(15).run("a").end("a", failed())).toEqual(["AttemptFailed a #3 EXIT_NONZERO", "StageQueued a RETRY in 15 s"]);
    expect(story.wait(15).run("a").end("a", failed())).toEqual(["AttemptFailed a #4 EXIT_NONZERO", "StageFailed a EXIT_NONZERO", "StageSkipped b", "PipelineFailed"]);
  });

  test("is off unless asked for", () => {
    expect(new Story([stage("a")]).run("a").end("a", failed())).toEqual(["AttemptFailed a #1 EXIT_NONZERO", "StageFailed a EXIT_NONZERO", "PipelineFailed"]);
  });

  test.each(FAILURE_CODES.filter((code) => !PERMANENT_CAUSES.includes(code)))("%s is retried without being named", (code) => {
    expect(new Story([stage("a", [], retried())]).run("a").end("a", failed(code))).toEqual([`AttemptFailed a #1 ${code}`, "StageQueued a RETRY in 10 s"]);
  });

  test.each(PERMANENT_CAUSES)("%s would come again: it is retried only when retry.on names it", (code) => {
    expect(new Story([stage("a", [], retried())]).run("a").end("a", failed(code))).toEqual([`AttemptFailed a #1 ${code}`, `StageFailed a ${code}`, "PipelineFailed"]);
    expect(new Story([stage("a", [], retried({ on: [code] }))]).run("a").end("a", failed(code))).toEqual([`AttemptFailed a #1 ${code}`, "StageQueued a RETRY in 10 s"]);
  });

  test("retry.on leaves out every cause it does not name", () => {
    expect(new Story([stage("a", [], retried({ on: ["NETWORK"] }))]).run("a").end("a", failed())).toEqual(["AttemptFailed a #1 EXIT_NONZERO", "StageFailed a EXIT_NONZERO", "PipelineFailed"]);
  });

  test("a lost agent is a try of its own kind", () => {
    const story = new Story([stage("a", [], retried({ maxAttempts: 2 }))]).run("a");
    expect(story.lose("a")).toEqual(["AttemptLost a #1", "StageQueued a RETRY in 10 s"]);
    expect(story.wait(10).run("a").lose("a")).toEqual(["AttemptLost a #2", "StageFailed a AGENT_LOST", "PipelineFailed"]);
    expect(story.last("StageFailed").failure.message).toBe("no renewal for 600 s");
  });

  test("a retry of the stage grants all tries anew", () => {
    const story = new Story([stage("a", [], retried({ maxAttempts: 2 }))]);
    story.run("a").end("a", failed());
    story.wait(10).run("a").end("a", failed());
    story.retryStage("a");
    expect(story.run("a").end("a", failed())).toEqual(["AttemptFailed a #3 EXIT_NONZERO", "StageQueued a RETRY in 10 s"]);
  });

  test("a program that was stopped with its agent waits for an agent again, and the try does not count", () => {
    const story = new Story([stage("a")]).run("a");
    expect(story.end("a", STOPPED)).toEqual(["AttemptCancelled a #1", "StageQueued a RESUMED"]);
  });
});

describe("refused offers", () => {
  test("go back in line without counting as a try", () => {
    const story = new Story([stage("a")]);
    story.offer("a");
    expect(story.end("a", REFUSED)).toEqual(["AttemptFailed a #1 AGENT_REFUSED (not counted)", "StageQueued a REFUSED in 10 s"]);
    expect(story.stage("a")).toMatchObject({ tries: 0, attempts: 1 });
    expect(story.wait(10).complete("a")).toEqual(["StageCompleted a #2", "PipelineCompleted"]);
  });

  test("do not put the start deadline off", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 60 })]);
    for (let waited = 0; waited < 60; waited += 10) {
      story.offer("a");
      story.end("a", REFUSED);
      expect(story.fireTimer("a")).toEqual([]);
      story.wait(10);
    }
    expect(story.fireTimer("a")).toEqual(["StageFailed a START_TIMEOUT", "PipelineFailed"]);
  });
});

describe("deadlines", () => {
  test("a program over its time is stopped and fails as TIMEOUT, with what it said last", () => {
    const story = new Story([stage("a", [], { timeoutSeconds: 60, ...retried() })]).run("a");
    expect(story.wait(59.999).fireTimer("a")).toEqual([]);
    expect(story.wait(0.001).fireTimer("a")).toEqual(["AttemptStopRequested a #1 TIMEOUT"]);
    expect(story.fireTimer("a")).toEqual([]);
    expect(story.end("a", failed("KILLED_BY_SIGNAL", { exitCode: 137, logTail: ["step 7"] }))).toEqual(["AttemptFailed a #1 TIMEOUT", "StageQueued a RETRY in 10 s"]);
    expect(story.last("AttemptFailed").failure).toMatchObject({ code: "TIMEOUT", exitCode: 137, logTail: ["step 7"] });
  });

  test.each([["is stopped", STOPPED], ["is lost with its agent", { kind: "LOST", reason: "gone" } as const]])("a program over its time that %s has timed out", (_, outcome) => {
    const story = new Story([stage("a", [], { timeoutSeconds: 60 })]).run("a");
    story.wait(60).fireTimer("a");
    expect(story.end("a", outcome)).toEqual(["AttemptFailed a #1 TIMEOUT", "StageFailed a TIMEOUT", "PipelineFailed"]);
  });

  test("a program that finishes before the stop for its deadline has finished", () => {
    const story = new Story([stage("a", [], { timeoutSeconds: 60 })]).run("a");
    story.wait(60).fireTimer("a");
    expect(story.end("a", completed())).toEqual(["StageCompleted a #1", "PipelineCompleted"]);
  });

  test("each try has its own time", () => {
    const story = new Story([stage("a", [], { timeoutSeconds: 60, ...retried() })]).run("a");
    story.wait(50).end("a", failed());
    story.wait(10).run("a");
    expect(story.wait(50).fireTimer("a")).toEqual([]);
  });

  test("a stage that no agent takes in time fails as START_TIMEOUT", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 60 }), stage("b", ["a"])]);
    expect(story.wait(59).fireTimer("a")).toEqual([]);
    expect(story.wait(1).fireTimer("a")).toEqual(["StageFailed a START_TIMEOUT", "StageSkipped b", "PipelineFailed"]);
  });

  test("an offer that its agent does not start in time is called back and fails as START_TIMEOUT", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 60 })]);
    story.wait(59).offer("a");
    expect(story.fireTimer("a")).toEqual([]);
    expect(story.wait(1).fireTimer("a")).toEqual(["AttemptStopRequested a #1 TIMEOUT"]);
    expect(story.fireTimer("a")).toEqual([]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptFailed a #1 START_TIMEOUT", "StageFailed a START_TIMEOUT", "PipelineFailed"]);
  });

  test("a start in time meets the start deadline, however late it ends", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 60 })]);
    story.wait(59).run("a");
    expect(story.wait(10_000).fireTimer("a")).toEqual([]);
  });

  test("a back-off longer than the start deadline is waited out: the deadline counts from its end", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 5, ...retried() })]).run("a");
    story.end("a", failed());
    expect(nextTimerAt(story.stage("a"), story.state.spec.stages[0]!)).toBe(story.at + 15_000);
    expect(story.wait(10).fireTimer("a")).toEqual([]);
    expect(story.wait(4.999).fireTimer("a")).toEqual([]);
    expect(story.wait(0.001).fireTimer("a")).toEqual(["StageFailed a START_TIMEOUT", "PipelineFailed"]);
  });

  test("a pause does not count against the start deadline", () => {
    const story = new Story([stage("a", [], { startTimeoutSeconds: 60 })]);
    story.wait(59);
    story.pause();
    expect(story.wait(3600).fireTimer("a")).toEqual([]);
    story.resume();
    expect(story.wait(59).fireTimer("a")).toEqual([]);
    expect(story.wait(1).fireTimer("a")).toEqual(["StageFailed a START_TIMEOUT", "PipelineFailed"]);
  });

  test("a timer of a stage that has none changes nothing", () => {
    const story = new Story([stage("a"), stage("b", ["a"])]).run("a");
    expect(story.wait(1e6).fireTimer("a")).toEqual([]);
    expect(story.fireTimer("b")).toEqual([]);
  });

  test("a silent program is stopped and fails as NO_PROGRESS", () => {
    const story = new Story([stage("a", [], { noProgressTimeoutSeconds: 60 })]).run("a");
    const seen = story.wait(5).at;
    expect(story.wait(59).silent("a", seen)).toEqual([]);
    expect(story.wait(1).silent("a", seen)).toEqual(["AttemptStopRequested a #1 NO_PROGRESS"]);
    expect(story.silent("a", seen)).toEqual([]);
    expect(story.end("a", STOPPED)).toEqual(["AttemptFailed a #1 NO_PROGRESS", "StageFailed a NO_PROGRESS", "PipelineFailed"]);
  });

  test("silence counts from the start of the attempt, not from what an earlier one said", () => {
    const story = new Story([stage("a", [], { noProgressTimeoutSeconds: 60, ...retried() })]).run("a");
    const seen = story.at;
    story.end("a", failed());
    story.wait(100).run("a");
    expect(story.wait(59).silent("a", seen)).toEqual([]);
    expect(story.wait(1).silent("a", seen)).toEqual(["AttemptStopRequested a #2 NO_PROGRESS"]);
  });

  test("silence does not matter without a limit, before the start, or for another attempt", () => {
    const story = new Story([stage("free"), stage("bound", [], { noProgressTimeoutSeconds: 1 })]).run("free");
    story.offer("bound");
    expect(story.wait(1e6).silent("free", 0)).toEqual([]);
    expect(story.silent("bound", 0)).toEqual([]);
    story.start("bound");
    expect(story.wait(10).when({ type: "StopSilentAttempt", stage: "bound", attemptId: story.live("free").id, silentSince: 0 })).toEqual([]);
  });
});

describe("several agents at once", () => {
  const started = (story: Story) => {
    story.offer("a", "x", "y", "z");
    for (const agent of ["x", "y", "z"]) story.start("a", agent);
    return story;
  };

  test("the stage completes with the last of them, with the outputs of rank 0", () => {
    const story = new Story(gang());
    story.offer("a", "x", "y", "z");
    expect(story.start("a", "y")).toEqual(["AttemptStarted a #1", "PipelineStarted"]);
    expect(story.start("a", "x")).toEqual(["AttemptStarted a #1"]);
    story.start("a", "z");
    expect(story.end("a", completed({ from: "x" }), "x")).toEqual(["MemberEnded a #1 x COMPLETED"]);
    expect(story.end("a", completed({ from: "y" }), "y")).toEqual(["MemberEnded a #1 y COMPLETED"]);
    expect(story.end("a", completed({ from: "z" }), "z")).toEqual(["MemberEnded a #1 z COMPLETED", "StageCompleted a #1", "StageQueued b READY"]);
    expect(story.stage("a")).toMatchObject({ outputs: { from: "x" } });
  });

  test("one that ends badly stops the others; all are tried again together", () => {
    const story = started(new Story(gang(retried())));
    expect(story.end("a", failed("GPU_OUT_OF_MEMORY"), "y")).toEqual(["MemberEnded a #1 y FAILED", "AttemptStopRequested a #1 PEER_ENDED"]);
    expect(story.last("AttemptStopRequested").reason).toBe("rank 1 on agent y ended: FAILED");
    expect(story.end("a", STOPPED, "x")).toEqual(["MemberEnded a #1 x STOPPED"]);
    expect(story.end("a", STOPPED, "z")).toEqual(["MemberEnded a #1 z STOPPED", "AttemptFailed a #1 GPU_OUT_OF_MEMORY", "StageQueued a RETRY in 10 s"]);
    expect(started(story.wait(10)).live("a")).toMatchObject({ number: 2, members: [{ status: "RUNNING" }, { status: "RUNNING" }, { status: "RUNNING" }] });
  });

  test.each<[string, string, string, string]>([
    ["a lost peer, then an own cause", "NETWORK", "GPU_OUT_OF_MEMORY", "GPU_OUT_OF_MEMORY"],
    ["an own cause, then a lost peer", "DISK_FULL", "NETWORK", "DISK_FULL"],
    ["two causes of their own", "DISK_FULL", "GPU_OUT_OF_MEMORY", "DISK_FULL"],
    ["a mere signal, then an own cause", "KILLED_BY_SIGNAL", "MODULE_NOT_FOUND", "MODULE_NOT_FOUND"],
  ])("of several that failed the first is why unless another tells more: %s", (_, first, second, why) => {
    const story = started(new Story(gang(retried())));
    story.end("a", failed(first as FailureCode), "y");
    story.end("a", failed(second as FailureCode), "x");
    expect(story.end("a", STOPPED, "z")).toEqual(["MemberEnded a #1 z STOPPED", `AttemptFailed a #1 ${why}`, expect.stringMatching(/^Stage(?:Queued|Failed) a/), ...(why === "MODULE_NOT_FOUND" ? ["StageSkipped b", "PipelineFailed"] : [])]);
  });

  test("a lost one makes the attempt lost", () => {
    const story = started(new Story(gang(retried())));
    expect(story.lose("a", "z")).toEqual(["MemberEnded a #1 z LOST", "AttemptStopRequested a #1 PEER_ENDED"]);
    expect(story.lose("a", "z")).toEqual([]);
    story.end("a", STOPPED, "x");
    expect(story.end("a", STOPPED, "y")).toEqual(["MemberEnded a #1 y STOPPED", "AttemptLost a #1", "StageQueued a RETRY in 10 s"]);
  });

  test("one that refuses sends all of them back in line", () => {
    const story = new Story(gang());
    story.offer("a", "x", "y", "z");
    story.start("a", "x");
    expect(story.end("a", REFUSED, "y")).toEqual(["MemberEnded a #1 y REFUSED", "AttemptStopRequested a #1 PEER_ENDED"]);
    story.end("a", STOPPED, "x");
    expect(story.end("a", STOPPED, "z")).toEqual(["MemberEnded a #1 z STOPPED", "AttemptFailed a #1 AGENT_REFUSED (not counted)", "StageQueued a REFUSED in 10 s"]);
  });

  test.each<[string, MemberOutcome, string]>([
    ["failure", failed("GPU_OUT_OF_MEMORY"), "AttemptFailed a #1 GPU_OUT_OF_MEMORY"],
    ["loss", { kind: "LOST", reason: "power cut" }, "AttemptLost a #1"],
    ["refusal", REFUSED, "AttemptFailed a #1 AGENT_REFUSED (not counted)"],
  ])("the first that ends is the cause, a %s here, whatever the others say after it", (_, outcome, line) => {
    const story = started(new Story(gang()));
    story.end("a", outcome, "z");
    story.end("a", failed("NETWORK"), "x");
    expect(story.end("a", failed("NETWORK"), "y")).toContain(line);
  });

  test("one that stops by itself is the cause only when no other failed", () => {
    const story = started(new Story(gang()));
    story.end("a", STOPPED, "z");
    story.end("a", failed("DISK_FULL"), "x");
    expect(story.end("a", STOPPED, "y")).toContain("AttemptFailed a #1 DISK_FULL");
  });

  test("one that completes while another fails does not complete the stage", () => {
    const story = started(new Story(gang()));
    story.end("a", completed(), "x");
    story.end("a", completed(), "y");
    expect(story.end("a", failed(), "z")).toEqual(["MemberEnded a #1 z FAILED", "AttemptFailed a #1 EXIT_NONZERO", "StageFailed a EXIT_NONZERO", "StageSkipped b", "PipelineFailed"]);
  });

  test("repeated reports of one that has ended change nothing while the others run", () => {
    const story = started(new Story(gang()));
    story.end("a", completed(), "x");
    expect(story.end("a", completed(), "x")).toEqual([]);
    expect(story.start("a", "x")).toEqual([]);
    expect(story.lose("a", "x")).toEqual([]);
  });

  test("ends that overtake their starts complete it", () => {
    const story = new Story(gang());
    story.offer("a", "x", "y", "z");
    story.end("a", completed(), "z");
    story.end("a", completed(), "y");
    expect(story.end("a", completed({ n: 1 }), "x")).toEqual(["AttemptStarted a #1", "MemberEnded a #1 x COMPLETED", "StageCompleted a #1", "StageQueued b READY"]);
  });

  test("a cancel outweighs a stop that is under way", () => {
    const story = started(new Story(gang(retried())));
    story.end("a", failed(), "x");
    expect(story.cancel()).toEqual(["PipelineCancelRequested", "AttemptStopRequested a #1 CANCEL", "StageCancelled b"]);
    story.end("a", STOPPED, "y");
    expect(story.end("a", STOPPED, "z")).toEqual(["MemberEnded a #1 z STOPPED", "AttemptCancelled a #1", "StageCancelled a", "PipelineCancelled"]);
  });

  test("a pause holds all of them and starts them together", () => {
    const story = started(new Story(gang()));
    story.pause();
    story.end("a", STOPPED, "y");
    story.end("a", STOPPED, "x");
    expect(story.end("a", STOPPED, "z")).toEqual(["MemberEnded a #1 z STOPPED", "AttemptCancelled a #1", "StagePaused a"]);
    expect(story.resume()).toEqual(["PipelineResumed", "StageQueued a RESUMED"]);
  });
});
