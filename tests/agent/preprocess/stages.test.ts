// Preprocess stages on a real agent: what they make, tell and register, and how they end badly.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, inject, test } from "vitest";
import { datasetIdOf } from "../../../src/domain/data/dataset.js";
import { newId } from "../../../src/domain/ids.js";
import { stop } from "../../support/control-plane-peer.js";
import { exercises, manifestOf, outputsOf, preparing, RL, rowsOf, SFT, startDataWorld } from "./data-world.js";

const sha256 = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");

test("raw rows become the files for supervised fine-tuning, registered before the stage ends", async () => {
  const world = await startDataWorld();
  const input = world.file("gsm8k/train.jsonl", exercises(200) + exercises(5) + "{broken\n");
  const assignment = preparing({ input: "gsm8k/train.jsonl", ...SFT }, { pipelineName: "gsm8k", stage: "prepare-sft" });
  const outputs = outputsOf(await world.run(assignment));
  expect(outputs).toMatchObject({ rows: 200, rowsRead: 206, dropped: 6, rejected: 1, reasons: { DUPLICATE: 5, INVALID_JSON: 1 } });
  expect((outputs["trainRows"] as number) + (outputs["validationRows"] as number)).toBe(200);
  expect(dirname(outputs.trainFile)).toBe(join(world.directory, "attempts", assignment.pipelineId, "prepare-sft", "1", "output"));
  const train = await rowsOf(outputs.trainFile);
  expect(train).toHaveLength(outputs["trainRows"] as number);
  const validation = await rowsOf(outputs.validationFile);
  expect(validation).toHaveLength(outputs["validationRows"] as number);
  expect([...train, ...validation]).toContainEqual({ messages: [{ role: "user", content: "Kiosk 1 sells 1 apples and 3 pears. How many pieces of fruit is that?" }, { role: "assistant", content: "1 + 3 = 4.\n#### 4" }] });
  expect(JSON.parse(readFileSync(outputs.rejectsFile, "utf8"))).toMatchObject({ file: "gsm8k/train.jsonl", line: 206, reason: "INVALID_JSON" });
  expect(manifestOf(outputs).inputs).toMatchObject([{ name: "gsm8k/train.jsonl", sha256: sha256(input) }]);
  expect(readdirSync(dirname(outputs.trainFile)).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet", "validation.parquet"]);

  const types = world.peer.reports.filter(({ attemptId }) => attemptId === assignment.attemptId).map(({ type }) => type);
  expect(types[0]).toBe("started");
  expect(types.at(-1)).toBe("ended");
  expect(types.filter((type) => type.startsWith("dataset"))).toEqual(["dataset-read", "dataset", "dataset"]);
  const made = world.peer.reports.flatMap((report) => (report.type === "dataset" ? [report] : []));
  expect(made.map(({ name, path }) => [name, path])).toEqual([["gsm8k/prepare-sft-train", outputs.trainFile], ["gsm8k/prepare-sft-validation", outputs.validationFile]]);
  for (const { datasetId, name, path, facts } of made) {
    expect(facts).toMatchObject({ format: "parquet", contentHash: sha256(path), sizeBytes: statSync(path).size, tasks: ["sft"] });
    expect(datasetId).toBe(datasetIdOf(name, facts.contentHash));
  }
  expect([outputs["trainDataset"], outputs["validationDataset"]]).toEqual(made.map(({ datasetId }) => datasetId));
  expect(world.peer.reports.find((report) => report.type === "dataset-read")).toMatchObject({ files: [{ path: input, contentHash: sha256(input), sizeBytes: statSync(input).size }] });
  const progress = world.peer.reports.flatMap((report) => (report.type === "progress" ? [report] : [])).at(-1);
  expect(progress?.step).toBe(progress?.totalSteps);
  expect(world.peer.logOf(assignment.attemptId)).toMatch(/^input: 1 file, .+\n {2}gsm8k\/train\.jsonl {2}jsonl, /);
  expect(world.peer.logOf(assignment.attemptId)).toMatch(/rows: 206 read, 200 kept \(\d+ to train on, \d+ to validate\), 5 dropped, 1 rejected\n {2}DUPLICATE {2}5\n {2}INVALID_JSON {2}1\n/);
  expect(world.peer.logOf(assignment.attemptId)).toContain(outputs.rejectsFile);
});

test("raw rows become the files for reinforcement learning, with the number after the mark as ground truth", async () => {
  const world = await startDataWorld();
  world.file("gsm8k/train.jsonl", exercises(300));
  const outputs = outputsOf(await world.run(preparing({ input: "gsm8k/train.jsonl", ...RL }, { stage: "prepare-rl" })));
  const [train, validation] = [await rowsOf(outputs.trainFile), await rowsOf(outputs.validationFile)];
  expect(train.length + validation.length).toBe(300);
  for (const row of [...train, ...validation] as { reward_model: { ground_truth: string }; extra_info: { answer: string } }[]) {
    expect(row).toMatchObject({ data_source: "openai/gsm8k", ability: "math", reward_model: { style: "rule" } });
    expect(row.reward_model.ground_truth).toBe(row.extra_info.answer.split("#### ")[1]!.replaceAll(",", ""));
  }
});

test("a stage reads what an earlier one left on this agent, several files by a glob, and gzip", async () => {
  const world = await startDataWorld();
  world.file("many/a.jsonl", exercises(20));
  world.file("many/b.jsonl.gz", gzipSync(exercises(20, 20)));
  const first = outputsOf(await world.run(preparing({ input: "many/*", ...SFT }, { stage: "first" })));
  expect(first).toMatchObject({ rows: 40, rejected: 0 });
  const second = outputsOf(await world.run(preparing({ input: first.trainFile, task: "sft", filter: { noMatch: "^Kiosk 1 " } }, { stage: "second" })));
  expect(second["rows"]).toBe(first["trainRows"]);
  expect(manifestOf(second).inputs).toMatchObject([{ name: "first/train.parquet" }]);
});

test("a pipeline without validation has a train file only", async () => {
  const world = await startDataWorld();
  world.file("rows.csv", "prompt,response\nhello,there\n");
  const outputs = outputsOf(await world.run(preparing({ input: "rows.csv", task: "sft", dataset: "team/greetings" })));
  expect(Object.keys(outputs).sort()).toEqual(["dropped", "manifestFile", "reasons", "rejected", "rejectsFile", "rows", "rowsRead", "trainDataset", "trainFile", "trainRows", "validationRows"]);
  expect(world.peer.reports.find((report) => report.type === "dataset")).toMatchObject({ name: "team/greetings-train" });
});

test("a path outside the data directories is refused, also through a link, and the message names the setting", async () => {
  const world = await startDataWorld();
  const outside = mkdtempSync(join(inject("runFolder"), "outside-"));
  writeFileSync(join(outside, "secret.jsonl"), exercises(3));
  symlinkSync(outside, join(world.data, "link"));
  symlinkSync(join(outside, "secret.jsonl"), join(world.data, "linked.jsonl"));
  for (const input of [join(outside, "secret.jsonl"), "../secret.jsonl", "link/secret.jsonl", "linked.jsonl", join(world.data, "link", "secret.jsonl"), "/etc/passwd", join(world.directory, "journal", "1")]) {
    expect([input, await world.run(preparing({ input, format: "jsonl", task: "sft" }))]).toMatchObject([input, { kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("or add its folder to TRAINYARD_DATA_DIRS"), hint: null } }]);
  }
});

test("a file that is not there, and a glob that matches nothing, are said to be missing", async () => {
  const world = await startDataWorld();
  for (const input of ["gone.jsonl", "gone/*.jsonl", join(world.data, "gone.jsonl")]) {
    const outcome = await world.run(preparing({ input, task: "sft" }));
    expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "FILE_NOT_FOUND", message: expect.stringContaining(input) } });
  }
});

test("input that cannot be used fails the stage with the cause, and leaves no data file", async () => {
  const world = await startDataWorld();
  world.file("cut.jsonl.gz", gzipSync(exercises(5_000)).subarray(0, 2_000));
  world.file("broken.jsonl", `${exercises(5)}{"question": 1\nnothing\n[]\n`);
  world.file("empty.jsonl", "");
  world.file("plain.data", exercises(1));
  const ends = async (params: Record<string, unknown>) => {
    const assignment = preparing({ task: "sft", columns: SFT.columns, ...params });
    const outcome = await world.run(assignment);
    const output = join(world.directory, "attempts", assignment.pipelineId, assignment.stage, "1", "output");
    expect(readdirSync(output).filter((name) => name !== "rejects.jsonl")).toEqual([]);
    return outcome;
  };
  expect(await ends({ input: "cut.jsonl.gz" })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringMatching(/^cut\.jsonl\.gz, after line \d+: the gzip stream stops early, .+: copy it again\. Nothing was written\.$/) } });
  expect(await ends({ input: "broken.jsonl", maxRejectedFraction: 0.2 })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringMatching(/broken\.jsonl:6/) } });
  expect(await ends({ input: "empty.jsonl" })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT" } });
  expect(await ends({ input: "plain.data" })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", hint: expect.stringContaining("format") } });
  expect(await ends({ input: "broken.jsonl", task: "rl" })).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("dataSource") } });
});

test("broken rows alone fail nothing", async () => {
  const world = await startDataWorld();
  world.file("broken.jsonl", `${exercises(5)}{"question": 1\nnothing\n[]\n`);
  expect(outputsOf(await world.run(preparing({ input: "broken.jsonl", task: "sft", columns: SFT.columns })))).toMatchObject({ rows: 5, rowsRead: 8, dropped: 3, rejected: 3 });
});

test("a stop ends the work at once and leaves nothing of it", async () => {
  const world = await startDataWorld();
  world.file("large.jsonl", exercises(400_000));
  const assignment = preparing({ input: "large.jsonl", ...SFT });
  world.peer.order({ type: "assign", assignment });
  await world.peer.until(() => world.peer.reports.some((report) => report.type === "progress" && report.step > 0), "some progress");
  const output = join(world.directory, "attempts", assignment.pipelineId, "prepare", "1", "output");
  const stoppedAt = performance.now();
  world.peer.order(stop(assignment));
  expect((await world.peer.report("ended", assignment.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  expect(performance.now() - stoppedAt).toBeLessThan(2_000);
  expect(readdirSync(output)).toEqual([]);
  expect(world.peer.reports.some(({ type }) => type === "dataset")).toBe(false);
});

test("a refused lease ends the work and silences it", async () => {
  const world = await startDataWorld();
  world.file("large.jsonl", exercises(400_000));
  const assignment = preparing({ input: "large.jsonl", ...SFT });
  world.peer.order({ type: "assign", assignment });
  await world.peer.until(() => world.peer.reports.some((report) => report.type === "progress" && report.step > 0), "some progress");
  world.peer.replaceFence(assignment.attemptId);
  await world.peer.until(() => world.agent.running() === 0, "the work to end");
  expect(world.peer.reports.some(({ type }) => type === "ended")).toBe(false);
  expect(readdirSync(join(world.directory, "attempts", assignment.pipelineId, "prepare", "1", "output"))).toEqual([]);
});

test("without renewals the work is ended before its lease is over", async () => {
  const rows = exercises(400_000); // before there are leases to renew: it holds up this thread, in which the agent runs too
  const world = await startDataWorld({ peer: { leaseTtlMs: 2_500, renewEveryMs: 100 } });
  world.file("large.jsonl", rows);
  const assignment = preparing({ input: "large.jsonl", ...SFT });
  world.peer.order({ type: "assign", assignment });
  await world.peer.until(() => world.peer.reports.some((report) => report.type === "progress" && report.step > 0), "some progress");
  await world.peer.down();
  await world.peer.until(() => world.agent.running() === 0, "the work to end");
  await world.peer.up();
  expect((await world.peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "AGENT_LOST" } });
});

test("of a stage over several nodes only the first prepares data", async () => {
  const world = await startDataWorld();
  const member = { agentName: "test", address: null, gpus: [] };
  expect(await world.run(preparing({ input: "none.jsonl", task: "sft" }, { rank: 1, members: [member, member] }))).toEqual({ kind: "COMPLETED", outputs: {} });
});

test("every attempt keeps to its own directory", async () => {
  const world = await startDataWorld();
  world.file("rows.jsonl", exercises(10));
  const pipelineId = newId("pip");
  const [one, two] = [preparing({ input: "rows.jsonl", ...SFT }, { pipelineId, stage: "one" }), preparing({ input: "rows.jsonl", ...SFT, seed: 3 }, { pipelineId, stage: "two" })];
  const [first, second] = await Promise.all([world.run(one), world.run(two)]);
  for (const outcome of [first, second]) expect(existsSync(outputsOf(outcome).trainFile)).toBe(true);
  expect(outputsOf(first).trainFile).not.toBe(outputsOf(second).trainFile);
});
