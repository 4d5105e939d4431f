import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { unreachableBecauseOf } from "../../../src/server/embedded/server-account.js";

const other = { uid: 54_321, gid: 54_321 };

test("what is only read need not be executable: neither for ourselves nor for the account of a server", () => {
  const folder = mkdtempSync(join(inject("runFolder"), "reach-"));
  chmodSync(folder, 0o755);
  const file = join(folder, "postgres.bki"), program = join(folder, "postgres"), inner = join(folder, "lib");
  writeFileSync(file, "");
  chmodSync(file, 0o644);
  writeFileSync(program, "");
  chmodSync(program, 0o755);
  mkdirSync(inner);
  chmodSync(inner, 0o755);
  for (const path of [file, program, inner]) for (const account of [null, other]) expect(unreachableBecauseOf(path, account), path).toBeNull();
  chmodSync(program, 0o700);
  chmodSync(inner, 0o700);
  expect(unreachableBecauseOf(program, other)).toBe(program);
  expect(unreachableBecauseOf(inner, other)).toBe(inner);
  expect(unreachableBecauseOf(program, null)).toBeNull();
});
