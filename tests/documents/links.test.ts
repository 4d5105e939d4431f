// What the documents point at is there: files, headings, and the files of the source that they name.
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";
import { MAY_IMPORT } from "../../scripts/lint/import-direction.js";
import { packagePath } from "../../src/package-root.js";

function documents(): string[] {
  const below = (folder: string) =>
    readdirSync(packagePath(folder), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile() && entry.name.endsWith(".md")).map((entry) => join(entry.parentPath, entry.name));
  const top = readdirSync(packagePath()).filter((name) => name.endsWith(".md")).map((name) => packagePath(name));
  return [...top, ...below("docs"), ...below("examples"), ...below("src")];
}

/** How GitHub names the anchor of a heading. */
function anchorOf(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replace(/\s/g, "-");
}

function anchors(file: string): string[] {
  return [...withoutCode(readFileSync(file, "utf8")).matchAll(/^#+ (.+)$/gm)].map((match) => anchorOf(match[1]!));
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "");
}

test.each(documents().map((file) => relative(packagePath(), file)))("the links of %s lead somewhere", (name) => {
  const file = packagePath(name);
  const broken = [...withoutCode(readFileSync(file, "utf8")).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map((match) => match[1]!).filter((link) => {
    const [path, anchor] = link.split("#") as [string, string | undefined];
    const target = path === "" ? file : resolve(dirname(file), path);
    if (!existsSync(target)) return true;
    return anchor !== undefined && statSync(target).isFile() && !anchors(target).includes(anchor);
  });
  expect(broken).toEqual([]);
});

test.each(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "docs/operations.md"])("the files and npm scripts that %s names exist", (name) => {
  const text = readFileSync(packagePath(name), "utf8");
  const scripts = Object.keys((JSON.parse(readFileSync(packagePath("package.json"), "utf8")) as { scripts: object }).scripts);
  const paths = [...text.matchAll(/`((?:src|tests|migrations|scripts|docs|deploy|examples|bench|bin|\.ci)\/[\w./-]*)`/g)].map((match) => match[1]!);
  expect(paths.filter((path) => !existsSync(packagePath(path)))).toEqual([]);
  const called = [...text.matchAll(/npm run ([a-z][a-z:]*[a-z])/g)].map((match) => match[1]!);
  expect(called.filter((script) => !scripts.includes(script))).toEqual([]);
});

test("the map of ARCHITECTURE.md has every folder of src once, each above all that it imports", () => {
  const rows = [...readFileSync(packagePath("ARCHITECTURE.md"), "utf8").matchAll(/^\| `src\/([a-z-]+)` \|/gm)].map((match) => match[1]!);
  expect([...rows].sort()).toEqual(readdirSync(packagePath("src"), { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort());
  const upwards = rows.flatMap((folder, at) => ((MAY_IMPORT as Readonly<Record<string, readonly string[]>>)[folder] ?? []).filter((other) => rows.indexOf(other) < at && other !== "root").map((other) => `${folder} imports ${other}`));
  expect(upwards).toEqual([]);
});
