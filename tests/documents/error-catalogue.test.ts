// docs/errors.md explains every code, and no code that nothing throws.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ERRORS, FAILURES, PROBLEMS } from "../../src/domain/error-catalogue.js";
import { FAILURE_CODES } from "../../src/domain/pipeline/spec.js";
import { packagePath } from "../../src/package-root.js";

const CODE = "[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*";
/** Where a code is given birth to: the first argument of an error, its field `code`, or a closed list of codes. */
const BIRTHPLACES = [
  new RegExp(`new [A-Za-z]+Error\\(\\s*"(${CODE})"`, "g"),
  new RegExp(`super\\(\\s*"(${CODE})"`, "g"),
  new RegExp(`\\bcode(?:: string)? = "(${CODE})"`, "g"),
  new RegExp(`\\bcode: "(${CODE})"`, "g"),
  new RegExp(`\\[\\], "(${CODE})"\\)`, "g"),
  new RegExp(`\\brefuse\\([^"\\n]*"(${CODE})"`, "g"),
  new RegExp(`\\bproblem\\([^"\\n]*"(${CODE})"`, "g"),
];

const catalogue = { ...ERRORS, ...PROBLEMS, ...FAILURES } as Readonly<Record<string, { meaning: string; action: string }>>;

function sources(): { file: string; text: string }[] {
  return readdirSync(packagePath("src"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && entry.name !== "error-catalogue.ts")
    .map((entry) => ({ file: join(entry.parentPath, entry.name), text: readFileSync(join(entry.parentPath, entry.name), "utf8") }));
}

function thrownCodes(): Map<string, string> {
  const codes = new Map<string, string>();
  for (const { file, text } of sources()) {
    for (const birthplace of BIRTHPLACES) for (const match of text.matchAll(birthplace)) codes.set(match[1]!, file);
    for (const union of text.matchAll(/type \w*ErrorCode =([^;]*);/g)) for (const match of union[1]!.matchAll(new RegExp(`"(${CODE})"`, "g"))) codes.set(match[1]!, file);
  }
  return codes;
}

/** Codes of the operating system and of libraries that we compare with, never throw. */
const FOREIGN = /^E[A-Z]+$|^UND_ERR|_CERT|^UNABLE_TO_VERIFY/;

test("every code that is thrown is explained in the catalogue", () => {
  const unexplained = [...thrownCodes()].filter(([code]) => catalogue[code] === undefined && !FOREIGN.test(code)).map(([code, file]) => `${code} (${file})`);
  expect(unexplained).toEqual([]);
});

test("every code that the catalogue explains occurs in the source", () => {
  const texts = sources().map(({ text }) => text).join("\n");
  expect(Object.keys({ ...ERRORS, ...PROBLEMS }).filter((code) => !texts.includes(`"${code}"`))).toEqual([]);
});

test("every failure code is explained", () => {
  expect(Object.keys(FAILURES).sort()).toEqual([...FAILURE_CODES].sort());
});

test("explanations are whole sentences that tell what to do", () => {
  for (const [code, { meaning, action }] of Object.entries(catalogue)) {
    expect(meaning, code).toMatch(/^\S[^\n]*\.$/);
    expect(action, code).toMatch(/[.)\w]$/);
    expect(action.length, code).toBeGreaterThan(5);
  }
});
