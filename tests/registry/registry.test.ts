import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { openDatabase, type OpenedDatabase } from "../../src/db/database.js";
import { findDataset, readFiles, registerVersions, type DatasetRow } from "../../src/db/datasets.js";
import { newId } from "../../src/domain/ids.js";
import { createRegistry, type Registry } from "../../src/registry/registry.js";
import { createUploads, type Uploads } from "../../src/registry/uploads.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase, opened: OpenedDatabase, registry: Registry, uploads: Uploads;
const folder = mkdtempSync(join(inject("runFolder"), "registry-"));
const data = join(folder, "data");
beforeAll(async () => {
  for (const name of ["data/sub", "uploads", "agent/attempts", "outside"]) mkdirSync(join(folder, name), { recursive: true });
  database = await createTestDatabase();
  opened = openDatabase({ url: database.url, size: 6, log: { warn: () => undefined } });
  uploads = createUploads({ db: opened.db, folder: join(folder, "uploads"), limitBytes: 1e9 });
  registry = createRegistry({ db: opened.db, uploads, dataDirs: [data, join(folder, "uploads")], shownDirs: [join(folder, "agent/attempts")], patienceMs: 10_000 });
});
afterAll(async () => {
  await registry.stop();
  await opened.close();
  await database.drop();
});

const chat = (count: number, tag = "q") => Array.from({ length: count }, (_, index) => `${JSON.stringify({ messages: [{ role: "user", content: `${tag} ${index}` }, { role: "assistant", content: `answer ${index}` }], id: index })}\n`).join("");
const write = (name: string, text: string | Uint8Array) => { const path = join(data, name); mkdirSync(dirname(path), { recursive: true }); writeFileSync(path, text); return path; };
const register = (name: string, path: string, by = "ann") => registry.register({ name, path, by }, () => Promise.resolve());
const problemOf = (call: Promise<unknown>) => call.then(() => null, (error: { problems?: { path: string; code: string; message: string; hint: string | null }[] }) => error.problems?.[0] ?? error);
const ids = (rows: readonly unknown[]) => rows.map((row) => (row as { id: number }).id);

describe("registering a file", () => {
  test("keeps what is in it: format, rows, columns, tasks, hash, size", async () => {
    const path = write("chat.jsonl", chat(30));
    const row = await register("team/chat", "chat.jsonl");
    expect(row).toMatchObject({ name: "team/chat", version: 1, format: "jsonl", rows: 30, unreadableRows: 0, sizeBytes: statSync(path).size, contentHash: createHash("sha256").update(readFileSync(path)).digest("hex"), tasks: ["sft"], createdBy: "ann", madeByStage: null });
    expect(row.columns.map((column) => [column.name, column.nullCount])).toEqual([["messages", 0], ["id", 0]]);
  });

  test("twice, or a copy of it, answers the same version; changed content makes the next one; another name another data set", async () => {
    write("one.jsonl", chat(3, "one"));
    const first = await register("same", "one.jsonl");
    expect((await register("same", "one.jsonl", "bob")).id).toBe(first.id);
    write("copy.jsonl", chat(3, "one"));
    const copy = await register("same", "copy.jsonl");
    expect(copy).toMatchObject({ id: first.id, version: 1 });
    expect((await readFiles(opened.db, [first.id])).map((file) => file.path).sort()).toEqual([join(data, "copy.jsonl"), join(data, "one.jsonl")]);
    write("one.jsonl", chat(4, "one"));
    expect(await register("same", "one.jsonl")).toMatchObject({ version: 2, rows: 4 });
    expect((await register("other", "copy.jsonl"))).toMatchObject({ version: 1, contentHash: first.contentHash });
  });

  test("at the same moment from two control planes makes one version", async () => {
    write("race.jsonl", chat(5, "race"));
    const second = createRegistry({ db: opened.db, uploads, dataDirs: [data], shownDirs: [] });
    const rows = await Promise.all([registry, second, registry, second].map((one) => one.register({ name: "race", path: "race.jsonl", by: "ann" }, () => Promise.resolve())));
    await second.stop();
    expect(new Set(rows.map((row) => `${row.id} ${row.version}`)).size).toBe(1);
  });

  test("by the id of an upload", async () => {
    async function* body() { yield Buffer.from(chat(7, "up")); }
    const upload = await uploads.receive({ name: "mine.jsonl", announcedBytes: null, expectedHash: null, by: "ann", body: body() }, () => Promise.resolve());
    expect(await register("uploaded", upload.id)).toMatchObject({ rows: 7, contentHash: upload.contentHash, sizeBytes: upload.sizeBytes });
    appendFileSync(join(folder, "uploads", upload.id, "mine.jsonl"), chat(1));
    await expect(register("uploaded", upload.id)).rejects.toMatchObject({ code: "FILE_CHANGED" });
  });

  test("whose transaction fails keeps nothing", async () => {
    write("void.jsonl", chat(2, "void"));
    await expect(registry.register({ name: "void", path: "void.jsonl", by: "ann" }, () => Promise.reject(new Error("no audit")))).rejects.toThrow("no audit");
    expect(await findDataset(opened.db, { name: "void", version: null })).toBeNull();
  });

  test("while it is being written is refused", async () => {
    const path = write("growing.jsonl", chat(20_000, "grow"));
    const writing = setInterval(() => appendFileSync(path, chat(1)), 2);
    await expect(register("growing", "growing.jsonl").finally(() => clearInterval(writing))).rejects.toMatchObject({ code: "FILE_CHANGED", retryable: true });
    expect(await register("growing", "growing.jsonl")).toMatchObject({ version: 1 });
  });
});

describe("a path is refused at input.path", () => {
  beforeAll(() => {
    writeFileSync(join(folder, "outside", "secret.jsonl"), chat(1));
    symlinkSync(join(folder, "outside", "secret.jsonl"), join(data, "link.jsonl"));
    symlinkSync(join(folder, "outside"), join(data, "linked"));
    write("notes.txt", "hello");
    write("broken.parquet", "PAR1 this is no parquet file PAR1");
    write("cut.jsonl.gz", gzipSync(chat(5_000)).subarray(0, 2_000));
    mkdirSync(join(data, "folder.jsonl"), { recursive: true });
    writeFileSync(join(folder, "agent/attempts", "made.jsonl"), chat(1));
  });

  test.each([
    ["outside the data directories", () => join(folder, "outside", "secret.jsonl"), "PATH_REFUSED"],
    ["that climbs out", () => "../outside/secret.jsonl", "PATH_REFUSED"],
    ["of a symlink to the outside", () => "link.jsonl", "PATH_REFUSED"],
    ["through a symlinked folder", () => "linked/secret.jsonl", "PATH_REFUSED"],
    ["of the system", () => "/etc/passwd", "PATH_REFUSED"],
    ["that only previews may read", () => join(folder, "agent/attempts", "made.jsonl"), "PATH_REFUSED"],
    ["of nothing", () => "nothing.jsonl", "FILE_NOT_FOUND"],
    ["of a folder", () => "folder.jsonl", "FILE_NOT_FOUND"],
    ["of an upload that does not exist", () => newId("upl"), "FILE_NOT_FOUND"],
    ["of a file with an unknown ending", () => "notes.txt", "UNKNOWN_FORMAT"],
    ["of a file that is no Parquet", () => "broken.parquet", "UNREADABLE_FILE"],
    ["of a gzip file that stops", () => "cut.jsonl.gz", "UNREADABLE_FILE"],
    ["that is empty", () => "", "FILE_NOT_FOUND"],
    ["with a NUL", () => "a\u0000.jsonl", "FILE_NOT_FOUND"],
  ])("%s", async (_what, path, code) => {
    const problem = await problemOf(register("refused", path()));
    expect(problem).toMatchObject({ path: "input.path", code });
    expect(await findDataset(opened.db, { name: "refused", version: null })).toBeNull();
  });

  test.each(["", "with space", "-dash", "a@1", "x".repeat(201), "ümlaut"])("and the name %j at input.name", async (name) => {
    expect(await problemOf(register(name, "chat.jsonl"))).toMatchObject({ path: "input.name", code: "INVALID_VALUE" });
  });
});

describe("rows", () => {
  async function reported(name: string, path: string, row: DatasetRow): Promise<DatasetRow> {
    const file = { agentId: newId("agt"), path, changedMs: null };
    const [id] = await opened.db.transaction().execute((trx) => registerVersions(trx, [{ name, file, madeBy: null, by: "agent", facts: { ...row, statistics: null, sample: [{ id: 0 }, { id: 1 }] } }], new Date()));
    return (await findDataset(opened.db, { id: id! }))!;
  }

  test("of any page come from the file", async () => {
    write("pages.jsonl", chat(500, "page"));
    const row = await register("pages", "pages.jsonl");
    for (const [from, count] of [[0, 3], [250, 2], [498, 10], [500, 5], [9_000, 5]] as const) {
      const page = await registry.page(row, from, count);
      expect(page).toMatchObject({ source: "FILE", note: null, from });
      expect(ids(page.rows)).toEqual(Array.from({ length: Math.max(0, Math.min(count, 500 - from)) }, (_, index) => from + index));
    }
  });

  test("of a file that was replaced come from the sample, with the reason", async () => {
    const path = write("replaced.jsonl", chat(40, "aa"));
    const row = await register("replaced", "replaced.jsonl");
    write("replaced.jsonl", chat(40, "bb")); // as long as before
    const page = await registry.page(row, 18, 5);
    expect(page.source).toBe("SAMPLE");
    expect(ids(page.rows)).toEqual([18, 19]);
    expect(page.note).toContain(`${path} has other content now`);
    expect(page.note).toContain("the first 20 of 40 rows");
    write("replaced.jsonl", chat(41, "bb"));
    expect((await registry.page(row, 0, 1)).note).toContain("has another size now");
    renameSync(path, `${path}.away`);
    expect((await registry.page(row, 25, 5))).toMatchObject({ rows: [], source: "SAMPLE", note: expect.stringContaining("is gone") });
  });

  test("of a file that was only touched still come from it", async () => {
    const path = write("touched.jsonl", chat(40, "touch"));
    const row = await register("touched", "touched.jsonl");
    utimesSync(path, new Date(), new Date());
    expect(await registry.page(row, 30, 1)).toMatchObject({ source: "FILE", rows: [{ id: 30 }] });
  });

  test("of what an agent on this machine made come from its file; what it made elsewhere, from the sample", async () => {
    write("template.jsonl", chat(50, "made"));
    const template = await register("template", "template.jsonl");
    const made = join(folder, "agent/attempts", "train.jsonl");
    writeFileSync(made, chat(50, "made"));
    expect(await registry.page(await reported("here", made, template), 45, 2)).toMatchObject({ source: "FILE", rows: [{ id: 45 }, { id: 46 }] });
    const away = await reported("away", "/gpu-host/train.jsonl", template);
    expect(await registry.page(away, 0, 5)).toMatchObject({ source: "SAMPLE", rows: [{ id: 0 }, { id: 1 }], note: expect.stringContaining("out of the control plane's reach") });
    expect([await registry.fileOf(template), await registry.fileOf(away)]).toEqual([join(data, "template.jsonl"), null]);
  });

  test("of a file that an agent claims to have are shown only if it is that content", async () => {
    write("honest.jsonl", chat(50, "honest"));
    const honest = await register("honest", "honest.jsonl");
    const forged = join(folder, "agent/attempts", "forged.jsonl");
    writeFileSync(forged, chat(50, "forged"));
    expect(await registry.page(await reported("forged", forged, honest), 0, 1)).toMatchObject({ source: "SAMPLE", note: expect.stringContaining("other content") });
  });
});

test("a large file is read while the event loop goes on", async () => {
  write("large.jsonl", chat(60_000, "large ".repeat(20)));
  let longest = 0, last = performance.now();
  const beat = setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5);
  const row = await register("large", "large.jsonl");
  clearInterval(beat);
  expect(row.rows).toBe(60_000);
  expect(longest).toBeLessThan(500); // reading it takes longer; far above what a busy machine takes away
});
