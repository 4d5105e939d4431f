import { randomBytes } from "node:crypto";
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import type { TransferProgress } from "../../src/hosts/file-sync.js";
import { sshdIsHere } from "../support/sshd.js";
import { smallDisk, smallDisksAreHere, startFilesWorld, type FilesWorld } from "./files-world.js";

const MB = 1024 * 1024;

describe.skipIf(!sshdIsHere)("a folder that is fetched from a host", () => {
  const endings: (() => unknown)[] = [];
  afterEach(async () => { for (const end of endings.splice(0).reverse()) await end(); });
  const start = () => startFilesWorld((end) => endings.push(end));
  const checkpoint = (world: FilesWorld, sizes: Readonly<Record<string, number>>) => {
    const there = join(world.sshd.folder, "global_step_7");
    const bytes = new Map<string, Buffer>();
    for (const [name, size] of Object.entries(sizes)) {
      const path = join(there, name);
      mkdirSync(join(path, ".."), { recursive: true });
      bytes.set(name, randomBytes(size));
      writeFileSync(path, bytes.get(name)!);
    }
    return { there, bytes };
  };
  const filesBelow = (folder: string) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();

  test("comes whole: nested and empty folders, empty files, names with blanks; links are named and left there", async () => {
    const world = await start();
    const { there, bytes } = checkpoint(world, { "actor/model_world_size_1_rank_0.pt": 9 * MB + 3, "actor/huggingface/config.json": 700, "latest checkpointed é.txt": 0, "data.pt": MB });
    mkdirSync(join(there, "empty"));
    symlinkSync("/etc/passwd", join(there, "actor", "passwd"));
    symlinkSync("/etc", join(there, "etc"));
    const seen: TransferProgress[] = [];
    const back = join(world.here, "back");
    const { files, skipped } = await world.open().files.fetchTree(there, back, { progress: (progress) => seen.push(progress) });
    expect(files.map(({ path }) => path).sort()).toEqual([...bytes.keys()].sort());
    expect(filesBelow(back)).toEqual([...bytes.keys()].sort());
    for (const [name, content] of bytes) expect(readFileSync(join(back, name)).equals(content), name).toBe(true);
    expect(statSync(join(back, "empty")).isDirectory()).toBe(true);
    expect(skipped).toEqual([{ path: "actor/passwd", kind: "link" }, { path: "etc", kind: "link" }]);
    expect(Math.max(...seen.map(({ doneBytes }) => doneBytes))).toBe(10 * MB + 703);
    expect(seen.every(({ totalBytes }) => totalBytes === 10 * MB + 703)).toBe(true);
  });

  test("goes on where it was after a cut in the middle; nothing half-written has its final name; once more fetches nothing", async () => {
    const world = await start();
    const { there, bytes } = checkpoint(world, { "model.pt": 72 * MB, "optim.pt": 24 * MB });
    const { files, link } = world.open();
    await link.helper();
    const back = join(world.here, "back");
    world.line.cutAfter(48 * MB);
    const sizes = new Set<string>();
    const look = setInterval(() => { for (const name of existsSync(back) ? readdirSync(back) : []) if (!name.startsWith(".")) sizes.add(`${name} ${statSync(join(back, name)).size}`); }, 5);
    const fetched = await files.fetchTree(there, back).finally(() => clearInterval(look));
    expect(world.line.cuts).toBe(1);
    for (const [name, content] of bytes) expect(readFileSync(join(back, name)).equals(content), name).toBe(true);
    expect(world.line.down).toBeLessThan(96 * MB + 40 * MB); // of two files what was under way at the cut comes twice: up to 16 MiB each, and what sockets hold
    expect([...sizes].filter((entry) => !["model.pt " + 72 * MB, "optim.pt " + 24 * MB].includes(entry))).toEqual([]);
    expect(fetched.files.every(({ fetchedBytes, sizeBytes }) => fetchedBytes <= sizeBytes + 16 * MB)).toBe(true);
    const again = await files.fetchTree(there, back);
    expect(again.files.map(({ fetchedBytes }) => fetchedBytes)).toEqual([0, 0]);
    expect(again.files.map(({ sha256 }) => sha256)).toEqual(fetched.files.map(({ sha256 }) => sha256));
  }, 60_000);

  test("a part that went bad here is found and fetched anew from there; a whole file that differs is fetched anew", async () => {
    const world = await start();
    const { there, bytes } = checkpoint(world, { "model.pt": 12 * MB });
    const back = join(world.here, "back");
    const stopping = new AbortController();
    const { files } = world.open();
    await expect(files.fetchTree(there, back, { signal: stopping.signal, progress: ({ doneBytes }) => { if (doneBytes >= 8 * MB) stopping.abort(new Error("enough")); } })).rejects.toThrow("enough");
    const [partial] = readdirSync(back);
    expect(partial).toMatch(/^\.model\.pt\.[0-9a-f]{8}\.partial$/);
    const part = readFileSync(join(back, partial!));
    part[3 * MB + 1]! ^= 1;
    writeFileSync(join(back, partial!), part);
    const fetched = await files.fetchTree(there, back);
    expect(fetched.files[0]!.fetchedBytes).toBe(9 * MB);
    expect(readFileSync(join(back, "model.pt")).equals(bytes.get("model.pt")!)).toBe(true);
    const other = Buffer.from(bytes.get("model.pt")!);
    other[5]! ^= 1;
    writeFileSync(join(back, "model.pt"), other);
    expect((await files.fetchTree(there, back)).files[0]!.fetchedBytes).toBe(12 * MB);
    expect(readFileSync(join(back, "model.pt")).equals(bytes.get("model.pt")!)).toBe(true);
    expect(readdirSync(back)).toEqual(["model.pt"]);
  }, 60_000);

  test("a part of what the file was before is not gone on from", async () => {
    const world = await start();
    const { there } = checkpoint(world, { "model.pt": 12 * MB });
    const back = join(world.here, "back");
    const stopping = new AbortController();
    const { files } = world.open();
    await expect(files.fetchTree(there, back, { signal: stopping.signal, progress: ({ doneBytes }) => { if (doneBytes >= 8 * MB) stopping.abort(); } })).rejects.toThrow();
    utimesSync(join(there, "model.pt"), new Date(), new Date(Date.now() + 5_000));
    expect((await files.fetchTree(there, back)).files[0]!.fetchedBytes).toBe(12 * MB);
  });

  test("what changes meanwhile, is not there or cannot be written is named", async () => {
    const world = await start();
    const { there } = checkpoint(world, { "log": 9 * MB });
    const { files } = world.open();
    let once = false;
    const growing = files.fetchTree(there, join(world.here, "back"), { progress: ({ phase }) => {
      if (phase !== "fetching" || once) return;
      once = true;
      appendFileSync(join(there, "log"), "more");
    } });
    await expect(growing).rejects.toMatchObject({ code: "SSH_FILE_CHANGED", message: expect.stringMatching(/^gpu1: .*log changed while it was fetched/) as string });
    await expect(files.fetchTree(join(there, "none"), join(world.here, "none"))).rejects.toMatchObject({ code: "SSH_FILE_MISSING" });
    symlinkSync(there, join(world.sshd.folder, "link"));
    await expect(files.fetchTree(join(world.sshd.folder, "link"), join(world.here, "none"))).rejects.toMatchObject({ code: "SSH_FILE_MISSING", message: expect.stringContaining("it is a link") as string });
    writeFileSync(join(world.here, "file"), "");
    await expect(files.fetchTree(there, join(world.here, "file", "below"))).rejects.toMatchObject({ code: "SSH_LOCAL_FILE" });
    writeFileSync(Buffer.concat([Buffer.from(join(there, "bad-")), Buffer.from([0xff])]), ""); // what the host calls it would lead elsewhere, or nowhere, here
    await expect(files.fetchTree(there, join(world.here, "none"))).rejects.toMatchObject({ code: "SSH_TRANSFER_FAILED", message: expect.stringContaining("no name of UTF-8") as string });
    rmSync(there, { recursive: true });
  });

  test.skipIf(!smallDisksAreHere("a full disk here"))("a disk here that fills up is told, and goes on from nothing when there is room", async () => {
    const disk = smallDisk(24, (end) => endings.push(end));
    const world = await start();
    const { there } = checkpoint(world, { "model.pt": 20 * MB });
    const { files } = world.open();
    writeFileSync(join(disk, "other"), Buffer.alloc(10 * MB));
    await expect(files.fetchTree(there, join(disk, "back"))).rejects.toMatchObject({ code: "SSH_LOCAL_FILE", message: expect.stringMatching(/^gpu1: .*model\.pt\.[0-9a-f]{8}\.partial on this machine cannot be written: ENOSPC/) as string });
    expect(readdirSync(join(disk, "back"))).toEqual([]);
    rmSync(join(disk, "other"));
    expect((await files.fetchTree(there, join(disk, "back"))).files[0]!.fetchedBytes).toBe(20 * MB);
  }, 60_000);

  test("what arrived is compared as a whole: bytes that differ although size and time do not are fetched anew", async () => {
    const world = await start();
    const { there } = checkpoint(world, { "model.pt": 9 * MB });
    const model = join(there, "model.pt");
    utimesSync(model, 1_700_000_000, 1_700_000_000);
    let once = false;
    const { files: [fetched] } = await world.open().files.fetchTree(there, join(world.here, "back"), { progress: ({ phase, doneBytes }) => {
      if (phase !== "fetching" || doneBytes === 0 || once) return;
      once = true;
      const file = openSync(model, "r+"); // its first bytes have come already
      writeSync(file, "other", 0);
      closeSync(file);
      utimesSync(model, 1_700_000_000, 1_700_000_000);
    } });
    expect(fetched!.fetchedBytes).toBe(2 * 9 * MB);
    expect(readFileSync(join(world.here, "back", "model.pt")).equals(readFileSync(model))).toBe(true);
  });

  test("of two fetches into one folder at once one fetches each file, and the other finds it there", async () => {
    const world = await start();
    const { there, bytes } = checkpoint(world, { "model.pt": 24 * MB });
    const { files } = world.open();
    const back = join(world.here, "back");
    const both = await Promise.all([files.fetchTree(there, back), files.fetchTree(there, back)]);
    expect(both.map((tree) => tree.files[0]!.fetchedBytes).sort((a, b) => a - b)).toEqual([0, 24 * MB]);
    expect(readFileSync(join(back, "model.pt")).equals(bytes.get("model.pt")!)).toBe(true);
    expect(filesBelow(back)).toEqual(["model.pt"]);
  });
});
