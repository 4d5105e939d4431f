// Preprocess stages and the death of their agent: kill -9 of real processes. The work begins again, and ends once.
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Assignment } from "../../../src/protocol/messages.js";
import { agentDirectory, startAgentProcess } from "../../support/agents.js";
import { startPeer, stop, type Peer } from "../../support/control-plane-peer.js";
import { dataFolder, exercises, outputsOf, preparing, rowsOf, SFT } from "./data-world.js";

async function scene(rows: number): Promise<{ peer: Peer; directory: string; settings: Record<string, string>; assignment: Assignment; output: string }> {
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  const [directory, data] = [agentDirectory(), dataFolder()];
  writeFileSync(join(data, "rows.jsonl"), exercises(rows));
  const assignment = preparing({ input: "rows.jsonl", ...SFT });
  return { peer, directory, settings: { TRAINYARD_DATA_DIRS: data }, assignment, output: join(directory, "attempts", assignment.pipelineId, "prepare", "1", "output") };
}

const midway = (peer: Peer) => peer.until(() => peer.reports.some((report) => report.type === "progress" && report.step > 0), "some progress", 20_000);

test("an agent that is killed in the middle does the work again after its restart, and nothing of the first run is left", { timeout: 60_000 }, async () => {
  const { peer, directory, settings, assignment, output } = await scene(150_000);
  const first = startAgentProcess(peer.url, directory, settings);
  peer.order({ type: "assign", assignment });
  await midway(peer);
  await first.kill();
  expect(readdirSync(output)).not.toEqual([]);
  startAgentProcess(peer.url, directory, settings);
  const outputs = outputsOf((await peer.report("ended", assignment.attemptId, 40_000)).outcome);
  expect(outputs).toMatchObject({ rows: 150_000, rejected: 0, dropped: 0 });
  expect(await rowsOf(outputs.validationFile)).toHaveLength(outputs["validationRows"] as number);
  expect(readdirSync(output).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet", "validation.parquet"]);
  expect(peer.reports.filter(({ type }) => type === "started")).toHaveLength(1);
  expect(peer.logOf(assignment.attemptId)).toContain("the agent was restarted; the stage begins again.");
});

test.each(["after-datasets-before-end:1", "after-exit-before-report:1"])("killed at %s, the stage ends once, with the same data sets", { timeout: 60_000 }, async (failpoint) => {
  const { peer, directory, settings, assignment, output } = await scene(200);
  const first = startAgentProcess(peer.url, directory, { ...settings, TRAINYARD_FAILPOINT: failpoint });
  peer.order({ type: "assign", assignment });
  expect(await first.ended).toBe("SIGKILL");
  startAgentProcess(peer.url, directory, settings);
  const outputs = outputsOf((await peer.report("ended", assignment.attemptId, 20_000)).outcome);
  expect(readdirSync(output).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet", "validation.parquet"]);
  const told = new Set(peer.reports.flatMap((report) => (report.type === "dataset" ? [report.datasetId] : [])));
  expect([...told].sort()).toEqual([outputs["trainDataset"], outputs["validationDataset"]].sort());
  expect(peer.reports.filter(({ type }) => type === "ended")).toHaveLength(1);
});

test("an agent that detaches leaves the work to the next one", { timeout: 60_000 }, async () => {
  const { peer, directory, settings, assignment, output } = await scene(150_000);
  const first = startAgentProcess(peer.url, directory, settings);
  peer.order({ type: "assign", assignment });
  await midway(peer);
  first.child.kill("SIGTERM");
  expect(await first.ended).toBe(0);
  expect(readdirSync(output)).toEqual([]);
  expect(peer.reports.some(({ type }) => type === "ended")).toBe(false);
  startAgentProcess(peer.url, directory, settings);
  expect(outputsOf((await peer.report("ended", assignment.attemptId, 40_000)).outcome)).toMatchObject({ rows: 150_000 });
});

test("a stop that was given while the agent was dead is carried out without doing the work", { timeout: 60_000 }, async () => {
  const { peer, directory, settings, assignment, output } = await scene(150_000);
  const first = startAgentProcess(peer.url, directory, settings);
  peer.order({ type: "assign", assignment });
  await midway(peer);
  await first.kill();
  peer.order(stop(assignment));
  startAgentProcess(peer.url, directory, settings);
  expect((await peer.report("ended", assignment.attemptId, 20_000)).outcome).toEqual({ kind: "STOPPED" });
  expect(readdirSync(output)).toEqual([]);
});
