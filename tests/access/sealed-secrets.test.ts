import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, existsSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { sealedSecrets } from "../../src/access/sealed-secrets.js";

let folder: string;
beforeEach(() => { folder = mkdtempSync(join(tmpdir(), "ty-seal-")); });
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const file = () => join(folder, "deep", "secret-key");
const key = () => randomBytes(32).toString("base64");

describe("sealed secrets", () => {
  test("any text comes back for its own context, and never for another one", () => {
    const secrets = sealedSecrets({ value: key(), file: file() });
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), fc.string(), fc.string(), (secret, context, other) => {
      const sealed = secrets.seal(secret, context);
      expect(secrets.open(sealed, context)).toBe(secret);
      if (other !== context) expect(() => secrets.open(sealed, other)).toThrow(expect.objectContaining({ code: "SEALED_SECRET_DAMAGED" }));
    }), { numRuns: 60 });
  });

  test("a sealed text shows nothing of the secret and is never the same twice", () => {
    const secrets = sealedSecrets({ value: key(), file: file() });
    const [a, b] = [secrets.seal("hunter2", "x"), secrets.seal("hunter2", "x")];
    expect(a).not.toBe(b);
    expect(a + Buffer.from(a.split(".")[2]!, "base64url").toString("latin1")).not.toContain("hunter2");
  });

  test("one changed bit anywhere is noticed", () => {
    const secrets = sealedSecrets({ value: key(), file: file() });
    const [version, id, body] = secrets.seal("hunter2", "x").split(".");
    const bytes = Buffer.from(body!, "base64url");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => secrets.open(`${version}.${id}.${changed.toString("base64url")}`, "x")).toThrow(expect.objectContaining({ code: "SEALED_SECRET_DAMAGED" }));
    }
    expect(() => secrets.open("hunter2", "x")).toThrow(expect.objectContaining({ code: "SEALED_SECRET_DAMAGED" }));
  });

  test("the key file is made on the first sealing, closed to others, and never by an opening", () => {
    const secrets = sealedSecrets({ value: undefined, file: file() });
    const foreign = sealedSecrets({ value: key(), file: "unused" }).seal("s", "x");
    expect(() => secrets.open(foreign, "x")).toThrow(expect.objectContaining({ code: "SEALED_BY_ANOTHER_KEY" }));
    expect(existsSync(file())).toBe(false);
    const sealed = secrets.seal("s", "x");
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(sealedSecrets({ value: undefined, file: file() }).open(sealed, "x")).toBe("s");
    expect(sealedSecrets({ value: readFileSync(file(), "utf8"), file: "unused" }).open(sealed, "x")).toBe("s");
  });

  test("a rotated key seals anew while the old one still opens; without the old one the error names it", () => {
    const [old, fresh] = [key(), randomBytes(32).toString("hex")];
    const sealed = sealedSecrets({ value: old, file: "unused" }).seal("s", "x");
    const both = sealedSecrets({ value: `${fresh},${old}`, file: "unused" });
    expect(both.open(sealed, "x")).toBe("s");
    expect(sealedSecrets({ value: fresh, file: "unused" }).open(both.seal("t", "x"), "x")).toBe("t");
    expect(() => sealedSecrets({ value: fresh, file: "unused" }).open(sealed, "x")).toThrow(new RegExp(`key ${sealed.split(".")[1]}`));
  });

  test("a key that others may read, an empty file and half a key are refused, and the key is not in the message", () => {
    const half = randomBytes(16).toString("base64");
    expect(() => sealedSecrets({ value: half, file: "unused" }).seal("s", "x")).toThrow(expect.objectContaining({ code: "SECRET_KEY_UNUSABLE", message: expect.not.stringContaining(half) as string }));
    const open = join(folder, "open");
    writeFileSync(open, key(), { mode: 0o644 });
    expect(() => sealedSecrets({ value: undefined, file: open }).seal("s", "x")).toThrow(/others may read it/);
    const empty = join(folder, "empty");
    writeFileSync(empty, "\n", { mode: 0o600 });
    expect(() => sealedSecrets({ value: undefined, file: empty }).seal("s", "x")).toThrow(/holds no key/);
  });
});
