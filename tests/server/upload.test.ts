import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest, type ClientRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Role } from "../../src/access/roles.js";
import { newId } from "../../src/domain/ids.js";
import { createUploads } from "../../src/registry/uploads.js";
import { startApi, type Api } from "../schema/api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi({ http: { uploadLimit: 3_000_000, uploadsAtOnce: 2, stalledAfterMs: 400, wholeRequestMs: 700 } }); });
afterAll(() => api.stop());

const chat = (count: number) => Array.from({ length: count }, (_, index) => `${JSON.stringify({ messages: [{ role: "user", content: `q ${index}` }, { role: "assistant", content: "a" }] })}\n`).join("");
const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

interface Sending { readonly request: ClientRequest; readonly answer: Promise<{ status: number; body: any }> }
/** Begins an upload; the caller writes the body. */
function begin(name: string, headers: Record<string, string | number> = {}, who: Role | null = "operator", method = "PUT"): Sending {
  const url = new URL(`/data/v1/uploads?name=${encodeURIComponent(name)}`, api.url);
  const request = httpRequest(url, { method, headers: { ...(who === null ? {} : { authorization: `Bearer ${api.tokens[who]}` }), ...headers } });
  const answer = new Promise<{ status: number; body: any }>((resolve, reject) => {
    request.on("response", (response: IncomingMessage) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part)).on("end", () => resolve({ status: response.statusCode!, body: JSON.parse(Buffer.concat(parts).toString() || "{}") })).on("error", reject);
    });
    request.on("error", reject);
  });
  answer.catch(() => undefined);
  return { request, answer };
}
function send(name: string, body: string | Uint8Array, headers: Record<string, string | number> = {}, who: Role | null = "operator", method = "PUT") {
  const { request, answer } = begin(name, { "content-length": Buffer.byteLength(body), ...headers }, who, method);
  request.end(body);
  return answer;
}
const codeOf = ({ status, body }: { status: number; body: any }) => [status, body.errors?.[0]?.extensions?.code];
/** What lies in the folder of uploads, below folders of this process too. */
const kept = () => readdirSync(join(api.folder, "uploads"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name).sort();
const rows = async () => (await api.world.database.db.selectFrom("uploads").select(["id", "name"]).orderBy("created_at").execute());
const audits = (outcome: string) => api.world.database.db.selectFrom("audit").select(["actor", "subject", "code", "input"]).where("action", "=", "upload").where("outcome", "=", outcome as never).orderBy("id", "desc").limit(1).executeTakeFirst();

describe("an upload", () => {
  test("is stored whole, answers size and hash, leaves an audit row, and is registered by its id", async () => {
    const text = chat(500);
    const { status, body } = await send("train set.jsonl", text, { "x-content-sha256": sha256(text).toUpperCase() });
    expect([status, body]).toEqual([201, { id: expect.stringMatching(/^upl_/), name: "train set.jsonl", sizeBytes: Buffer.byteLength(text), contentHash: sha256(text) }]);
    expect(readFileSync(join(api.folder, "uploads", body.id, "train set.jsonl"), "utf8")).toBe(text);
    expect(statSync(join(api.folder, "uploads", body.id)).mode & 0o077).toBe(0);
    expect(await audits("ACCEPTED")).toMatchObject({ actor: "the operator", subject: body.id, input: { name: "train set.jsonl", sizeBytes: Buffer.byteLength(text) } });
    const { registerDataset } = await api.data(`mutation ($path: String!) { registerDataset(input: { name: "up/one", path: $path }) { __typename ... on RegisterDatasetPayload { dataset { rows contentHash } } } }`, { path: body.id });
    expect(registerDataset).toEqual({ __typename: "RegisterDatasetPayload", dataset: { rows: 500, contentHash: sha256(text) } });
  });

  test("without a length, in pieces, and empty", async () => {
    const { request, answer } = begin("pieces.jsonl");
    for (let piece = 0; piece < 20; piece++) request.write(chat(10));
    request.end();
    expect((await answer).body).toMatchObject({ sizeBytes: Buffer.byteLength(chat(10)) * 20 });
    expect((await send("empty.jsonl", "")).body).toMatchObject({ sizeBytes: 0, contentHash: sha256("") });
  });

  test("may take longer than a sender may be silent", async () => {
    const { request, answer } = begin("slow.jsonl");
    const begun = Date.now();
    while (Date.now() - begun < 1_000) {
      request.write(chat(1));
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    request.end();
    expect((await answer).status).toBe(201);
  });
});

describe("is refused, with nothing left behind,", () => {
  let before: { files: string[]; rows: number };
  const nothingLeft = async () => {
    await expect.poll(kept).toEqual(before.files);
    expect(await rows()).toHaveLength(before.rows);
  };
  beforeAll(async () => { before = { files: kept(), rows: (await rows()).length }; });

  test.each<[string, string, number, string]>([
    ["a name with folders", "../../evil.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["a name with backslashes", "..\\evil.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["an absolute name", "/etc/cron.d/x.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["no name", "", 400, "UPLOAD_NAME_REFUSED"],
    ["two dots", "..", 400, "UPLOAD_NAME_REFUSED"],
    ["a hidden name", ".bashrc.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["a name with a NUL", "a\u0000.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["a name with a line break", "a\n.jsonl", 400, "UPLOAD_NAME_REFUSED"],
    ["a name longer than a file system takes", `${"x".repeat(300)}.jsonl`, 400, "UPLOAD_NAME_REFUSED"],
    ["an ending that is no data", "notes.pdf", 400, "UPLOAD_NAME_REFUSED"],
  ])("%s", async (_what, name, status, code) => {
    expect(codeOf(await send(name, chat(3)))).toEqual([status, code]);
    await nothingLeft();
  });

  test.each<[string, Role | null, number, string]>([["without a token", null, 401, "UNAUTHENTICATED"], ["by a viewer", "viewer", 403, "FORBIDDEN"], ["by an agent", "agent", 403, "FORBIDDEN"]])("%s", async (_what, who, status, code) => {
    expect(codeOf(await send("a.jsonl", chat(3), {}, who))).toEqual([status, code]);
    await nothingLeft();
  });

  test("another method, a coded body, the rest of a file, and a hash that is none", async () => {
    expect(codeOf(await send("a.jsonl", chat(3), {}, "operator", "POST"))).toEqual([400, "BAD_REQUEST"]);
    expect(codeOf(await send("a.jsonl", chat(3), { "content-encoding": "gzip" }))).toEqual([400, "BAD_REQUEST"]);
    expect(codeOf(await send("a.jsonl", chat(3), { "content-range": "bytes 100-199/200" }))).toEqual([400, "BAD_REQUEST"]);
    expect(codeOf(await send("a.jsonl", chat(3), { "x-content-sha256": "abc" }))).toEqual([400, "BAD_REQUEST"]);
    await nothingLeft();
  });

  test("with other bytes than its hash says; the refusal is in the audit trail", async () => {
    expect(codeOf(await send("a.jsonl", chat(3), { "x-content-sha256": sha256("other") }))).toEqual([422, "UPLOAD_HASH_MISMATCH"]);
    expect(await audits("REFUSED")).toMatchObject({ actor: "the operator", subject: null, code: "UPLOAD_HASH_MISMATCH" });
    await nothingLeft();
  });

  test("when it is too large, by its announced length before a byte is read and by counted bytes", async () => {
    const { request, answer } = begin("a.jsonl", { "content-length": 3_000_001, expect: "100-continue" });
    let asked = false;
    request.on("continue", () => { asked = true; });
    request.flushHeaders();
    expect(codeOf(await answer)).toEqual([413, "UPLOAD_TOO_LARGE"]);
    expect(asked).toBe(false);
    request.destroy();
    const counted = begin("a.jsonl");
    const chunk = Buffer.alloc(500_000, 32);
    for (let sent = 0; sent < 4_000_000; sent += chunk.length) counted.request.write(chunk);
    counted.request.end();
    expect(codeOf(await counted.answer)).toEqual([413, "UPLOAD_TOO_LARGE"]);
    await nothingLeft();
  });

  test("when the sender breaks off in the middle", async () => {
    const { request } = begin("broken.jsonl", { "content-length": 100_000 });
    request.write(chat(100));
    await expect.poll(kept).toContain("broken.jsonl");
    request.destroy();
    await nothingLeft();
    await expect.poll(async () => (await audits("REFUSED"))?.code).toBe("UPLOAD_BROKEN_OFF");
  });

  test("when nothing comes any more", async () => {
    const { request, answer } = begin("stalled.jsonl", { "content-length": 100_000 });
    request.write(chat(100));
    expect(codeOf(await answer)).toEqual([408, "UPLOAD_STALLED"]);
    await nothingLeft();
  });

  test("when as many are under way as may be; afterwards there is room again", async () => {
    const two = [begin("one.jsonl"), begin("two.jsonl")];
    const beating = setInterval(() => two.forEach(({ request }) => request.write("\n")), 50);
    for (const { request } of two) request.write(chat(1));
    await expect.poll(() => kept().filter((name) => /^(one|two)\.jsonl$/.test(name))).toHaveLength(2);
    expect(codeOf(await send("three.jsonl", chat(1)))).toEqual([503, "UPLOADS_BUSY"]);
    clearInterval(beating);
    for (const { request } of two) request.destroy();
    await nothingLeft();
    const { status, body } = await send("three.jsonl", chat(1));
    expect(status).toBe(201);
    before = { files: [...before.files, body.name].sort(), rows: before.rows + 1 };
  });

  test("when its token is revoked meanwhile", async () => {
    const made = (await api.data('mutation { createToken(input: { name: "soon gone", role: OPERATOR }) { ... on CreateTokenPayload { secret token { id } } } }')).createToken;
    const { request, answer } = begin("revoked.jsonl", { authorization: `Bearer ${made.secret}` }, null);
    request.write(chat(1));
    await expect.poll(kept).toContain("revoked.jsonl");
    const beating = setInterval(() => request.write("\n"), 50);
    await api.data("mutation ($id: ID!) { revokeToken(id: $id) { __typename } }", { id: made.token.id });
    expect(codeOf(await answer)).toEqual([400, "UPLOAD_BROKEN_OFF"]);
    clearInterval(beating);
    request.destroy();
    await nothingLeft();
  });
});

test("an upload that the disk has no room for is refused before it is read", async () => {
  const full = await startApi({ http: { uploadReserve: Number.MAX_SAFE_INTEGER } });
  try {
    const url = new URL("/data/v1/uploads?name=a.jsonl", full.url);
    const response = await fetch(url, { method: "PUT", body: chat(1), headers: { authorization: `Bearer ${full.tokens.operator}` } });
    expect([response.status, ((await response.json()) as any).errors[0].extensions.code]).toEqual([507, "UPLOAD_NO_SPACE"]);
    expect(await full.world.database.db.selectFrom("uploads").selectAll().execute()).toEqual([]);
  } finally {
    await full.stop();
  }
});

test("what a killed process left behind is swept; what a living one writes, and what is kept, stays", async () => {
  const folder = join(api.folder, "uploads");
  const { request } = begin("living.jsonl");
  request.write(chat(1));
  await expect.poll(kept).toContain("living.jsonl");
  const own = readdirSync(folder).find((name) => name.startsWith(".partial-"))!;
  const [realm, , startedAt] = own.slice(".partial-".length).split("-");
  const dead = join(folder, `.partial-${realm}-${process.pid}-${Buffer.from(`${Buffer.from(startedAt!, "hex").toString()}0`).toString("hex")}`, "upl_x");
  mkdirSync(dead, { recursive: true });
  writeFileSync(join(dead, "half.jsonl"), chat(1));
  const uploads = createUploads({ db: api.world.database.db, folder, limitBytes: 1 });
  expect(await uploads.sweep()).toBe(1);
  expect(existsSync(dead)).toBe(false);
  expect(kept()).toContain("living.jsonl");
  expect(kept()).toContain("train set.jsonl");
  request.destroy();
});

test("a folder that was moved into place and never committed is swept once it is old; one without the mark stays, row or not", async () => {
  const folder = join(api.folder, "uploads");
  const make = (marked: boolean) => {
    const place = join(folder, newId("upl"));
    mkdirSync(place);
    writeFileSync(join(place, "a.jsonl"), chat(1));
    if (marked) writeFileSync(join(place, ".uncommitted"), "");
    return place;
  };
  const [stray, unmarked] = [make(true), make(false)];
  const uploads = createUploads({ db: api.world.database.db, folder, limitBytes: 1, committingMs: 200 });
  expect(await uploads.sweep()).toBe(0); // a transaction may just be committing
  await expect.poll(() => uploads.sweep()).toBe(1);
  expect([existsSync(stray), existsSync(unmarked)]).toEqual([false, true]);
  expect(readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith(".uncommitted"))).toEqual([]);
});

test("a request that is no upload must come whole in its time, however steadily it trickles", async () => {
  const { port } = new URL(api.url);
  const socket = connect(Number(port), "127.0.0.1");
  let answer = "";
  const over = new Promise<void>((resolve) => socket.setEncoding("utf8").on("data", (part: string) => { answer += part; }).on("error", () => undefined).on("close", () => resolve()));
  socket.write("POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n");
  await expect.poll(() => answer).toMatch(/^HTTP\/1\.1 100 Continue/);
  const trickle = setInterval(() => socket.write(" "), 50);
  await over;
  clearInterval(trickle);
  expect(answer).toMatch(/HTTP\/1\.1 408 [\s\S]*REQUEST_TIMEOUT/);
});
