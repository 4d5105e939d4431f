// Paths stay inside the data directories, whatever way they are written.
import { mkdirSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createDataRoots } from "../../../src/data/read/data-roots.js";
import { folder } from "./support.js";

function yard() {
  const base = realpathSync(folder());
  const [first, second, outside] = ["first", "second", "outside"].map((name) => join(base, name)) as [string, string, string];
  for (const path of [join(first, "sub", "deeper"), second, outside]) mkdirSync(path, { recursive: true });
  for (const path of [join(first, "b.jsonl"), join(first, "a.jsonl"), join(first, "sub", "c.jsonl"), join(first, "sub", "deeper", "d.json"), join(first, "odd[1].jsonl"), join(second, "a.jsonl"), join(second, "only.csv"), join(outside, "secret.jsonl")]) writeFileSync(path, "{}");
  symlinkSync(join(outside, "secret.jsonl"), join(first, "link.txt"));
  symlinkSync(outside, join(first, "linked"));
  symlinkSync(join(second, "only.csv"), join(first, "inner.csv"));
  symlinkSync(first, join(base, "alias"));
  return { base, first, second, outside, roots: createDataRoots([first, second]) };
}

describe("a path", () => {
  test("relative: the first folder that has it wins; absolute: anywhere inside", async () => {
    const { first, second, roots } = yard();
    expect(await roots.locate("a.jsonl")).toBe(join(first, "a.jsonl"));
    expect(await roots.locate("only.csv")).toBe(join(second, "only.csv"));
    expect(await roots.locate(join(second, "a.jsonl"))).toBe(join(second, "a.jsonl"));
    expect(await roots.expand("sub/c.jsonl")).toEqual([join(first, "sub", "c.jsonl")]);
  });
  test("is resolved through links and judged where it ends", async () => {
    const { second, roots } = yard();
    expect(await roots.locate("inner.csv")).toBe(join(second, "only.csv"));
    for (const path of ["link.txt", "linked/secret.jsonl"]) await expect(roots.locate(path)).rejects.toMatchObject({ code: "PATH_REFUSED" });
  });
  test.each(["../outside/secret.jsonl", "sub/../../outside/secret.jsonl", "../outside/none.jsonl", "/etc/passwd", "/none", "../outside"])("outside is refused alike whether it exists or not: %s", async (path) => {
    const { first, second, roots } = yard();
    const refused = { code: "PATH_REFUSED", path, message: expect.stringContaining("TRAINYARD_DATA_DIRS") };
    await expect(roots.locate(path)).rejects.toMatchObject(refused);
    await expect(roots.expand(path)).rejects.toMatchObject({ ...refused, message: expect.stringContaining(`${first}, ${second}`) });
  });
  test.each(["none.jsonl", "sub", "", "a\0b", "sub/none/x"])("that names no file is told from one outside: %j", async (path) => {
    await expect(yard().roots.locate(path)).rejects.toMatchObject({ code: "FILE_NOT_FOUND", message: expect.stringContaining("TRAINYARD_DATA_DIRS") });
  });
  test("a folder with a similar name is outside", async () => {
    const { base, first, roots } = yard();
    mkdirSync(`${first}-more`);
    writeFileSync(join(base, "first-more", "x.jsonl"), "{}");
    await expect(roots.locate(join(base, "first-more", "x.jsonl"))).rejects.toMatchObject({ code: "PATH_REFUSED" });
  });
});

describe("a glob", () => {
  test("names its files sorted, in the first folder where it names any", async () => {
    const { first, second, roots } = yard();
    expect(await roots.expand("*.jsonl")).toEqual([join(first, "a.jsonl"), join(first, "b.jsonl"), join(first, "odd[1].jsonl")]);
    expect(await roots.expand("*.csv")).toEqual([join(second, "only.csv")]); // a link in the first folder
    expect(await roots.expand("{*.jsonl,sub/**/*.json*}")).toEqual([join(first, "a.jsonl"), join(first, "b.jsonl"), join(first, "odd[1].jsonl"), join(first, "sub", "c.jsonl"), join(first, "sub", "deeper", "d.json")]);
    expect(await roots.expand("sub/**")).toEqual([join(first, "sub", "c.jsonl"), join(first, "sub", "deeper", "d.json")]);
    expect(await roots.expand("only.{csv,tsv}")).toEqual([join(second, "only.csv")]);
    expect(await roots.expand(join(second, "*.jsonl"))).toEqual([join(second, "a.jsonl")]);
  });
  test("that is a file's own name means that file", async () => {
    const { first, roots } = yard();
    expect(await roots.expand("odd[1].jsonl")).toEqual([join(first, "odd[1].jsonl")]);
  });
  test("never leaves: neither upwards, nor through a link", async () => {
    const { first, outside, roots } = yard();
    for (const pattern of ["../outside/*.jsonl", "sub/../../outside/*", join(outside, "*.jsonl"), "/etc/*", "/**/passwd", "link.*", "linked/*.jsonl", "linked/*.none", join(first, "linked/*.none"), "**/secret.*"]) await expect(roots.expand(pattern)).rejects.toMatchObject({ code: "PATH_REFUSED" });
  });
  test("that matches nothing says so", async () => {
    await expect(yard().roots.expand("*.parquet")).rejects.toMatchObject({ code: "FILE_NOT_FOUND", message: expect.stringContaining("No file matches") });
  });
});

test("a data directory may itself be a link, be missing, or be none at all", async () => {
  const { base, first } = yard();
  const roots = createDataRoots([join(base, "absent"), join(base, "alias")]);
  expect(await roots.locate("a.jsonl")).toBe(join(first, "a.jsonl"));
  expect(await roots.locate(join(base, "alias", "a.jsonl"))).toBe(join(first, "a.jsonl"));
  expect(await roots.expand("sub/*.jsonl")).toEqual([join(first, "sub", "c.jsonl")]);
  expect(roots.relativeName(join(first, "sub", "c.jsonl"))).toBe("sub/c.jsonl");
  await expect(createDataRoots([]).locate("a.jsonl")).rejects.toMatchObject({ code: "PATH_REFUSED", message: expect.stringContaining("none are configured") });
});
