// Event logs of past versions, replayed for ever: one folder per version, one file per path through a pipeline's life. A file that is there is never written
// again. To add those of a new version: raise VERSION, and run this test with WRITE_HISTORIES=1.

import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { PipelineId } from "../../../src/domain/ids.js";
import type { PipelineEvent } from "../../../src/domain/pipeline/events.js";
import { REFUSED, STOPPED, Story, completed, failed, replay, snapshot, stage } from "./story.js";

const VERSION = "0.1";
const FOLDER = new URL("../../fixtures/histories/", import.meta.url);

const STORIES: Record<string, () => Story> = {
  success: () => {
    const story = new Story([stage("a"), stage("b", ["a"], { params: { run: ["x", "${stages.a.outputs.n}"] } }), stage("c", ["a"]), stage("d", ["b", "c"])]);
    story.complete("a", { n: 20, nested: { list: [1, null, "two"] } });
    for (const name of ["b", "c", "d"]) story.wait(1).complete(name);
    return story;
  },
  retry: () => {
    const story = new Story([stage("a", [], { retry: { maxAttempts: 3, backoffSeconds: 1 }, timeoutSeconds: 60 }), stage("b", ["a"])]);
    story.offer("a");
    story.end("a", REFUSED);
    story.wait(10).run("a").wait(5).lose("a");
    story.wait(1).run("a").wait(60).fireTimer("a");
    story.end("a", failed("KILLED_BY_SIGNAL", { exitCode: 137, logTail: ["step 7"] }));
    story.wait(2).run("a").end("a", failed("OUT_OF_MEMORY"));
    story.wait(60).retry();
    story.complete("a");
    story.complete("b");
    return story;
  },
  cancel: () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["a"]), stage("d")]).run("a");
    story.offer("b", "two");
    story.wait(1).cancelStage("d");
    story.wait(1).cancel();
    story.wait(1).end("a", STOPPED);
    story.end("b", completed());
    return story;
  },
  pause: () => {
    const story = new Story([stage("a"), stage("b"), stage("c", ["b"])]).run("a").run("b");
    story.wait(1).pause();
    story.wait(1).end("a", STOPPED);
    story.end("b", completed());
    story.wait(60).resume();
    story.complete("a");
    story.run("c").pause();
    story.end("c", STOPPED);
    return story;
  },
  approval: () => {
    const story = new Story([stage("score"), { name: "go", kind: "approval", dependsOn: ["score"], params: { message: "Accuracy ${stages.score.outputs.accuracy}?" } }, stage("deploy", ["go"])]);
    story.complete("score", { accuracy: 0.9 });
    story.wait(3600).approve("go");
    story.run("deploy");
    return story;
  },
  skip: () => {
    const story = new Story([stage("a"), stage("no", ["a"], { when: { value: "${stages.a.outputs.ok}" } }), stage("after", ["no"]), stage("missing", ["a"], { params: { run: ["${stages.a.outputs.none}"] } })]);
    story.complete("a", { ok: false });
    return story;
  },
  gang: () => {
    const story = new Story([stage("a", [], { resources: { nodes: 2 }, retry: { maxAttempts: 2, backoffSeconds: 0 } })]);
    for (const ends of [["LOST", "STOPPED"], ["COMPLETED", "COMPLETED"]]) {
      story.offer("a", "x", "y");
      for (const agent of ["x", "y"]) story.start("a", agent);
      if (ends[0] === "LOST") story.wait(600).lose("a", "x");
      else story.end("a", completed({ from: "x" }), "x");
      story.end("a", ends[1] === "STOPPED" ? STOPPED : completed({ from: "y" }), "y");
    }
    return story;
  },
  fork: () => {
    const story = new Story([stage("a"), stage("b", ["a"])], { forkedFrom: "pip_parent" as PipelineId, reuse: { a: { n: 1 } } });
    story.run("b");
    return story;
  },
};

if (process.env["WRITE_HISTORIES"] === "1") {
  mkdirSync(new URL(`${VERSION}/`, FOLDER), { recursive: true });
  for (const [name, tell] of Object.entries(STORIES)) {
    const file = new URL(`${VERSION}/${name}.json`, FOLDER);
    if (existsSync(file)) continue;
    const { events, state } = tell();
    const lines = (values: readonly unknown[]) => values.map((value) => `    ${JSON.stringify(value)}`).join(",\n");
    writeFileSync(file, `{\n  "events": [\n${lines(events)}\n  ],\n  "state": ${JSON.stringify(snapshot(state))}\n}\n`);
  }
}

const FILES = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".json")).sort();
const read = (name: string) => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")) as { events: PipelineEvent[]; state: unknown };

test.each(FILES)("the history %s still leads to the state it led to", (name) => {
  const { events, state } = read(name);
  expect(JSON.parse(JSON.stringify(snapshot(replay(events))))).toEqual(state);
});

test("this version has a history of every path, and every event occurs in one", () => {
  expect(FILES.filter((name) => name.startsWith(`${VERSION}/`))).toEqual(Object.keys(STORIES).map((name) => `${VERSION}/${name}.json`).sort());
  expect([...new Set(FILES.flatMap((name) => read(name).events.map((event) => event.type)))].sort()).toEqual([
    "AttemptCancelled", "AttemptFailed", "AttemptLost", "AttemptOffered", "AttemptStarted", "AttemptStopRequested", "MemberEnded",
    "PipelineCancelRequested", "PipelineCancelled", "PipelineCompleted", "PipelineFailed", "PipelinePaused", "PipelineResumed", "PipelineRetried", "PipelineStarted", "PipelineSubmitted",
    "StageApproved", "StageCancelled", "StageCompleted", "StageFailed", "StagePaused", "StageQueued", "StageReset", "StageReused", "StageSkipped", "StageWaitingApproval",
  ]);
});
