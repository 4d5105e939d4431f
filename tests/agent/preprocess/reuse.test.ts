// A stage whose input and params equal those of an earlier one on this agent takes its files, and only then.
import { appendFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { datasetIdOf } from "../../../src/domain/data/dataset.js";
import { removeOldAttempts } from "../../../src/agent/host/housekeeping.js";
import { testPlace } from "../../support/agents.js";
import { exercises, outputsOf, preparing, rowsOf, SFT, startDataWorld } from "./data-world.js";

const inode = (path: string) => statSync(path).ino;

test("equal input and params: the files of the earlier stage are used again, under this stage's names, and that is said", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50) + exercises(3));
  const one = preparing({ input: "rows.jsonl", ...SFT }, { pipelineName: "first" });
  const first = outputsOf(await world.run(one));
  const two = preparing({ input: [join(world.data, "rows.jsonl")], ...SFT }, { pipelineName: "second", stage: "other" });
  expect(outputsOf(await world.run(two))["cachedFrom"]).toBeUndefined(); // written differently: the manifest tells the params
  const three = preparing({ input: "rows.jsonl", ...SFT }, { pipelineName: "third" });
  const third = outputsOf(await world.run(three));
  expect(third).toMatchObject({ cachedFrom: one.attemptId, rows: 50, rowsRead: 53, dropped: 3, reasons: { DUPLICATE: 3 }, trainRows: first["trainRows"] });
  expect(third.trainFile).toBe(join(world.directory, "attempts", three.pipelineId, "prepare", "1", "output", "train.parquet"));
  for (const name of ["trainFile", "validationFile", "manifestFile", "rejectsFile"] as const) expect([name, inode(third[name])]).toEqual([name, inode(first[name])]);
  expect(world.peer.logOf(three.attemptId)).toContain(one.attemptId);
  const made = world.peer.reports.flatMap((report) => (report.type === "dataset" && report.attemptId === three.attemptId ? [report] : []));
  expect(made.map(({ name }) => name)).toEqual(["third/prepare-train", "third/prepare-validation"]);
  for (const { datasetId, name, facts } of made) expect(datasetId).toBe(datasetIdOf(name, facts.contentHash));
  expect(world.peer.reports.find((report) => report.type === "dataset-read" && report.attemptId === three.attemptId)).toMatchObject({ files: [{ path: join(world.data, "rows.jsonl") }] });
});

test("cache: false makes the files anew, and equal", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50));
  const first = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  const second = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT, cache: false })));
  expect(second["cachedFrom"]).toBeUndefined();
  expect(inode(second.trainFile)).not.toBe(inode(first.trainFile));
  for (const name of ["trainFile", "validationFile", "manifestFile", "rejectsFile"] as const) expect([name, readFileSync(second[name]).equals(readFileSync(first[name]))]).toEqual([name, true]);
});

test.each<[string, Record<string, unknown>]>([["another seed of the split", { split: { validation: 0.1, seed: 8 } }], ["another filter", { filter: { maxChars: 90 } }], ["another name", { dataset: "named" }]])("nothing is used again after %s", async (_, changed) => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50));
  await world.run(preparing({ input: "rows.jsonl", ...SFT }));
  expect(outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT, ...changed })))["cachedFrom"]).toBeUndefined();
});

test("input that changed, at equal size too, is read anew", async () => {
  const world = await startDataWorld();
  const input = world.file("rows.jsonl", exercises(50));
  await world.run(preparing({ input: "rows.jsonl", ...SFT }));
  writeFileSync(input, readFileSync(input, "utf8").replace("apples", "grapes"));
  const again = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  expect(again["cachedFrom"]).toBeUndefined();
  expect(JSON.stringify(await rowsOf(again.trainFile)) + JSON.stringify(await rowsOf(again.validationFile))).toContain("grapes");
});

test("files of the earlier stage that were changed or removed are not used", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50));
  const first = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  const bytes = readFileSync(first.validationFile);
  bytes[100]! ^= 1;
  writeFileSync(first.validationFile, bytes);
  const second = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  expect(second["cachedFrom"]).toBeUndefined();
  appendFileSync(second.manifestFile, " ");
  const third = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  expect(third["cachedFrom"]).toBeUndefined();
  rmSync(dirname(third.trainFile), { recursive: true });
  expect(outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })))["cachedFrom"]).toBeUndefined();
});

test("a result may be removed without taking away that of a later stage that used it", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50));
  const first = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  const second = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  rmSync(dirname(first.trainFile), { recursive: true });
  expect(await rowsOf(second.trainFile)).toHaveLength(second["trainRows"] as number);
});

test("housekeeping leaves directories whose data files are registered, and takes them when the files are gone", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(50));
  const outputs = outputsOf(await world.run(preparing({ input: "rows.jsonl", ...SFT })));
  const attemptsRoot = join(world.directory, "attempts");
  mkdirSync(join(attemptsRoot, "pip_other", "prepare", "1"), { recursive: true });
  const tidy = () => removeOldAttempts({ place: testPlace, attemptsRoot, keepDays: 14, now: Date.now() + 1e11, isHeld: () => false });
  expect(await tidy()).toEqual([join(attemptsRoot, "pip_other", "prepare", "1")]);
  rmSync(outputs.trainFile);
  expect(await tidy()).toEqual([]);
  rmSync(outputs.validationFile);
  expect(await tidy()).toEqual([dirname(dirname(outputs.trainFile))]);
});
