// The thread that moves bulk: real sshd, real files.
import { randomBytes } from "node:crypto";
import { closeSync, fstatSync, ftruncateSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { LocalDiskError, SftpStatusError, startTransferThread, type TransferThread } from "../../src/hosts/transfer-thread.js";
import { sshdIsHere } from "../support/sshd.js";
import { startFilesWorld, type FilesWorld } from "./files-world.js";

const MB = 1024 * 1024;

describe.skipIf(!sshdIsHere)("a connection for files in a thread of its own", () => {
  const endings: (() => unknown)[] = [];
  afterEach(async () => { for (const end of endings.splice(0).reverse()) await end(); });
  const start = async (): Promise<{ world: FilesWorld; thread: TransferThread; there: string; bytes: Buffer }> => {
    const world = await startFilesWorld((end) => endings.push(end));
    const thread = await startTransferThread(world.sshd.access({ port: world.line.port }));
    endings.push(() => thread.end());
    const [there, bytes] = [join(world.sshd.folder, "there"), randomBytes(8 * MB)];
    writeFileSync(there, bytes);
    return { world, thread, there, bytes };
  };
  const openHere = (world: FilesWorld, name: string, flags: string): number => {
    const descriptor = openSync(join(world.here, name), flags);
    endings.push(() => closeSync(descriptor));
    return descriptor;
  };

  test("moves parts to and from a descriptor, and into memory; tells how much there was", async () => {
    const { world, thread, there, bytes } = await start();
    const channel = await thread.channel();
    const handle = await channel.open(there, "r+");
    const here = openHere(world, "here", "w+");
    expect(await channel.fetch(here, { handle, offset: MB, length: 2 * MB })).toBe(2 * MB);
    expect(readFileSync(join(world.here, "here")).subarray(MB).equals(bytes.subarray(MB, 3 * MB))).toBe(true);
    expect(await channel.fetch(here, { handle, offset: 8 * MB - 10, length: MB })).toBe(10);
    expect(Buffer.from(await channel.read({ handle, offset: 8 * MB - 10, length: MB })).equals(bytes.subarray(8 * MB - 10))).toBe(true);
    writeFileSync(join(world.here, "more"), "0123456789");
    expect(await channel.push(openHere(world, "more", "r"), { handle, offset: 4, length: 100 })).toBe(6);
    await channel.close(handle);
    expect(readFileSync(there).subarray(4, 10).toString()).toBe("456789");
  });

  test("what a server or this disk refuses is told as what it was, and the thread goes on", async () => {
    const { world, thread, there } = await start();
    const channel = await thread.channel();
    await expect(channel.open(`${there}-none`, "r")).rejects.toBeInstanceOf(SftpStatusError);
    const handle = await channel.open(there, "r");
    const readOnly = openHere(world, "../there", "r");
    await expect(channel.fetch(readOnly, { handle, offset: 0, length: 10 })).rejects.toMatchObject({ code: "EBADF" });
    await expect(channel.fetch(readOnly, { handle, offset: 0, length: 10 })).rejects.toBeInstanceOf(LocalDiskError);
    expect(await channel.read({ handle, offset: 0, length: 10 })).toHaveLength(10);
  });

  test("when a channel's end is answered, nothing that was under way touches the descriptor any more", async () => {
    const { world, thread, there } = await start();
    const channel = await thread.channel();
    const handle = await channel.open(there, "r");
    const here = openHere(world, "here", "w+");
    const parts = Array.from({ length: 64 }, (_, n) => channel.fetch(here, { handle, offset: n * 128 * 1024, length: 128 * 1024 }));
    const outcomes = Promise.allSettled(parts);
    await parts[0];
    await channel.end();
    ftruncateSync(here, 0);
    await outcomes;
    await channel.closed;
    expect(fstatSync(here).size).toBe(0);
    expect((await outcomes).filter(({ status }) => status === "rejected").length).toBeGreaterThan(0);
  });

  test("a cut rejects all that is under way, and what is asked afterwards", async () => {
    const { world, thread, there } = await start();
    const channel = await thread.channel();
    const handle = await channel.open(there, "r");
    const parts = Array.from({ length: 64 }, (_, n) => channel.read({ handle, offset: n * 128 * 1024, length: 128 * 1024 }));
    const outcomes = Promise.allSettled(parts);
    await parts[0];
    world.line.cut();
    await thread.closed;
    expect((await outcomes).find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "SSH_CONNECTION_LOST" } });
    expect(channel.isOpen()).toBe(false);
    await expect(channel.read({ handle, offset: 0, length: 1 })).rejects.toMatchObject({ code: "SSH_CONNECTION_LOST" });
    await expect(thread.channel()).rejects.toMatchObject({ code: "SSH_CONNECTION_LOST" });
  });

  test("a login that is refused is an error of the host, with its code", async () => {
    const world = await startFilesWorld((end) => endings.push(end));
    const access = world.sshd.access({ credential: { kind: "password", password: "wrong" } });
    await expect(startTransferThread(access)).rejects.toMatchObject({ name: "SshError", code: "SSH_AUTH_REFUSED", retryable: false, message: expect.stringMatching(new RegExp(`^${access.name}: it does not let`)) as string });
  });
});
