import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, chmodSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openFileSync, type TransferProgress } from "../../src/hosts/file-sync.js";
import { openHostLink } from "../../src/hosts/host-link.js";
import { sshdIsHere, startSshd } from "../support/sshd.js";
import { smallDisk, smallDisksAreHere, startFilesWorld, type FilesWorld } from "./files-world.js";

const MB = 1024 * 1024;
/** .ci/run asks for it. */
const large = process.env["TRAINYARD_TEST_LARGE"] === "1";
if (!large) console.warn("NOT RUN: one gigabyte to and from a host with cuts in the middle: it needs 3 GB of disk and some time. TRAINYARD_TEST_LARGE=1 runs it, and .ci/run does.");
const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe.skipIf(!sshdIsHere)("files that are pushed to a host", () => {
  const endings: (() => unknown)[] = [];
  afterEach(async () => { for (const end of endings.splice(0).reverse()) await end(); });
  const start = (directory?: string) => startFilesWorld((end) => endings.push(end), directory);
  const make = (world: FilesWorld, name: string, size: number) => {
    const path = join(world.here, name);
    const bytes = randomBytes(size);
    writeFileSync(path, bytes);
    return { path, bytes, hash: sha256(bytes) };
  };
  const partials = (world: FilesWorld) => readdirSync(world.store).filter((name) => name.endsWith(".partial"));

  test("are there whole, under their hash and their name, read-only; what is there is not sent again", async () => {
    const world = await start();
    const { files } = world.open();
    const { path, bytes, hash } = make(world, "réward fn.py", 300_000);
    const first = await files.push({ path });
    expect(first).toEqual({ path: join(world.store, hash, "réward fn.py"), sha256: hash, sizeBytes: 300_000, sentBytes: 300_000 });
    expect(readFileSync(first.path).equals(bytes)).toBe(true);
    expect(statSync(first.path).mode & 0o777).toBe(0o400);
    const inode = statSync(first.path).ino;
    expect(await files.push({ path, sha256: hash })).toMatchObject({ path: first.path, sentBytes: 0 });
    const other = await files.push({ path, name: "train.parquet", sha256: hash });
    expect(other).toMatchObject({ path: join(world.store, hash, "train.parquet"), sentBytes: 0 });
    expect(statSync(other.path).ino).toBe(inode);
    expect(readdirSync(world.store)).toEqual([hash]);
  });

  test("may be empty, and many at once", async () => {
    const world = await start();
    const { files } = world.open();
    const made = Array.from({ length: 30 }, (_, i) => make(world, `f-${i}`, i * 1_000));
    const pushed = await files.pushAll(made.map(({ path }) => ({ path })));
    pushed.forEach((file, i) => expect(readFileSync(file.path).equals(made[i]!.bytes)).toBe(true));
    expect(partials(world)).toEqual([]);
  });

  test("go on where they were after a cut in the middle: only the rest passes the line, nothing half-written is visible", async () => {
    const world = await start();
    const { files, link } = world.open();
    const { path, bytes, hash } = make(world, "train.jsonl", 96 * MB);
    await link.helper();
    world.line.cutAfter(48 * MB);
    const seen: TransferProgress[] = [];
    const visible = new Set<string>();
    const look = setInterval(() => { if (existsSync(join(world.store, hash))) for (const name of readdirSync(join(world.store, hash))) visible.add(`${name} ${statSync(join(world.store, hash, name)).size}`); }, 5);
    const pushed = await files.push({ path, sha256: hash }, { progress: (progress) => seen.push(progress) }).finally(() => clearInterval(look));
    expect(world.line.cuts).toBe(1);
    expect(readFileSync(pushed.path).equals(bytes)).toBe(true);
    expect(world.line.up).toBeLessThan(96 * MB + 32 * MB); // what was under way at the cut comes twice: 16 MiB, what sockets hold, a step of the comparison
    expect(pushed.sentBytes).toBeLessThan(96 * MB + 32 * MB);
    expect([...visible].filter((entry) => entry !== `train.jsonl ${96 * MB}`)).toEqual([]);
    expect(new Set(seen.map(({ phase }) => phase))).toEqual(new Set(["checking", "sending", "verifying"]));
    expect(seen.at(-1)).toEqual({ path, phase: "verifying", doneBytes: 96 * MB, totalBytes: 96 * MB });
  }, 60_000);

  test.skipIf(!large)("one gigabyte is pushed and fetched, each cut in the middle, and is the same on both sides", async () => {
    const world = await start();
    const { files, link } = world.open();
    const path = join(world.here, "large.bin");
    const out = openSync(path, "w");
    const hash = createHash("sha256");
    for (let left = 1_000_000_000; left > 0; left -= 1_000_000) {
      const bytes = randomBytes(1_000_000);
      hash.update(bytes);
      writeSync(out, bytes);
    }
    closeSync(out);
    const sha256 = hash.digest("hex");
    await link.helper();
    world.line.cutAfter(500_000_000);
    const pushed = await files.push({ path });
    expect(world.line.cuts).toBe(1);
    expect(pushed).toMatchObject({ sha256, sizeBytes: 1_000_000_000 });
    expect(execFileSync("sha256sum", [pushed.path], { encoding: "utf8" }).slice(0, 64)).toBe(sha256);
    world.line.cutAfter(500_000_000);
    const { files: [fetched] } = await files.fetchTree(join(world.store, sha256), join(world.here, "back"));
    expect(world.line.cuts).toBe(2);
    expect(fetched).toMatchObject({ path: "large.bin", sha256, sizeBytes: 1_000_000_000 });
    expect(execFileSync("sha256sum", [join(world.here, "back", "large.bin")], { encoding: "utf8" }).slice(0, 64)).toBe(sha256);
    expect(world.line.up + world.line.down).toBeLessThan(2_150_000_000); // what was under way at a cut comes twice
  }, 300_000);

  test("go on where an aborted push, or one of a process that is gone, had got to", async () => {
    const world = await start();
    const first = world.open();
    const { path, bytes, hash } = make(world, "train.jsonl", 64 * MB);
    const stopping = new AbortController();
    const aborted = first.files.push({ path, sha256: hash }, { signal: stopping.signal, progress: ({ phase, doneBytes }) => { if (phase === "sending" && doneBytes > 32 * MB) stopping.abort(new Error("enough")); } });
    await expect(aborted).rejects.toThrow("enough");
    expect(partials(world)).toEqual([`${hash}.partial`]);
    first.files.close();
    first.link.close();
    const { files } = world.open();
    const pushed = await files.push({ path, sha256: hash });
    expect(pushed.sentBytes).toBeLessThan(34 * MB);
    expect(readFileSync(pushed.path).equals(bytes)).toBe(true);
  }, 60_000);

  test("a part on the host that went bad is found and sent anew from there", async () => {
    const world = await start();
    const { path, bytes, hash } = make(world, "train.jsonl", 12 * MB + 5);
    mkdirSync(world.store, { recursive: true });
    const bad = Buffer.from(bytes.subarray(0, 9 * MB + 77));
    bad[5 * MB + 3]! ^= 1;
    writeFileSync(join(world.store, `${hash}.partial`), bad);
    const { files } = world.open();
    const pushed = await files.push({ path, sha256: hash });
    expect(pushed.sentBytes).toBe(7 * MB + 5);
    expect(readFileSync(pushed.path).equals(bytes)).toBe(true);
    expect(partials(world)).toEqual([]);
  });

  test("a file of the store that was changed since is noticed and replaced; one that was only touched stays", async () => {
    const world = await start();
    const { files } = world.open();
    const { path, bytes, hash } = make(world, "train.jsonl", 3 * MB);
    const { path: there } = await files.push({ path });
    chmodSync(there, 0o600);
    utimesSync(there, new Date(), new Date());
    expect(await files.push({ path, sha256: hash })).toMatchObject({ path: there, sentBytes: 0 });
    const changed = Buffer.from(bytes);
    changed[7]! ^= 1;
    writeFileSync(there, changed);
    expect(await files.push({ path, sha256: hash })).toMatchObject({ path: there, sentBytes: 3 * MB });
    expect(readFileSync(there).equals(bytes)).toBe(true);
    chmodSync(there, 0o600);
    truncateSync(there, 5);
    expect(await files.push({ path, sha256: hash })).toMatchObject({ path: there, sentBytes: 3 * MB });
    expect(readFileSync(there).equals(bytes)).toBe(true);
  });

  test("of several pushes of one hash, in one process and in two, one sends", async () => {
    const world = await start();
    const [one, two] = [world.open().files, world.open().files];
    const { path, bytes, hash } = make(world, "train.jsonl", 40 * MB);
    const pushed = await Promise.all([one, one, two, two].map((files, i) => files.push({ path, sha256: hash, name: i === 1 ? "other.jsonl" : "train.jsonl" })));
    expect(pushed.map(({ sentBytes }) => sentBytes).sort((a, b) => a - b)).toEqual([0, 0, 0, 40 * MB]);
    for (const file of pushed) expect(readFileSync(file.path).equals(bytes)).toBe(true);
    expect(partials(world)).toEqual([]);
    expect(world.line.up).toBeLessThan(48 * MB);
  }, 60_000);

  test("what changed here since its hash was told is refused, and nothing of it stays there", async () => {
    const world = await start();
    const { files } = world.open();
    const { path, hash } = make(world, "train.jsonl", 2 * MB);
    appendFileSync(path, "more");
    await expect(files.push({ path, sha256: hash })).rejects.toMatchObject({ code: "SSH_LOCAL_FILE", message: expect.stringMatching(/^gpu1: .*train\.jsonl on this machine has the sha256/) as string });
    expect(readdirSync(world.store)).toEqual([]);
    await expect(files.push({ path: join(world.here, "none") })).rejects.toMatchObject({ code: "SSH_LOCAL_FILE" });
    await expect(files.push({ path: world.here })).rejects.toMatchObject({ code: "SSH_LOCAL_FILE", message: expect.stringContaining("no regular file") as string });
    await expect(files.push({ path, name: "../up" })).rejects.toMatchObject({ code: "SSH_LOCAL_FILE" });
  });

  test("a place that cannot be written is named", async () => {
    const world = await start();
    const { files } = world.open();
    const { path } = make(world, "train.jsonl", 10);
    mkdirSync(world.root);
    writeFileSync(world.store, "");
    await expect(files.push({ path })).rejects.toMatchObject({ code: "SSH_DIRECTORY_REFUSED", message: expect.stringMatching(/^gpu1: .*store.*Give the user the right/) as string });
  });

  test.skipIf(process.getuid?.() === 0)("a store that is closed to the user is named", async () => {
    const world = await start();
    const { files } = world.open();
    const { path } = make(world, "train.jsonl", 10);
    mkdirSync(world.root);
    mkdirSync(world.store, { mode: 0o500 });
    await expect(files.push({ path })).rejects.toMatchObject({ code: "SSH_DIRECTORY_REFUSED" });
    chmodSync(world.store, 0o700);
  });

  test.skipIf(!smallDisksAreHere("a full disk on a host"))("a full disk is told, before anything is sent or in the middle, and nothing half-written stays", async () => {
    const disk = smallDisk(24, (end) => endings.push(end));
    const world = await start(join(disk, "work"));
    const { files } = world.open();
    const large = make(world, "large", 30 * MB);
    await expect(files.push({ path: large.path })).rejects.toMatchObject({ code: "SSH_DISK_FULL", message: expect.stringMatching(/^gpu1: .*large needs 31457280 bytes more, and the disk of .* has \d+ left/) as string });
    expect(world.line.up).toBeLessThan(MB);
    const fits = make(world, "fits", 20 * MB);
    let filled = false;
    const full = files.push({ path: fits.path }, { progress: ({ phase, doneBytes }) => {
      if (phase !== "sending" || doneBytes < MB || filled) return;
      filled = true;
      try {
        writeFileSync(join(disk, "other"), Buffer.alloc(22 * MB));
      } catch {
        // as much as there was room for
      }
    } });
    await expect(full).rejects.toMatchObject({ code: "SSH_DISK_FULL", message: expect.stringContaining("No space left") as string });
    expect(readdirSync(world.store)).toEqual([]);
  }, 60_000);

  test("what nobody used or asked for in some days goes; what an attempt uses, or is no file of the store, stays", async () => {
    const world = await start();
    const [{ files }, other] = [world.open(), world.open()];
    const [old, used, held, lived, fresh] = ["old", "used", "held", "lived", "fresh"].map((name, i) => make(world, name, 10 + i));
    for (const { path } of [old!, used!, held!, lived!, fresh!]) await files.push({ path });
    const weekAgo = new Date(Date.now() - 7 * 86_400_000);
    for (const name of ["notes", `${"a".repeat(64)}.partial`]) writeFileSync(join(world.store, name), "");
    const [user, holder, living] = ["att_user", "att_holder", "att_living"];
    for (const [id, { hash }] of [[user, used!], [holder, held!], [living, lived!]] as const) expect(await files.use(id, [hash])).toEqual([]);
    expect(await files.use(user, ["b".repeat(64)])).toEqual(["b".repeat(64)]);
    for (const name of [old!.hash, used!.hash, held!.hash, lived!.hash, "notes", `${"a".repeat(64)}.partial`]) utimesSync(join(world.store, name), weekAgo, weekAgo);
    for (const id of [holder, living]) utimesSync(join(world.root, "uses", id), weekAgo, weekAgo);
    const program = spawn("sleep", ["600"], { env: { TRAINYARD_ATTEMPT_ID: living }, stdio: "ignore" });
    endings.push(() => program.kill("SIGKILL"));
    expect((await other.files.sweep(6, [holder])).toSorted()).toEqual([`${"a".repeat(64)}.partial`, old!.hash].sort());
    expect(readdirSync(world.store).sort()).toEqual([used!.hash, held!.hash, lived!.hash, fresh!.hash, "notes"].sort());
    for (const id of [user, holder, living]) utimesSync(join(world.root, "uses", id), weekAgo, weekAgo); // the first sweep saw the last two
    const gone = new Promise((done) => program.once("exit", done));
    program.kill("SIGKILL");
    await gone;
    utimesSync(join(world.store, fresh!.hash), weekAgo, weekAgo);
    await files.push({ path: fresh!.path }); // asked for: young again
    expect((await other.files.sweep(6, [])).toSorted()).toEqual([used!.hash, held!.hash, lived!.hash].sort());
    expect(readdirSync(join(world.root, "uses"))).toEqual(["lock"]);
  });

  test("a part that somebody writes is not swept however old it is", async () => {
    const world = await start();
    const [writer, other] = [world.open(), world.open()];
    const helper = await writer.link.helper();
    const partial = join(world.store, `${"c".repeat(64)}.partial`);
    await helper.store.claim(partial);
    utimesSync(partial, new Date(0), new Date(0));
    expect(await other.files.sweep(1, [])).toEqual([]);
    await helper.store.unclaim(partial, false);
    expect(await other.files.sweep(1, [])).toEqual([`${"c".repeat(64)}.partial`]);
  });

  test("a key that changed between the helper's connection and one for files ends the link with an alarm", async () => {
    const world = await start();
    const alarms: Error[] = [];
    const access = world.sshd.access();
    let port = access.port;
    const link = openHostLink({ name: "gpu1", access: async () => ({ ...access, port }), directory: world.root, pythonEnvironment: null, alarmed: (error) => alarms.push(error) });
    const files = openFileSync(link);
    endings.push(() => { files.close(); link.close(); });
    await link.helper();
    const other = await startSshd();
    endings.push(() => other.stop());
    port = other.port;
    await expect(files.push({ path: make(world, "f", 10).path })).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED" });
    expect(alarms).toMatchObject([{ code: "SSH_HOST_KEY_CHANGED" }]);
    await expect(link.helper()).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED" });
  });
});
