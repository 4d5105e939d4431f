import { spawn } from "node:child_process";
import { createServer, type Server, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connectHost, readHostKey, type HostConnection } from "../../src/hosts/connection.js";
import type { HostAccess } from "../../src/hosts/host-access.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";

/** Output of a command. */
async function output(connection: HostConnection, command: string): Promise<string> {
  const channel = await connection.exec(command);
  let text = "";
  for await (const chunk of channel) text += String(chunk);
  return text.trim();
}

describe.skipIf(!sshdIsHere)("a connection to an SSH host", () => {
  let sshd: OwnSshd;
  const open: HostConnection[] = [];
  const connect = async (access: HostAccess, options = {}): Promise<HostConnection> => {
    const connection = await connectHost(access, options);
    open.push(connection);
    return connection;
  };
  beforeAll(async () => { sshd = await startSshd(); });
  afterEach(() => open.splice(0).forEach((connection) => connection.end()));
  afterAll(() => sshd.stop());

  test("runs programs over one connection, several at once", async () => {
    const accepted = () => sshd.log().split("Accepted publickey").length - 1;
    const before = accepted();
    const connection = await connect(sshd.access());
    await expect.poll(accepted).toBe(before + 1); // sshd may write it after it has let us in
    expect(await Promise.all(Array.from({ length: 20 }, (_, i) => output(connection, `echo ${i}`)))).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
    expect(accepted()).toBe(before + 1);
  });

  test("a host that allows fewer sessions than are wanted gets them one after the other; one that allows none refuses at once", async () => {
    const narrow = await startSshd({ config: ["MaxSessions 2"] });
    const closed = await startSshd({ config: ["MaxSessions 0"] });
    try {
      const connection = await connect(narrow.access());
      expect(await Promise.all(Array.from({ length: 20 }, (_, i) => output(connection, `echo ${i}`)))).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
      await expect(output(await connect(closed.access()), "echo in")).rejects.toMatchObject({ code: "SSH_CHANNEL_REFUSED", message: expect.stringContaining("MaxSessions") as string });
    } finally {
      await narrow.stop();
      await closed.stop();
    }
  });

  for (const type of ["ed25519", "rsa", "ecdsa"] as const) {
    test(`logs in with a key of the type ${type}, from memory and from a file, with and without a passphrase`, async () => {
      const plain = sshd.makeKey(type);
      expect(await output(await connect(sshd.access({ credential: { kind: "key", privateKey: plain.privateKey, passphrase: null } })), "echo in")).toBe("in");
      const closed = sshd.makeKey(type, { passphrase: "open sesame" });
      expect(await output(await connect(sshd.access({ credential: { kind: "key-file", path: closed.file, passphrase: "open sesame" } })), "echo in")).toBe("in");
      if (type === "rsa") expect(sshd.log()).toMatch(/Accepted publickey/);
      expect(sshd.log()).not.toMatch(/ssh-rsa.*not in PubkeyAcceptedAlgorithms/); // signed with SHA-2
    });
  }

  test("logs in through an ssh-agent; an agent that is not there is said", async () => {
    const key = sshd.makeKey("ed25519");
    const socket = join(sshd.folder, "agent.sock");
    const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: "ignore" });
    try {
      await expect.poll(() => spawnResult("ssh-add", [key.file], { SSH_AUTH_SOCK: socket }), { timeout: 10_000 }).toBe(0);
      expect(await output(await connect(sshd.access({ credential: { kind: "agent", socket } })), "echo in")).toBe("in");
    } finally {
      agent.kill();
    }
    await expect(connect(sshd.access({ credential: { kind: "agent", socket: join(sshd.folder, "none") } }))).rejects.toMatchObject({ code: "SSH_AGENT_UNUSABLE", message: expect.stringContaining("SSH_AUTH_SOCK") as string });
  });

  test("passes a jump host, each with its own pinned key; a chain that is cut is one error", async () => {
    const inner = await startSshd();
    try {
      expect(await output(await connect(inner.access({ name: "inner", jump: sshd.access({ name: "bastion" }) })), "echo through")).toBe("through");
      await expect(connect(inner.access({ name: "inner", jump: sshd.access({ name: "bastion", hostKey: inner.hostKey }) }))).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED", host: "bastion" });
      await expect(connect(inner.access({ name: "inner", port: 1, jump: sshd.access({ name: "bastion" }) }))).rejects.toMatchObject({ code: "SSH_CHANNEL_REFUSED", message: expect.stringContaining("127.0.0.1:1") as string });
    } finally {
      await inner.stop();
    }
  });

  test("without a pinned host key nobody logs in: the error names the key that was found", async () => {
    const tries = sshd.log().split("Connection from").length;
    await expect(connect(sshd.access({ hostKey: null }))).rejects.toMatchObject({ code: "SSH_HOST_KEY_UNKNOWN", hostKey: sshd.hostKey, message: expect.stringContaining(sshd.hostKey.fingerprint) as string });
    expect(await readHostKey(sshd.access())).toEqual(sshd.hostKey);
    expect((await readHostKey(sshd.access(), { type: "ssh-rsa" })).type).toBe("ssh-rsa");
    expect(sshd.log().split("Connection from").length - tries).toBe(3);
    expect(sshd.log().split("Connection from").slice(-3).join("")).not.toMatch(/Accepted|Postponed|Failed/);
  });

  test("a changed host key is refused before anything is sent about who we are", async () => {
    const other = await startSshd();
    try {
      const access = other.access();
      await output(await connect(access), "true");
      await other.kill();
      other.changeHostKeys();
      await other.start();
      const from = other.log().length;
      for (let i = 0; i < 3; i++) {
        await expect(connect(access)).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED", retryable: false, hostKey: other.hostKey, message: expect.stringContaining(access.hostKey!.fingerprint) as string });
      }
      expect(other.log().slice(from)).not.toMatch(/Accepted|Postponed|Failed|userauth/);
    } finally {
      await other.stop();
    }
  });

  test("a host that no longer has a key of the pinned type has changed its key too", async () => {
    const other = await startSshd({ hostKeys: ["rsa"] });
    try {
      await expect(connect(other.access({ hostKey: sshd.hostKey }))).rejects.toMatchObject({ code: "SSH_HOST_KEY_CHANGED" });
    } finally {
      await other.stop();
    }
  });

  test("a wrong password and a key that is not let in are refused in words, and never retried as if they passed", async () => {
    await expect(connect(sshd.access({ credential: { kind: "password", password: "wrong-horse" } }))).rejects.toMatchObject({
      code: "SSH_AUTH_REFUSED", retryable: false, message: expect.stringMatching(/^gpu1: .*password(?!.*wrong-horse)/) as string,
    });
    const stranger = sshd.makeKey("ed25519", { letIn: false });
    await expect(connect(sshd.access({ credential: { kind: "key", privateKey: stranger.privateKey, passphrase: null } }))).rejects.toMatchObject({ code: "SSH_AUTH_REFUSED", message: expect.stringContaining("authorized_keys") as string });
  });

  test("keys that cannot be used are refused before anything is connected", async () => {
    const closed = sshd.makeKey("ed25519", { passphrase: "right one" });
    const tries = sshd.log().split("Connection from").length;
    const why = async (privateKey: string, passphrase: string | null = null): Promise<string> => {
      const error = await connect(sshd.access({ credential: { kind: "key", privateKey, passphrase } })).then(() => null, (thrown: Error & { code: string }) => thrown);
      expect(error?.code).toBe("SSH_KEY_UNUSABLE");
      return error!.message;
    };
    expect(await why(closed.privateKey)).toContain("none was given");
    expect(await why(closed.privateKey, "wrong one")).toMatch(/does not open(?!.*wrong one)/);
    expect(await why(closed.publicKey)).toContain("public key");
    expect(await why("-----BEGIN NONSENSE-----")).toContain("no private key");
    await expect(connect(sshd.access({ credential: { kind: "key-file", path: "/nowhere/key", passphrase: null } }))).rejects.toMatchObject({ code: "SSH_KEY_UNUSABLE", message: expect.stringContaining("ENOENT") as string });
    expect(sshd.log().split("Connection from").length).toBe(tries);
  });

  test("a port where nothing listens, a name that is none, and a server that only accepts are told apart", async () => {
    await expect(connect(sshd.access({ port: 1 }))).rejects.toMatchObject({ code: "SSH_UNREACHABLE", retryable: true, message: expect.stringContaining("nothing listens") as string });
    await expect(connect(sshd.access({ host: "no-such-host.invalid" }))).rejects.toMatchObject({ code: "SSH_UNREACHABLE" });
    const mute: Server = createServer(() => undefined);
    await new Promise<void>((done) => mute.listen(0, "127.0.0.1", done));
    const { port } = mute.address() as AddressInfo;
    const startedAt = performance.now();
    await expect(connect(sshd.access({ port }), { timeoutMs: 500 })).rejects.toMatchObject({ code: "SSH_NOT_ANSWERING", retryable: true });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    mute.close();
    const web: Server = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await new Promise<void>((done) => web.listen(0, "127.0.0.1", done));
    await expect(connect(sshd.access({ port: (web.address() as AddressInfo).port }), { timeoutMs: 2_000 })).rejects.toMatchObject({ code: expect.stringMatching(/SSH_NOT_ANSWERING|SSH_UNREACHABLE/) as string });
    web.close();
  });

  test("a server with old algorithms only is refused", async () => {
    const old = await startSshd({ config: ["Ciphers aes128-cbc,3des-cbc"] });
    try {
      await expect(connect(old.access())).rejects.toMatchObject({ code: "SSH_ALGORITHMS" });
    } finally {
      await old.stop();
    }
  });

  test("a lost connection is told once, and what waits on it ends", async () => {
    const other = await startSshd();
    try {
      const connection = await connect(other.access());
      const channel = await connection.exec("sleep 60");
      const ended = new Promise<void>((done) => channel.resume().once("close", () => done()));
      await other.kill();
      expect((await connection.closed)?.code).toBe("SSH_CONNECTION_LOST");
      await ended;
      await expect(connection.exec("true")).rejects.toMatchObject({ code: "SSH_CONNECTION_LOST" });
      const ours = await connect(sshd.access());
      ours.end();
      ours.end();
      expect(await ours.closed).toBeNull();
    } finally {
      await other.stop();
    }
  });
});

function spawnResult(program: string, args: readonly string[], environment: Record<string, string>): Promise<number | null> {
  return new Promise((resolve) => spawn(program, args, { env: { ...process.env, ...environment }, stdio: "ignore" }).once("exit", resolve));
}
