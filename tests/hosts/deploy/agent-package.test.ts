// The archive that an agent is deployed from: made of the installation here, unpacked by Python, run by Node.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, inject, test } from "vitest";
import { packAgent, packNode } from "../../../src/hosts/deploy/agent-package.js";
import { tarArchive, type TarEntry } from "../../../src/hosts/deploy/tar-writer.js";
import { packagePath } from "../../../src/package-root.js";
import { buildCommandLine } from "../../support/built-cli.js";

const UNPACK = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";
const newFolder = (): string => mkdtempSync(join(inject("runFolder"), "pack-"));

describe("the package of an agent", { timeout: 120_000 }, () => {
  beforeAll(buildCommandLine, 120_000);

  test("holds everything that the agent needs, and nothing else: unpacked anywhere, it loads", async () => {
    const folder = newFolder();
    const packed = await packAgent({ root: packagePath(), folder });
    const place = newFolder();
    execFileSync("python3", ["-c", UNPACK, packed.archive.path, place]);
    expect(execFileSync(process.execPath, [join(place, "package/dist/agent/deployed-agent.program.js"), "--check"], { cwd: place, encoding: "utf8" }).trim()).toBe(packed.version);
    const manifest = readFileSync(join(place, "manifest"), "utf8");
    expect(createHash("sha256").update(manifest).digest("hex")).toBe(packed.hash);
    for (const line of manifest.trimEnd().split("\n")) expect(createHash("sha256").update(readFileSync(join(place, line.slice(67)))).digest("hex"), line.slice(67)).toBe(line.slice(0, 64));
    const paths = manifest.trimEnd().split("\n").map((line) => line.slice(67));
    expect(paths).toEqual([...paths].sort()); // not as some file system happens to list them
    expect(manifest).toContain("package/src/verl/python/");
    expect(manifest).toContain("package/dist/data/preprocess.worker.js");
    expect(manifest).not.toMatch(/package\/(migrations|dist\/registry|node_modules\/(pg|graphql|ssh2|typescript)\/)|\.map$/m);
  });

  test("is the same from the same files, wherever they lie, and another when one byte differs", async () => {
    const copy = newFolder();
    for (const path of ["package.json", "LICENSE", "dist", "src/verl"]) cpSync(packagePath(path), join(copy, path), { recursive: true });
    symlinkSync(packagePath("node_modules"), join(copy, "node_modules"));
    const here = await packAgent({ root: packagePath(), folder: newFolder() });
    const there = await packAgent({ root: copy, folder: newFolder() });
    expect({ ...there, archive: { ...there.archive, path: "" } }).toEqual({ ...here, archive: { ...here.archive, path: "" } });
    writeFileSync(join(copy, "LICENSE"), "another");
    expect((await packAgent({ root: copy, folder: newFolder() })).hash).not.toBe(here.hash);
    rmSync(join(copy, "dist/agent-files.json"));
    await expect(packAgent({ root: copy, folder: newFolder() })).rejects.toMatchObject({ code: "AGENT_PACKAGE_INCOMPLETE", message: expect.stringContaining("npm run build") });
  });

  test("archives that no deployment used for two weeks go when another is made; what else lies there stays", async () => {
    const folder = newFolder();
    const days = (n: number): Date => new Date(Date.now() - n * 86_400_000);
    const lay = (name: string, at: Date): string => {
      writeFileSync(join(folder, name), "x");
      utimesSync(join(folder, name), at, at);
      return name;
    };
    const [agent, node] = [`agent-${"a".repeat(64)}.tar.gz`, `node-${"b".repeat(64)}.gz`];
    const stays = [lay(`agent-${"c".repeat(64)}.tar.gz`, days(13)), lay("notes.gz", days(90))];
    for (const name of [agent, `${agent}.0123abcd`, node]) lay(name, days(15));
    const binary = join(newFolder(), "node");
    writeFileSync(binary, "#!");
    const { archive } = await packNode({ folder, binary, version: "v20.0.0" });
    expect(readdirSync(folder).sort()).toEqual([...stays, archive.path.slice(folder.length + 1)].sort());
    utimesSync(archive.path, days(15), days(15));
    await packNode({ folder, binary, version: "v20.0.0" }); // a use
    writeFileSync(binary, "#!!");
    await packNode({ folder, binary, version: "v20.0.1" });
    expect(readdirSync(folder)).toContain(archive.path.slice(folder.length + 1));
  });

  test("packages in several versions lie so that each finds its own", async () => {
    const root = newFolder();
    const write = (path: string, content: string): void => {
      mkdirSync(join(root, path, ".."), { recursive: true });
      writeFileSync(join(root, path), content);
    };
    const add = (at: string, name: string, value: string, dependencies: Record<string, string> = {}): void => {
      write(`${at}/package.json`, JSON.stringify({ name, version: "1.0.0", main: "index.js", dependencies }));
      write(`${at}/index.js`, `module.exports = ${value};`);
    };
    add("node_modules/a", "a", `"a:" + require("c")`, { c: "1" });
    add("node_modules/b", "b", `"b:" + require("c")`, { c: "2" });
    add("node_modules/b/node_modules/c", "c", `"c2"`);
    add("node_modules/c", "c", `"c1"`);
    write("package.json", JSON.stringify({ name: "trainyard", version: "9.9.9" }));
    write("LICENSE", "none");
    write("src/verl/python/x.py", "");
    write("src/verl/keys/x.json", "{}");
    write("dist/agent-files.json", JSON.stringify({ files: ["agent/deployed-agent.program.js"], packages: ["a", "b"] }));
    write("dist/agent/deployed-agent.program.js", `console.log(require("a"), require("b"))`);
    const place = newFolder();
    execFileSync("python3", ["-c", UNPACK, (await packAgent({ root, folder: newFolder() })).archive.path, place]);
    expect(execFileSync(process.execPath, [join(place, "package/dist/agent/deployed-agent.program.js")], { encoding: "utf8" }).trim()).toBe("a:c1 b:c2");
  });

  test("Node is packed as it is", async () => {
    const folder = newFolder();
    const packed = await packNode({ folder });
    const out = execFileSync("python3", ["-c", "import gzip, hashlib, sys; print(hashlib.sha256(gzip.open(sys.argv[1]).read()).hexdigest())", packed.archive.path], { encoding: "utf8" }).trim();
    expect(out).toBe(packed.sha256);
    expect(packed.sha256).toBe(createHash("sha256").update(readFileSync(process.execPath)).digest("hex"));
  });
});

describe("the tar writer", () => {
  test("names of every length and letter, empty files and whole blocks arrive as they are", () => {
    const folder = newFolder();
    const entries: TarEntry[] = [
      { path: "short", executable: true, content: Buffer.from("x") },
      { path: `${"d".repeat(90)}/${"e".repeat(60)}/${"f".repeat(90)}`, executable: false, content: Buffer.alloc(0) },
      { path: `deep/${"g".repeat(120)}/${"h".repeat(180)}`, executable: false, content: Buffer.alloc(512, 1) },
      { path: "é/ü ö.txt", executable: false, content: Buffer.alloc(1_025, 2) },
    ];
    const file = join(folder, "a.tar");
    writeFileSync(file, Buffer.concat([...tarArchive(entries)]));
    const program = "import json, sys, tarfile\nt = tarfile.open(sys.argv[1])\nprint(json.dumps([[m.name, m.mode & 0o111, m.mtime, m.uid, list(t.extractfile(m).read())] for m in t]))";
    const read = JSON.parse(execFileSync("python3", ["-c", program, file], { encoding: "utf8", env: { ...process.env, PYTHONIOENCODING: "utf8" } })) as unknown[];
    expect(read).toEqual(entries.map(({ path, executable, content }) => [path, executable ? 0o111 : 0, 0, 0, [...content]]));
  });
});
