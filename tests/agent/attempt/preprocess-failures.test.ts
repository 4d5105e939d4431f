// What a preprocess attempt says it died of, by the error that ended it.
import { expect, test } from "vitest";
import { failureOf } from "../../../src/agent/attempt/preprocess-failures.js";
import { CallFailedError } from "../../../src/agent/control-plane-client.js";
import { InputRefusedError } from "../../../src/agent/data/input-refused.js";
import { JournalFullError } from "../../../src/agent/journal/journal-errors.js";
import { PathRefusedError } from "../../../src/data/read/data-roots.js";
import { UnreadableFileError } from "../../../src/data/read/records.js";

const system = (code: string) => Object.assign(new Error(`${code}: of the file system`), { code });

test.each<[Error, string]>([
  [system("ENOSPC"), "DISK_FULL"], [system("EDQUOT"), "DISK_FULL"], [new JournalFullError("/agent"), "DISK_FULL"], [system("ENOENT"), "FILE_NOT_FOUND"], [system("EACCES"), "PERMISSION_DENIED"],
  [system("ERR_WORKER_OUT_OF_MEMORY"), "OUT_OF_MEMORY"], [new PathRefusedError("FILE_NOT_FOUND", "a", "gone"), "FILE_NOT_FOUND"],
  [new UnreadableFileError("a.gz", 7, "it stops early"), "INVALID_INPUT"], [new CallFailedError("nobody there"), "NETWORK"], [new TypeError("a bug"), "INTERNAL"], [system("constructor"), "INTERNAL"],
])("%s is told as %s, with the message, a hint and the end of the log", (error, code) => {
  expect(failureOf(error, ["last words"])).toMatchObject({ kind: "FAILED", failure: { code, message: expect.stringContaining(error.message), hint: expect.stringMatching(/\.$/), exitCode: null, logTail: ["last words"] } });
});

test("a path that is refused says in its message what to do, and nowhere else", () => {
  expect(failureOf(new PathRefusedError("PATH_REFUSED", "a", "outside"), [])).toMatchObject({ failure: { code: "INVALID_INPUT", message: "outside", hint: null } });
});

test("an error that knows what to do gives the hint itself, and a long message is cut to what the protocol takes", () => {
  expect(failureOf(new InputRefusedError("x".repeat(20_000), "Do this."), [])).toMatchObject({ failure: { code: "INVALID_INPUT", message: "x".repeat(10_000), hint: "Do this." } });
});
