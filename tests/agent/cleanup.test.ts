// Deleting checkpoints: the right ones, each told, and nothing outside the attempt directories.
import { existsSync, mkdirSync, mkdtempSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { removeOldAttempts } from "../../src/agent/host/housekeeping.js";
import { newId, type CheckpointId } from "../../src/domain/ids.js";
import { startAgentWorld, testPlace } from "../support/agents.js";
import { assign, commandAssignment } from "../support/control-plane-peer.js";

function checkpoint(root: string, ...parts: string[]): string {
  const path = join(root, "attempts", ...parts);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, "weights"), "12345678");
  return path;
}

test("a cleanup stage deletes what it is given, tells each, and ends with the sum", async () => {
  const { peer, directory } = await startAgentWorld();
  const pipeline = newId("pip");
  const outside = mkdtempSync(join(inject("runFolder"), "outside-"));
  writeFileSync(join(outside, "canary"), "alive");
  const first = checkpoint(directory, pipeline, "train", "1", "output", "step-1");
  const second = checkpoint(directory, pipeline, "train", "1", "output", "step-2");
  const link = join(directory, "attempts", pipeline, "train", "1", "output", "link");
  symlinkSync(outside, link);
  const deletions = [first, second, link, outside, join(first, "..", "..", "..", "..", "..", "..", "..", "etc"), join(directory, "attempts", pipeline), join(directory, "attempts", pipeline, "train", "1", "output", "gone")]
    .map((path) => ({ checkpointId: newId("ckp"), path }));
  const cleanup = commandAssignment([], { kind: "cleanup", stage: "tidy", pipelineId: pipeline, deletions, params: { stages: ["train"] } });
  peer.order(assign(cleanup));
  const { outcome } = await peer.report("ended", cleanup.attemptId);
  expect(outcome).toEqual({ kind: "COMPLETED", outputs: { deleted: 3, freedBytes: 16, failed: 4 } });
  const answers = new Map(peer.reports.flatMap((report) => (report.type === "checkpoint-deleted" ? [[report.checkpointId, report]] : [])));
  const answerTo = (i: number) => answers.get(deletions[i]?.checkpointId as CheckpointId);
  expect([0, 1, 6].map((i) => answerTo(i)?.error)).toEqual([null, null, null]);
  for (const i of [2, 3, 4, 5]) expect(answerTo(i)?.error).toMatch(/outside this agent's attempt directories/);
  expect([first, second].some(existsSync)).toBe(false);
  expect(existsSync(join(outside, "canary"))).toBe(true);
  expect(existsSync(join(directory, "attempts", pipeline, "train"))).toBe(true);
});

test("a delete order is carried out and answered, also when it comes again", async () => {
  const { peer, directory } = await startAgentWorld();
  const path = checkpoint(directory, newId("pip"), "train", "1", "output", "step-9");
  const order = { type: "delete-checkpoint" as const, checkpointId: newId("ckp"), attemptId: newId("att"), fence: 1, path };
  peer.order(order);
  await peer.until(() => peer.reports.some((report) => report.type === "checkpoint-deleted"), "the answer");
  expect(peer.reports[0]).toMatchObject({ type: "checkpoint-deleted", checkpointId: order.checkpointId, attemptId: order.attemptId, freedBytes: 8, error: null });
  expect(existsSync(path)).toBe(false);
  peer.order(order);
  await peer.until(() => peer.reports.length === 2, "the second answer");
  expect(peer.reports[1]).toMatchObject({ freedBytes: 0, error: null });
});

test("a checkpoint path that leads out of the attempt is not reported, and the log says so", async () => {
  const { peer } = await startAgentWorld();
  const script = `const fs = require("fs"), e = process.env; fs.symlinkSync("/etc", e.TRAINYARD_OUTPUT_DIR + "/out");
    for (const c of ["../../../../../../etc", "/etc", "out", "none"]) fs.appendFileSync(e.TRAINYARD_METRICS_FILE, JSON.stringify({ step: 1, checkpoint: c }) + "\\n");`;
  const assignment = commandAssignment([process.execPath, "-e", script]);
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId);
  expect(peer.reports.filter((report) => report.type === "checkpoint")).toEqual([]);
  expect(peer.logOf(assignment.attemptId)).toMatch(/^\[trainyard\] line 1 of the metrics file was left out: the checkpoint .* does not exist inside/);
  expect(peer.logOf(assignment.attemptId).trim().split("\n")).toHaveLength(1);
});

test("old attempts are removed, those with a checkpoint or still held are kept", async () => {
  const root = mkdtempSync(join(inject("runFolder"), "attempts-"));
  const attempt = (name: string, ageDays: number): string => {
    const directory = join(root, "pip_x", name, "1");
    mkdirSync(join(directory, "output"), { recursive: true });
    writeFileSync(join(directory, "exit.json"), "");
    utimesSync(join(directory, "exit.json"), new Date(Date.now() - ageDays * 86_400_000), new Date(Date.now() - ageDays * 86_400_000));
    return directory;
  };
  const [old, young, held, kept, emptied] = [attempt("old", 20), attempt("young", 1), attempt("held", 20), attempt("kept", 20), attempt("emptied", 20)];
  writeFileSync(join(kept, "checkpoints"), `${JSON.stringify(join(kept, "output"))}\n`);
  writeFileSync(join(emptied, "checkpoints"), `${JSON.stringify(join(emptied, "output", "deleted"))}\n`);
  const removed = await removeOldAttempts({ place: testPlace, attemptsRoot: root, keepDays: 14, now: Date.now(), isHeld: (path) => path === held });
  expect(removed.sort()).toEqual([emptied, old].sort());
  expect([young, held, kept].every(existsSync)).toBe(true);
  expect(await removeOldAttempts({ place: testPlace, attemptsRoot: root, keepDays: 0, now: Date.now() + 1e12, isHeld: () => false })).toEqual([]);
});
