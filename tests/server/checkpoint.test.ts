import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, renameSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { Role } from "../../src/access/roles.js";
import { newId } from "../../src/domain/ids.js";
import { cli, startCli } from "../cli/support.js";
import { startApi, type Api } from "../schema/api-world.js";
import { startCutLine, type CutLine } from "../support/cut-line.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";

const MB = 1024 * 1024;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
let api: Api;
let line: CutLine;
let count = 0;
beforeAll(async () => {
  api = await startApi({ http: { stalledAfterMs: 1_000 } });
  line = await startCutLine(Number(new URL(api.url).port));
});
afterAll(async () => {
  await line.stop();
  await api.stop();
});

/** A checkpoint that an agent of that name reported, at a path with these files. */
async function reported(agentName: string, path: string, sizes: Readonly<Record<string, number>>): Promise<{ id: string; bytes: Map<string, Buffer> }> {
  const bytes = new Map<string, Buffer>();
  for (const [name, size] of Object.entries(sizes)) {
    mkdirSync(join(path, name, ".."), { recursive: true });
    bytes.set(name, randomBytes(size));
    writeFileSync(join(path, name), bytes.get(name)!);
  }
  const queue = `q-${++count}`;
  const agent = await api.world.agent({ name: agentName, pools: [{ queues: [queue], concurrency: 1 }], run: () => "hold" });
  const pipelineId = await api.world.submit({ name: `p-${count}`, stages: [{ name: "make", kind: "command", queue, params: { run: ["true"] } }] });
  await api.world.until(pipelineId, (state) => state.stages.at(0).status === "RUNNING");
  const assignment = agent.started.find((each) => each.pipelineId === pipelineId)!;
  await agent.report({ type: "checkpoint", attemptId: assignment.attemptId, fence: 1, step: 7, path, sizeBytes: null });
  const { pipeline } = await api.data("query ($id: ID!) { pipeline(id: $id) { stages { checkpoints { id } } } }", { id: pipelineId });
  return { id: pipeline.stages[0].checkpoints[0].id, bytes };
}
const ownPath = () => join(realpathSync(api.folder), "agent", "attempts", `a-${count}`, "global_step_7");
const get = (path: string, headers: Record<string, string> = {}, who: Role | null = "operator") => fetch(new URL(`/data/v1/checkpoints/${path}`, api.url), { headers: { ...headers, ...(who === null ? {} : { authorization: `Bearer ${api.tokens[who]}` }) } });
const codeOf = async (answer: Response) => [answer.status, ((await answer.json()) as any).errors[0].extensions.code];
const environment = () => ({ TRAINYARD_URL: `http://127.0.0.1:${line.port}`, TRAINYARD_TOKEN: api.tokens.operator });
const fetching = (...args: string[]) => cli(["checkpoint", "fetch", ...args], { env: environment() });
const newFolder = () => mkdtempSync(join(inject("runFolder"), "fetch-"));
const filesBelow = (folder: string) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
const expectWhole = (folder: string, bytes: Map<string, Buffer>) => {
  expect(filesBelow(folder)).toEqual([...bytes.keys()].sort());
  for (const [name, content] of bytes) expect(readFileSync(join(folder, name)).equals(content), name).toBe(true);
};

describe("a checkpoint of the agent here over HTTP", () => {
  test("is listed, read whole and in ranges, and hashed; every reading leaves an audit row", async () => {
    const { id, bytes } = await reported(`here-${count}`, ownPath(), { "model.pt": 600_000, "tokenizer/vocab.json": 10, "empty": 0 });
    const listing = (await (await get(id)).json()) as any;
    expect(listing).toMatchObject({ id, host: expect.stringMatching(/^here-/), step: 7, folders: ["tokenizer"], skipped: [], files: [{ path: "empty", sizeBytes: 0 }, { path: "model.pt", sizeBytes: 600_000 }, { path: "tokenizer/vocab.json", sizeBytes: 10 }] });
    const whole = await get(`${id}/file?path=model.pt`);
    expect([whole.status, whole.headers.get("etag")]).toEqual([200, `"${listing.files[1].version}"`]);
    expect(Buffer.from(await whole.arrayBuffer()).equals(bytes.get("model.pt")!)).toBe(true);
    const rest = await get(`${id}/file?path=model.pt`, { range: "bytes=599990-", "if-match": `"${listing.files[1].version}"` });
    expect([rest.status, rest.headers.get("content-range")]).toEqual([206, "bytes 599990-599999/600000"]);
    expect(Buffer.from(await rest.arrayBuffer()).equals(bytes.get("model.pt")!.subarray(599_990))).toBe(true);
    expect(await (await get(`${id}/file?path=empty`)).text()).toBe("");
    const lines = (await (await get(`${id}/sha256?path=model.pt`)).text()).trimEnd().split("\n").map((text) => JSON.parse(text) as any);
    expect(lines.at(-1)).toEqual({ sha256: sha256(bytes.get("model.pt")!), version: listing.files[1].version });
    const audits = await api.world.database.db.selectFrom("audit").select(["actor", "input", "outcome"]).where("action", "=", "fetchCheckpoint").where("subject", "=", id).orderBy("id").execute();
    expect(audits.map(({ actor, outcome, input }) => [actor, outcome, (input as any).path])).toEqual([["the operator", "ACCEPTED", undefined], ["the operator", "ACCEPTED", "model.pt"], ["the operator", "ACCEPTED", "model.pt"], ["the operator", "ACCEPTED", "empty"]]);
  });

  test("is for operators; nothing beside it can be read, and no link is followed", async () => {
    const path = ownPath();
    const { id } = await reported(`here-${count}`, path, { "model.pt": 10 });
    writeFileSync(join(path, "..", "secret"), "s");
    symlinkSync("../secret", join(path, "link"));
    symlinkSync("..", join(path, "up"));
    expect(await codeOf(await get(id, {}, null))).toEqual([401, "UNAUTHENTICATED"]);
    expect(await codeOf(await get(id, {}, "viewer"))).toEqual([403, "FORBIDDEN"]);
    expect(await codeOf(await get(id, {}, "agent"))).toEqual([403, "FORBIDDEN"]);
    expect(((await (await get(id)).json()) as any).skipped).toEqual(expect.arrayContaining([{ path: "link", kind: "link" }, { path: "up", kind: "link" }]));
    for (const bad of ["../secret", "/etc/passwd", "", ".", "a//b", "x/../../secret", "a\0b"]) expect(await codeOf(await get(`${id}/file?path=${encodeURIComponent(bad)}`)), bad).toEqual([400, "INVALID_INPUT"]);
    for (const none of ["link", "up/secret", "none", "model.pt/x"]) for (const what of ["file", "sha256"]) expect(await codeOf(await get(`${id}/${what}?path=${encodeURIComponent(none)}`)), none).toEqual([404, "NOT_FOUND"]);
    expect(await codeOf(await get(`${id}/file?path=model.pt`, { range: "bytes=10-" }))).toEqual([416, "RANGE_REFUSED"]);
    expect(await codeOf(await get(`${id}/file?path=model.pt`, { "if-match": "\"1-1\"" }))).toEqual([412, "FILE_CHANGED"]);
    expect(await codeOf(await get(`${newId("ckp")}`))).toEqual([404, "NOT_FOUND"]);
    expect(await codeOf(await get(`${id}/what`))).toEqual([404, "NOT_FOUND"]);
  });

  test("that lies elsewhere is refused with host, path and the line that copies it", async () => {
    const outside = mkdtempSync(join(inject("runFolder"), "else where-"));
    const { id } = await reported("far", outside, { "model.pt": 10 });
    const answer = (await (await get(id)).json()) as any;
    expect(answer.errors[0]).toMatchObject({ extensions: { code: "CHECKPOINT_ELSEWHERE" }, message: expect.stringContaining(`rsync -a --partial --progress 'far:${outside}/' ./${id}/`) });
    const { code, stderr } = await fetching(id);
    expect([code, stderr]).toEqual([1, expect.stringContaining(`lie on far at ${outside}`)]);
  });

  test("comes over the command line; once more fetches nothing; a file that was harmed comes again", async () => {
    const { id, bytes } = await reported(`here-${count}`, ownPath(), { "model.pt": 3 * MB, "tokenizer/vocab.json": 10, "empty": 0 });
    const folder = join(newFolder(), "my checkpoint");
    const first = await fetching(id, "--to", folder, "--json");
    expect([first.code, JSON.parse(first.stdout)]).toEqual([0, expect.objectContaining({ id, to: folder, files: 3, sizeBytes: 3 * MB + 10, fetchedBytes: 3 * MB + 10 })]);
    expectWhole(folder, bytes);
    writeFileSync(join(folder, "tokenizer", "vocab.json"), "0123456789");
    expect(JSON.parse((await fetching(id, "--to", folder, "--json")).stdout)).toMatchObject({ fetchedBytes: 10 });
    expectWhole(folder, bytes);
  }, 60_000);

  test("cut in the middle it goes on, also in a new process; nothing half-written has its final name", async () => {
    const { id, bytes } = await reported(`here-${count}`, ownPath(), { "model.pt": 40 * MB });
    const folder = newFolder();
    const before = line.down;
    line.cutAfter(20 * MB);
    expect((await fetching(id, "--to", folder)).code).toBe(0);
    expectWhole(folder, bytes);
    expect(line.down - before).toBeLessThan(52 * MB);
    rmSync(join(folder, "model.pt"));
    const running = await startCli(["checkpoint", "fetch", id, "--to", folder], { env: environment() });
    const partial = () => readdirSync(folder).find((name) => /^\.model\.pt\.[0-9a-f]{8}\.partial$/.test(name));
    await expect.poll(() => partial() !== undefined && statSync(join(folder, partial()!)).size >= 4 * MB, { timeout: 30_000, interval: 2 }).toBe(true);
    running.process.kill("SIGKILL");
    await running.ended;
    if (!existsSync(join(folder, "model.pt"))) { // it was not faster than the kill
      truncateSync(join(folder, partial()!), 4 * MB);
      const again = JSON.parse((await fetching(id, "--to", folder, "--json")).stdout) as { fetchedBytes: number };
      expect(again.fetchedBytes).toBe(36 * MB);
    }
    expectWhole(folder, bytes);
    // A part that went bad is found by its hash, and the file comes anew.
    const [name] = [".model.pt"];
    const identity = createHash("sha256").update(JSON.stringify([id, "model.pt", ((await (await get(id)).json()) as any).files[0].version])).digest("hex").slice(0, 8);
    renameSync(join(folder, "model.pt"), join(folder, `${name}.${identity}.partial`));
    truncateSync(join(folder, `${name}.${identity}.partial`), 5 * MB);
    const bad = readFileSync(join(folder, `${name}.${identity}.partial`));
    bad[9]! ^= 1;
    writeFileSync(join(folder, `${name}.${identity}.partial`), bad);
    expect(JSON.parse((await fetching(id, "--to", folder, "--json")).stdout)).toMatchObject({ fetchedBytes: 75 * MB });
    expectWhole(folder, bytes);
  }, 120_000);

  test("a folder that cannot be written, and a token that may not, are named", async () => {
    const { id } = await reported(`here-${count}`, ownPath(), { "model.pt": 10 });
    const folder = newFolder();
    writeFileSync(join(folder, "file"), "");
    expect(await fetching(id, "--to", join(folder, "file", "x"))).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot be written") });
    expect(await cli(["checkpoint", "fetch", id], { env: { ...environment(), TRAINYARD_TOKEN: api.tokens.viewer } })).toMatchObject({ code: 4, stderr: expect.stringContaining("role operator") });
    expect(await fetching("ckp_none")).toMatchObject({ code: 5 });
    chmodSync(folder, 0o700);
  }, 60_000);
});

describe.skipIf(!sshdIsHere)("a checkpoint on an SSH host over HTTP", () => {
  let sshd: OwnSshd;
  let toHost: CutLine;
  let hostCount = 0;
  beforeAll(async () => {
    sshd = await startSshd();
    toHost = await startCutLine(sshd.port);
  });
  afterAll(async () => {
    await toHost.stop();
    await sshd.stop();
  });
  const added = async () => {
    const name = `gpu-${++hostCount}`;
    const { addSshHost } = await api.data("mutation ($input: AddSshHostInput!) { addSshHost(input: $input) { __typename ... on SshHostPayload { sshHost { id } } ... on DomainError { code message } } }", {
      input: { name, host: "127.0.0.1", port: toHost.port, username: sshd.access().username, privateKey: sshd.privateKey, hostKeyFingerprint: sshd.hostKey.fingerprint, workingDirectory: join(sshd.folder, "work") },
    });
    expect(addSshHost.__typename, JSON.stringify(addSshHost)).toBe("SshHostPayload");
    return { name, path: join(sshd.folder, name, "global_step_7") };
  };

  test("comes whole and verified over the command line, over cuts of both ways", async () => {
    const { name, path } = await added();
    const { id, bytes } = await reported(name, path, { "actor/model_rank_0.pt": 40 * MB, "actor/huggingface/config.json": 700, "data.pt": 3 * MB, "latest é.txt": 0 });
    symlinkSync("/etc/passwd", join(path, "passwd"));
    mkdirSync(join(path, "none in it"));
    const folder = newFolder();
    line.cutAfter(15 * MB);
    toHost.cutAfter(25 * MB);
    const cuts = [line.cuts, toHost.cuts];
    const { code, stdout, stderr } = await fetching(id, "--to", folder);
    expect([code, stderr]).toEqual([0, expect.stringContaining("passwd (link)")]);
    expect(stdout).toMatch(/4 files, .* sha256 equal to that on gpu-/);
    expect([line.cuts, toHost.cuts]).toEqual(cuts.map((before) => before + 1));
    expectWhole(folder, bytes);
    expect(statSync(join(folder, "none in it")).isDirectory()).toBe(true);
    expect(JSON.parse((await fetching(id, "--to", folder, "--json")).stdout)).toMatchObject({ fetchedBytes: 0 });
  }, 120_000);

  test("nothing beside it can be read; a file that changed, a checkpoint that is one file, a host that is away", async () => {
    const { name, path } = await added();
    const { id } = await reported(name, path, { "model.pt": 10, "sub/x": 3 });
    symlinkSync("/etc", join(path, "etc"));
    for (const none of ["etc/passwd", "none", "model.pt/x", "sub"]) expect(await codeOf(await get(`${id}/file?path=${encodeURIComponent(none)}`)), none).toEqual([404, "NOT_FOUND"]);
    expect(await codeOf(await get(`${id}/file?path=..%2Fsecret`))).toEqual([400, "INVALID_INPUT"]);
    const { version } = ((await (await get(id)).json()) as any).files[0];
    writeFileSync(join(path, "model.pt"), "another!!!");
    expect(await codeOf(await get(`${id}/file?path=model.pt`, { "if-match": `"${version}"` }))).toEqual([412, "FILE_CHANGED"]);
    rmSync(path, { recursive: true });
    writeFileSync(path, "one file");
    const folder = newFolder();
    expect((await fetching(id, "--to", folder)).code).toBe(0);
    expect(readFileSync(join(folder, "global_step_7"), "utf8")).toBe("one file");
    rmSync(path);
    expect(await codeOf(await get(id))).toEqual([404, "SSH_FILE_MISSING"]);
    await sshd.kill();
    toHost.cut();
    await expect.poll(async () => codeOf(await get(id)), { timeout: 20_000 }).toEqual([503, expect.stringMatching(/^SSH_(CONNECTION_LOST|NOT_ANSWERING|UNREACHABLE)$/)]);
    await sshd.start();
    await expect.poll(async () => (await codeOf(await get(id)))[0], { timeout: 20_000 }).toBe(404);
  }, 120_000);
});
