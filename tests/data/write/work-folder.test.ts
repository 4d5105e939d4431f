import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { createDurableFile } from "../../../src/data/write/durable-file.js";
import { createWorkFolder, publishFiles, removeLeftovers, removeWorkFolder } from "../../../src/data/write/work-folder.js";

const newFolder = () => mkdtempSync(join(inject("runFolder"), "work-"));

test("a durable file knows the hash and the size of what was written", async () => {
  const path = join(newFolder(), "file");
  const file = await createDurableFile(path);
  await file.write(Buffer.from("one "));
  await file.write(Buffer.from("two"));
  expect(await file.finish()).toEqual({ sha256: createHash("sha256").update("one two").digest("hex"), sizeBytes: 7 });
  await file.abandon();
  expect(readFileSync(path, "utf8")).toBe("one two");
  await expect(createDurableFile(path)).rejects.toMatchObject({ code: "EEXIST" });
});

test("published files stand under their names, older ones of another run are gone, and strangers' files stay", async () => {
  const output = join(newFolder(), "made", "on", "demand");
  const work = await createWorkFolder(output);
  for (const name of ["validation.parquet", "manifest.json", "notes.txt"]) writeFileSync(join(output, name), "old");
  for (const name of ["train.parquet", "rejects.jsonl", "manifest.json"]) writeFileSync(join(work, name), "new");
  await publishFiles(work, output, ["manifest.json", "train.parquet", "rejects.jsonl"]);
  await removeWorkFolder(work);
  await removeWorkFolder(work);
  expect(readdirSync(output).sort()).toEqual(["manifest.json", "notes.txt", "rejects.jsonl", "train.parquet"]);
  expect(readFileSync(join(output, "manifest.json"), "utf8")).toBe("new");
});

test("a publication that breaks off leaves no manifest", async () => {
  const output = newFolder();
  const work = await createWorkFolder(output);
  for (const [folder, name] of [[output, "manifest.json"], [work, "manifest.json"], [work, "train.parquet"]] as const) writeFileSync(join(folder, name), "text");
  mkdirSync(join(output, "train.parquet"));
  await expect(publishFiles(work, output, ["manifest.json", "train.parquet"])).rejects.toThrow();
  expect(existsSync(join(output, "manifest.json"))).toBe(false);
});

test("what a dead run left behind can be cleared away", async () => {
  const output = newFolder();
  writeFileSync(join(await createWorkFolder(output), "rows.run"), "left");
  writeFileSync(join(output, "train.parquet"), "mine");
  await removeLeftovers(output);
  expect(readdirSync(output)).toEqual(["train.parquet"]);
  await removeLeftovers(join(output, "absent"));
});
