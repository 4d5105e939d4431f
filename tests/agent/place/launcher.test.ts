import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { findProgram } from "../../../src/agent/place/launcher.js";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(inject("runFolder"), "path-"));
  symlinkSync("loop", join(folder, "loop")); // a folder that cannot be looked into, whoever asks
  writeFileSync(join(folder, "plain"), "not a program", { mode: 0o644 });
});
afterAll(() => rmSync(folder, { recursive: true }));

test("a folder of PATH that cannot be looked into is passed over, as a shell does", () => {
  expect(findProgram("sh", `${join(folder, "loop")}:/bin`, folder)).toBe("/bin/sh");
});

test("what is not there is not found, what may not be executed is denied, each with its name", () => {
  expect(() => findProgram("no-such-program", `${folder}:/bin`, folder)).toThrow(/no program "no-such-program" on this agent's PATH/);
  expect(() => findProgram("./plain", undefined, folder)).toThrow(/plain may not be executed/);
  expect(() => findProgram(join(folder, "loop", "x"), undefined, folder)).toThrow(/does not exist on this host, or is closed/);
});
