// `trainyard data …` against a real server: files sent over HTTP, what is told of them, how they differ, and every refusal with its exit code.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { cli, newFolder, startUp, type Up } from "./support.js";

let up: Up;
let end = async () => undefined as void;
const data = newFolder("data-");
beforeAll(async () => {
  mkdirSync(join(data, "team"));
  up = await startUp({ env: { TRAINYARD_DATA_DIRS: data, TRAINYARD_UPLOAD_LIMIT_BYTES: "50000000" }, atEnd: (given) => void (end = given) });
}, 60_000);
afterAll(() => end());

const dialogue = (id: number, length = 3) => ({ messages: [{ role: "system", content: "Be brief." }, { role: "user", content: `What is ${id} + 1?` }, { role: "assistant", content: "x".repeat(length) }], level: id % 2 === 0 ? "easy" : "hard" });
const lines = (rows: readonly unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
const chat = (from: number, to: number, length?: number) => lines(Array.from({ length: to - from }, (_, index) => dialogue(from + index, length)));
function localFile(name: string, content: string | Uint8Array): string {
  const path = join(newFolder("local-"), name);
  writeFileSync(path, content);
  return path;
}
const json = async <T = any>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await up.cli(...args, "--json");
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
};
const uploads = () => readdirSync(join(up.dataDir, "uploads")).filter((name) => name.startsWith("upl_"));

/** A line to the server of its own: `pass` sees every piece that goes there and says what goes on instead; null cuts the line. */
async function proxied(pass: (piece: Buffer, before: number) => Buffer | null): Promise<string> {
  const target = Number(new URL(up.url).port);
  const proxy = createServer((client) => {
    const server = connect(target, "127.0.0.1");
    let before = 0;
    client.on("data", (piece) => {
      const passed = pass(piece, before);
      before += piece.length;
      if (passed === null) client.destroy(), server.destroy();
      else server.write(passed);
    });
    server.pipe(client);
    for (const socket of [client, server]) socket.on("error", () => undefined).on("close", () => (client.destroy(), server.destroy()));
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => proxy.once("listening", resolve));
  onTestFinished(() => void proxy.close());
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
}

describe("data add", { timeout: 60_000 }, () => {
  test("uploads a file and prints what was registered; the next commands go to stderr", async () => {
    const text = chat(0, 40);
    const file = localFile("my chat.jsonl", text);
    const { code, stdout, stderr } = await up.cli("data", "add", file);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^my-chat@1 {2}dst_\w{26}\n40 rows, [\d.]+ KiB, jsonl\nready for sft \(sft\)\nregistered 0s ago by .*sha256 [0-9a-f]{64}\n$/)]);
    expect(stdout).toContain(createHash("sha256").update(text).digest("hex"));
    for (const command of ["data preview my-chat@1", "data stats my-chat@1", "dataset:my-chat@1"]) expect(stderr).toContain(command);
    const [upload] = uploads();
    expect(readFileSync(join(up.dataDir, "uploads", upload!, "my chat.jsonl"), "utf8")).toBe(text);
  });

  test("the same content again is the same version, other content the next one; --json gives the facts and --quiet the id", async () => {
    const first = await json("data", "add", localFile("a.jsonl.gz", gzipSync(chat(0, 10))), "--name", "team/versions");
    expect(first).toMatchObject({ name: "team/versions", version: 1, rows: 10, format: "jsonl", tasks: ["SFT"], suitableFor: ["SFT"] });
    expect((await up.cli("data", "add", localFile("b.jsonl.gz", gzipSync(chat(0, 10))), "--name", "team/versions", "--quiet")).stdout).toBe(`${first.id as string}\n`);
    const second = await up.cli("data", "add", localFile("c.jsonl", chat(0, 11)), "--name", "team/versions");
    expect(second.stdout).toMatch(/^team\/versions@2 /);
    expect(second.stderr).toContain("data diff team/versions@1 team/versions@2");
  });

  test("--in-place registers a file of the server's data directories by its path, whole or relative, and uploads nothing", async () => {
    writeFileSync(join(data, "team", "here.jsonl"), lines([{ question: "1+1?", answer: "2" }]));
    const before = uploads();
    expect(await json("data", "add", "team/here.jsonl", "--in-place", "--name", "relative")).toMatchObject({ name: "relative", version: 1, rows: 1, suitableFor: [] });
    expect((await up.cli("data", "add", join(data, "team", "here.jsonl"), "--in-place")).stdout).toMatch(/^here@1 .*\n1 rows.*\nraw: a preprocess stage/);
    expect(await json("data", "show", "relative")).toMatchObject({ files: [{ host: "control plane", path: join(data, "team", "here.jsonl") }] });
    expect(uploads()).toEqual(before);
  });

  test("paths outside the data directories, also through a link, are refused with the way out", async () => {
    symlinkSync("/etc", join(data, "out"));
    for (const path of ["/etc/hostname", "out/hostname", "../x.jsonl", "nothing.jsonl"]) {
      const { code, stdout, stderr } = await up.cli("data", "add", path, "--in-place", "--name", "x");
      expect([path, code, stdout]).toEqual([path, 2, ""]);
      expect(stderr).toContain("TRAINYARD_DATA_DIRS");
      expect(stderr).toContain(`data add ${path}`);
    }
  });

  test("what cannot be data is refused before anything is sent", async () => {
    const before = uploads();
    const refused: [string[], string][] = [
      [["missing.jsonl"], "data add missing.jsonl --in-place"], [[newFolder()], "is no file"], [[localFile("model.bin", "x")], ".jsonl"], [[localFile("a.jsonl", "{}\n"), "--name", "-x"], "--name"], [[localFile("é.jsonl", "{}\n"), "--name", "é"], "--name"],
    ];
    for (const [args, hint] of refused) {
      const { code, stdout, stderr } = await up.cli("data", "add", ...args);
      expect([args, code, stdout]).toEqual([args, 2, ""]);
      expect(stderr).toContain(hint);
    }
    const large = localFile("large.jsonl", "");
    truncateSync(large, 60_000_000);
    const { code, stderr } = await up.cli("data", "add", large);
    expect([code, stderr]).toEqual([2, expect.stringMatching(/TRAINYARD_UPLOAD_LIMIT_BYTES[\s\S]*--in-place/)]);
    expect(uploads()).toEqual(before);
  });

  test("a file that is not what it claims to be is uploaded, and refused with the line", async () => {
    const { code, stderr } = await up.cli("data", "add", localFile("cut.json", '[{"a":1},\n{"a":'));
    expect([code, stderr]).toEqual([2, expect.stringMatching(/line 1[\s\S]*preprocess stage/)]);
  });

  test("a role that may not is exit code 4, no server exit code 1", async () => {
    const file = localFile("a.jsonl", chat(0, 3));
    const viewer = await json<{ token: string }>("token", "create", "--role", "viewer", "--name", "reader");
    const as = (env: Record<string, string>) => cli(["data", "add", file], { env: { TRAINYARD_URL: up.url, ...env } });
    expect(await as({ TRAINYARD_TOKEN: viewer.token })).toMatchObject({ code: 4, stdout: "", stderr: expect.stringContaining("operator") });
    expect(await as({ TRAINYARD_TOKEN: "nonsense" })).toMatchObject({ code: 4, stderr: expect.stringContaining("TRAINYARD_TOKEN") });
    expect(await as({})).toMatchObject({ code: 4 });
    expect(await as({ TRAINYARD_URL: "http://127.0.0.1:9" })).toMatchObject({ code: 1, stderr: expect.stringContaining("trainyard up") });
    expect((await cli(["data", "preview", "my-chat", "-q"], { env: { TRAINYARD_URL: up.url, TRAINYARD_TOKEN: viewer.token } })).code).toBe(0);
  });

  test("bytes that change on the way are noticed, and nothing of them is registered", async () => {
    const url = await proxied((piece, before) => {
      const at = piece.indexOf("What is 7 +");
      if (before === 0 || at < 0) return piece;
      piece[at] = piece[at]! ^ 1;
      return piece;
    });
    const { code, stdout, stderr } = await cli(["data", "add", localFile("changed.jsonl", chat(0, 30)), "--name", "changed"], { env: { TRAINYARD_URL: url, TRAINYARD_TOKEN: up.token } });
    expect([code, stdout, stderr]).toEqual([1, "", expect.stringContaining("another content")]);
    expect((await up.cli("data", "show", "changed")).code).toBe(5);
  });

  test("a line that is cut leaves nothing on the server, and says to send it again", async () => {
    const before = uploads();
    const url = await proxied((piece, sent) => (sent > 3_000_000 ? null : piece));
    const { code, stderr } = await cli(["data", "add", localFile("cut.jsonl", chat(0, 40_000, 200)), "--name", "cut"], { env: { TRAINYARD_URL: url, TRAINYARD_TOKEN: up.token } });
    expect([code, stderr]).toEqual([1, expect.stringMatching(/broke off[\s\S]*Send it again/)]);
    expect(await pollUntil(() => readdirSync(join(up.dataDir, "uploads")).filter((name) => name.startsWith(".partial-")).every((name) => readdirSync(join(up.dataDir, "uploads", name)).length === 0), 10_000)).toBe(true);
    expect(uploads()).toEqual(before);
  });
});

describe("reading", { timeout: 60_000 }, () => {
  beforeAll(async () => {
    for (const [name, text] of [["one", chat(0, 100)], ["two", chat(20, 150, 9)]] as const) writeFileSync(join(data, `${name}.jsonl`), text);
    await json("data", "add", "one.jsonl", "--in-place", "--name", "read/chat");
    await json("data", "add", "two.jsonl", "--in-place", "--name", "read/chat");
  }, 60_000);

  test("ls lists every version newest first, by name too, and says what each suits", async () => {
    expect((await json("data", "ls", "read/")).map(({ name, version }: { name: string; version: number }) => `${name}@${version}`)).toEqual(["read/chat@2", "read/chat@1"]);
    const { stdout } = await up.cli("data", "ls", "read/");
    expect(stdout.split("\n")[0]).toMatch(/^NAME\s+VERSION\s+ROWS\s+SIZE\s+FORMAT\s+SUITABLE FOR\s+AGE\s+ID$/);
    expect(stdout).toMatch(/^read\/chat\s+2\s+130\s+[\d.]+ KiB\s+jsonl\s+sft\s+\d+s ago\s+dst_/m);
    expect((await json("data", "ls", "-n", "1"))).toHaveLength(1);
    expect(await up.cli("data", "ls", "no-such-name")).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("data add") });
  });

  test("show tells columns with their nulls, where it lies, its versions, and its lineage both ways", async () => {
    const spec = join(newFolder(), "p.json");
    writeFileSync(spec, JSON.stringify({ name: "prep", stages: [{ name: "prepare", kind: "preprocess", params: { input: "dataset:read/chat@1", task: "sft", dataset: "read/prepared" } }] }));
    expect((await up.cli("submit", spec, "--watch")).code).toBe(0);
    const raw = await up.cli("data", "show", "read/chat@v1");
    expect(raw.stdout).toMatch(/columns\n +COLUMN +NULLS +TYPE\n +messages +0 +list<struct<role: string, content: string>>/);
    expect(raw.stdout).toContain(`control plane:${join(data, "one.jsonl")}`);
    expect(raw.stdout).toMatch(/read by\n +prep \/ prepare {2}stg_\w+ {2}which made read\/prepared-train@1/);
    expect(raw.stdout).toMatch(/versions\n +@2 [^\n]*\n +@1 [^\n]*this one/);
    const made = await json("data", "show", "read/prepared-train");
    expect(made).toMatchObject({ version: 1, format: "parquet", suitableFor: ["SFT"], madeBy: { name: "prepare", pipeline: { name: "prep" }, datasetsRead: [{ name: "read/chat", version: 1 }] } });
    expect((await up.cli("data", "show", made.id)).stdout).toContain("made by");
  });

  test("preview shows dialogues to be read, --json the rows themselves, over the size of a page", async () => {
    const { stdout, stderr } = await up.cli("data", "preview", "read/chat@1", "--from", "7", "--rows", "2");
    expect(stdout).toBe(["row 7", "  messages", "    system: Be brief.", "    user: What is 7 + 1?", "    assistant: xxx", "  level: hard", "", "row 8", "  messages", "    system: Be brief.", "    user: What is 8 + 1?", "    assistant: xxx", "  level: easy", "", ""].join("\n"));
    expect(stderr).toContain("data preview read/chat@1 --from 9 --rows 2");
    expect(await json("data", "preview", "read/chat", "--rows", "1000")).toEqual(chat(20, 150, 9).trim().split("\n").map((line) => JSON.parse(line) as unknown));
    expect(await up.cli("data", "preview", "read/chat", "--from", "500")).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining("130 rows") });
  });

  test("long and hostile texts are cut and made harmless, and shown whole with --full", async () => {
    await json("data", "add", localFile("long.jsonl", lines([{ text: `${"line\n".repeat(40)}\u001b[2Jend`, "bad\u001bname": 1 }])), "--name", "long");
    const short = (await up.cli("data", "preview", "long")).stdout;
    expect(short).toMatch(/characters more; --full/);
    expect(short.match(/^ +line$/gm)).toHaveLength(15);
    const full = (await up.cli("data", "preview", "long", "--full")).stdout;
    expect(full.match(/^ +line$/gm)).toHaveLength(40);
    expect(full).toContain("\\x1b[2Jend");
    expect(full).not.toContain("\u001b");
  });

  test("rows of a file that is gone come from the sample, and that is said", async () => {
    writeFileSync(join(data, "gone.jsonl"), chat(0, 60));
    await json("data", "add", "gone.jsonl", "--in-place");
    writeFileSync(join(data, "gone.jsonl"), "");
    expect(await up.cli("data", "preview", "gone", "--rows", "2")).toMatchObject({ code: 0, stdout: expect.stringContaining("What is 1 + 1?"), stderr: expect.stringContaining("first 20 of 60 rows") });
    expect(await up.cli("data", "preview", "gone", "--from", "40")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("data show gone@1") });
    expect(await up.cli("data", "diff", "gone", "read/chat")).toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(/^error: The rows of gone@1 cannot be read here/) });
  });

  test("stats gives percentiles and says what the tokens are by", async () => {
    const { stdout } = await up.cli("data", "stats", "read/chat@1");
    expect(stdout).toMatch(/^PER ROW +IN +ROWS +MIN +P5 +P25 +P50 +P75 +P95 +P99 +MAX +MEAN$/m);
    expect(stdout).toMatch(/^assistant +characters +100 +3 +3 +3 +3 +3 +3 +3 +3 +3$/m);
    expect(stdout).toMatch(/^turns +messages +100 +2/m);
    expect(stdout).toContain("estimated from characters");
    expect(await json("data", "stats", "read/chat@1")).toMatchObject({ name: "read/chat", version: 1, statistics: { rows: 100, tokens: { by: "estimate" } } });
    expect(await up.cli("data", "stats", "read/prepared-train")).toMatchObject({ code: 0, stdout: expect.stringContaining("assistant") });
  });

  test("diff of a name compares its newest version with the one before; of two, any two", async () => {
    const { stdout, stderr, code } = await up.cli("data", "diff", "read/chat");
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^read\/chat@1 → read\/chat@2\n\+130 rows added, −100 removed, 0 the same\n/)]);
    expect(stdout).toMatch(/^ +assistant +3 → 9 +3 → 9 +3 → 9 +3 → 9 +3 → 9 +\+200 %$/m);
    expect(stdout).toContain("rows added (5 of 130)");
    expect(stderr).toContain("data preview read/chat@2 --from 0 --rows 1");
    await json("data", "add", localFile("more.jsonl", `${chat(0, 100)}${lines([{ ...dialogue(1_000), level: "odd", source: "web" }])}`), "--name", "read/more");
    expect(await json("data", "diff", "read/chat@1", "read/more")).toMatchObject({
      from: { name: "read/chat", version: 1 }, to: { name: "read/more" }, rowsSame: 100, rowsAdded: 1, rowsRemoved: 0, columns: [{ name: "source", change: "ADDED", to: { type: "string", nullCount: 100 } }], added: [{ row: 100, value: { level: "odd" } }], removed: [],
    });
    const other = (await up.cli("data", "diff", "read/chat@1", "read/more")).stdout;
    expect(other).toMatch(/\+ source: string/);
    expect(other).toMatch(/odd {2}0 % → 1\.0 %/);
    expect((await up.cli("data", "diff", "read/more", "read/more")).stdout).toContain("byte for byte");
    expect(await up.cli("data", "diff", "read/more")).toMatchObject({ code: 2, stderr: expect.stringContaining("data diff <a> read/more@1") });
  });

  test("what is not there is exit code 5, with the nearest name or the newest version", async () => {
    for (const args of [["show"], ["preview"], ["stats"], ["diff"]]) {
      const { code, stdout, stderr } = await up.cli("data", ...args, "read/chatt");
      expect([args, code, stdout]).toEqual([args, 5, ""]);
      expect(stderr).toContain("Did you mean read/chat?");
    }
    expect(await up.cli("data", "show", "read/chat@7")).toMatchObject({ code: 5, stderr: expect.stringContaining("data show read/chat@2") });
    expect(await up.cli("data", "diff", "read/chat", "dst_00000000000000000000000000")).toMatchObject({ code: 5, stderr: expect.stringContaining("data ls") });
    for (const args of [["data", "preview", "x", "--rows", "0"], ["data", "preview", "x", "--from", "-1"], ["data", "add"], ["data", "nonsense"], ["data", "ls", "--limit", "many"]]) expect([args, (await up.cli(...args)).code]).toEqual([args, 2]);
  });
});
