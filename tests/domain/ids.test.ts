import { expect, test } from "vitest";
import { idKind, isId, newId, type IdKind } from "../../src/domain/ids.js";

const KINDS: IdKind[] = ["pip", "stg", "att", "agt", "ckp", "evl", "tok", "ses", "dst", "upl", "job", "ano"];

test.each(KINDS)("an id of kind %s shows its kind and no other", (kind) => {
  const id = newId(kind);
  expect(id).toMatch(new RegExp(`^${kind}_[0-9a-hjkmnp-tv-z]{26}$`));
  expect(idKind(id)).toBe(kind);
  for (const other of KINDS) expect(isId(other, id)).toBe(other === kind);
});

test("ids made later sort later", () => {
  const ids = [0, 1, 31, 32, 1_000, 1_767_225_600_000, 1_767_225_600_001, 2 ** 48].map((at) => newId("pip", at));
  expect([...ids].sort()).toEqual(ids);
});

test("the same moment spells the same ten characters, fractions of a millisecond included", () => {
  expect(newId("pip", 1_767_225_600_000.7).slice(0, 14)).toBe(newId("pip", 1_767_225_600_000).slice(0, 14));
});

test("ids do not repeat", () => {
  expect(new Set(Array.from({ length: 10_000 }, () => newId("att", 0))).size).toBe(10_000);
});

test.each(["", "pip_", "pip", "xyz_00000000000000000000000000", "pip_0000000000000000000000000i", "pip_00000000000000000000000000\n", "PIP_00000000000000000000000000", "pip_000000000000000000000000000", " pip_00000000000000000000000000"])("%j is no id of ours", (text) => {
  expect(idKind(text)).toBeNull();
});
