import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CONTROL_PLANE, findDataset, listVersions, readFiles, readMade, readRead, readReaders, readSamples, registerVersions, type NewVersion } from "../../src/db/datasets.js";
import { kyselyOn } from "../../src/db/database.js";
import { datasetIdOf, type DatasetFacts } from "../../src/domain/data/dataset.js";
import { newId } from "../../src/domain/ids.js";
import { item, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry/telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const hashOf = (seed: number) => seed.toString(16).padStart(64, "0");
const facts = (seed: number, more: Partial<DatasetFacts> = {}): DatasetFacts => ({
  format: "parquet", contentHash: hashOf(seed), rows: 10, sizeBytes: 1_000, columns: [{ name: "messages", type: "list<struct<role: string, content: string>>", nullCount: 0 }], tasks: ["sft"],
  statistics: { rows: 10, characters: {}, turns: null, tokens: null, categories: {} }, sample: [{ zebra: 1, apple: 2 }], ...more,
});
const version = (name: string, seed: number, more: Partial<NewVersion> = {}): NewVersion => ({ name, facts: facts(seed), file: { agentId: CONTROL_PLANE, path: `/data/${seed}.parquet`, changedMs: 1 }, madeBy: null, by: "ann", ...more });
const register = (...versions: NewVersion[]) => world.opened.db.transaction().execute((trx) => registerVersions(trx, versions, new Date()));
const numbers = async (name: string) => (await listVersions(world.opened.db, name, 1_000)).map((row) => row.version);

async function anAttempt(): Promise<AttemptOf> {
  const [stage] = await world.pipeline([{ name: "prepare", kind: "preprocess" }]);
  return world.attempt(stage!);
}
const made = (attempt: AttemptOf, name: string, seed: number, more: Partial<DatasetFacts> = {}, path = `/agent/${seed}.parquet`) =>
  item(attempt, { type: "dataset", datasetId: newId("dst"), name, path, facts: facts(seed, more) as never });
const read = (attempt: AttemptOf, ...seeds: number[]) => item(attempt, { type: "dataset-read", files: seeds.map((seed) => ({ path: `/in/${seed}`, contentHash: hashOf(seed), sizeBytes: 5 })) });

describe("versions", () => {
  test("are numbered from 1 within their name; the same content is the same version, whoever brings it", async () => {
    const [first, second] = await register(version("a", 1), version("a", 2));
    expect(await register(version("a", 1, { by: "bob" }))).toEqual([first]);
    expect(await numbers("a")).toEqual([2, 1]);
    expect(first).toBe(datasetIdOf("a", hashOf(1)));
    expect((await findDataset(world.opened.db, { id: second! }))).toMatchObject({ version: 2, createdBy: "ann" });
  });

  test("of another name are other data sets, even with the same content", async () => {
    const [one, other] = await register(version("b", 3), version("c", 3));
    expect(one).not.toBe(other);
    expect([await numbers("b"), await numbers("c")]).toEqual([[1], [1]]);
  });

  test("stay without gaps when many writers register at once, names crossing and contents repeating", async () => {
    const rounds = Array.from({ length: 24 }, (_, round) => register(...[["x", "y"], ["y", "x"], ["z", "x"]][round % 3]!.map((name) => version(`many/${name}`, 100 + (round % 8)))));
    await Promise.all(rounds);
    for (const name of ["x", "y", "z"]) {
      const found = await numbers(`many/${name}`);
      expect(found).toEqual(Array.from({ length: found.length }, (_, index) => found.length - index));
      expect(new Set((await listVersions(world.opened.db, `many/${name}`, 100)).map((row) => row.contentHash)).size).toBe(found.length);
    }
    expect(await numbers("many/x")).toHaveLength(8);
  });

  test("a transaction that fails leaves no number behind", async () => {
    await register(version("d", 4));
    await expect(world.opened.db.transaction().execute(async (trx) => {
      await registerVersions(trx, [version("d", 5)], new Date());
      throw new Error("broken off");
    })).rejects.toThrow("broken off");
    await register(version("d", 6));
    expect(await numbers("d")).toEqual([2, 1]);
  });

  test("are found by id, by name and by version; a name alone is the newest, or the newest of a moment", async () => {
    const [old] = await world.opened.db.transaction().execute((trx) => registerVersions(trx, [version("e", 7)], new Date("2026-01-01")));
    await world.opened.db.transaction().execute((trx) => registerVersions(trx, [version("e", 8)], new Date("2026-03-01")));
    const find = findDataset.bind(null, world.opened.db);
    expect((await find({ name: "e", version: null }))?.version).toBe(2);
    expect((await find({ name: "e", version: null }, new Date("2026-02-01")))?.version).toBe(1);
    expect((await find({ name: "e", version: 1 }))?.id).toBe(old);
    expect((await find({ id: old! }))?.version).toBe(1);
    expect(await find({ name: "e", version: 3 })).toBeNull();
    expect(await find({ name: "E", version: null })).toBeNull();
  });

  test("the sample keeps the order of columns and whatever JSON can say, and stays small", async () => {
    const hostile = [{ zebra: 1, apple: "\u0000 \ud800 \ud83d\ude00", ["__proto__"]: { a: null } }];
    const [id, large] = await register(version("f", 9, { facts: facts(9, { sample: hostile }) }), version("f", 10, { facts: facts(10, { sample: Array.from({ length: 20 }, () => ({ text: "x".repeat(10_000) })) }) }));
    const samples = new Map((await readSamples(world.opened.db, [id!, large!])).map((row) => [row.id, row.sample]));
    expect(JSON.stringify(samples.get(id!))).toBe(JSON.stringify(hostile));
    expect(samples.get(large!)).toHaveLength(6);
  });
});

describe("reports", () => {
  test("register what an attempt made, with who submitted its pipeline, where it lies, and an id that follows from the content and not from the report", async () => {
    const attempt = await anAttempt();
    await world.report([made(attempt, "p/prepare-train", 20), made(attempt, "p/prepare-validation", 21)]);
    const row = await findDataset(world.opened.db, { name: "p/prepare-train", version: null });
    expect(row).toMatchObject({ id: datasetIdOf("p/prepare-train", hashOf(20)), version: 1, madeByStage: attempt.stageId, createdBy: "test", rows: 10, tasks: ["sft"] });
    expect(await readFiles(world.opened.db, [row!.id])).toMatchObject([{ agentId: attempt.agentId, path: "/agent/20.parquet" }]);
    expect((await readMade(world.opened.db, [attempt.stageId])).map((dataset) => dataset.name)).toEqual(["p/prepare-train", "p/prepare-validation"]);
  });

  test("change nothing when they come again, in the same batch or later", async () => {
    const attempt = await anAttempt();
    const report = made(attempt, "again", 22);
    await world.report([report, report, read(attempt, 1, 1, 2)]);
    await world.report([report, read(attempt, 2)]);
    expect(await numbers("again")).toEqual([1]);
    expect(await readFiles(world.opened.db, [datasetIdOf("again", hashOf(22))])).toHaveLength(1);
    expect((await world.opened.pool.query("select count(*)::int as n from dataset_reads where attempt_id = $1", [attempt.attemptId])).rows).toEqual([{ n: 2 }]);
  });

  test("of a retry with the same result add a place and keep the first maker", async () => {
    const first = await anAttempt();
    const second = await world.attempt(first, { agentId: newId("agt") });
    await world.report([made(first, "retry", 23)]);
    await world.report([made(second, "retry", 23)]);
    const row = (await findDataset(world.opened.db, { name: "retry", version: 1 }))!;
    expect((await world.opened.pool.query("select made_by_attempt from datasets where id = $1", [row.id])).rows[0]).toEqual({ made_by_attempt: first.attemptId });
    expect((await readFiles(world.opened.db, [row.id])).map((file) => file.agentId).sort()).toEqual([first.agentId, second.agentId].sort());
  });

  test("name the maker of what a user had registered before", async () => {
    await register(version("both", 24));
    const attempt = await anAttempt();
    await world.report([made(attempt, "both", 24)]);
    expect(await findDataset(world.opened.db, { name: "both", version: null })).toMatchObject({ version: 1, createdBy: "ann", madeByStage: attempt.stageId });
    expect((await readFiles(world.opened.db, [datasetIdOf("both", hashOf(24))])).map((file) => file.agentId)).toEqual([CONTROL_PLANE, attempt.agentId]);
  });

  test("with characters that Postgres refuses, and with paths longer than an index entry, hold up no batch", async () => {
    const attempt = await anAttempt();
    const path = `/agent/${Array.from({ length: 4_000 }, (_, index) => String.fromCharCode(97 + ((index * 7919) % 26))).join("")}`;
    await world.report([made(attempt, "odd\u0000name\ud800", 25, { columns: [{ name: "a\u0000", type: "string\ud800", nullCount: 0 }], sample: [{ text: "\u0000\udfff" }] }, `${path}\u0000`), made(attempt, "fine", 26)]);
    expect((await world.opened.pool.query<{ name: string }>("select name from datasets where content_hash = any($1)", [[hashOf(25), hashOf(26)]])).rows.map((row) => row.name).sort()).toEqual(["fine", "odd\ufffdname\ufffd"]);
  });

  test("of several control planes at once number the versions of shared names without gaps and without waiting in a circle", async () => {
    const attempts = await Promise.all(Array.from({ length: 6 }, anAttempt));
    await Promise.all(attempts.flatMap((attempt, index) => [0, 1].map((round) => {
      const names = index % 2 === 0 ? ["shared/m", "shared/n"] : ["shared/n", "shared/m"];
      return world.report(names.map((name) => made(attempt, name, 300 + index * 2 + round)));
    })));
    for (const name of ["shared/m", "shared/n"]) expect(await numbers(name)).toEqual([12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  });

  test("are taken back with the batch that fails", async () => {
    const attempt = await anAttempt();
    await expect(world.transaction(async (client) => {
      await registerVersions(kyselyOn(client), [version("void", 27)], new Date());
      await client.query("select 1 / 0");
    })).rejects.toThrow(/division/);
    await world.report([made(attempt, "void", 28)]);
    expect(await numbers("void")).toEqual([1]);
  });
});

test("lineage leads from a data set to the stages that read it, under whatever name, and back", async () => {
  const maker = await anAttempt(), reader = await anAttempt(), stranger = await anAttempt();
  await world.report([read(reader, 40)]); // read before anybody registered it
  await world.report([made(maker, "lineage", 40)]);
  await register(version("copy", 40));
  await world.report([read(stranger, 41)]);
  expect(await readReaders(world.opened.db, [hashOf(40)])).toEqual([{ contentHash: hashOf(40), stageId: reader.stageId }]);
  expect((await readRead(world.opened.db, [reader.stageId, stranger.stageId])).map((dataset) => [dataset.stageId, dataset.name])).toEqual([[reader.stageId, "copy"], [reader.stageId, "lineage"]]);
});
