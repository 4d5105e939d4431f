// deploy/redis as a real server sees it: the users of the ACL file and what each may do.
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { findRedisServer } from "../../src/server/embedded/redis-binary.js";
import { freePort, pollUntil } from "../../src/server/embedded/server-process.js";

const binary = findRedisServer();
const password = "not-a-secret-0123456789";

test("start.sh refuses to start without a password, and says what to do", async () => {
  const { code, output } = await end(spawn("sh", [packagePath("deploy/redis/start.sh")], { env: { PATH: process.env["PATH"] } }));
  expect(code).toBe(2);
  expect(output).toContain("TRAINYARD_REDIS_PASSWORD is empty");
});

test("the ACL file holds no password", () => {
  const text = readFileSync(packagePath("deploy/redis/users.acl"), "utf8");
  expect(text).toMatch(/^user default off$/m);
  expect(text.match(/[>#]\S*/g)).toEqual(["#{{control-plane-password-sha256}}"]);
});

describe.skipIf(binary?.kind !== "redis-server")("a server started by start.sh", () => {
  let server: ChildProcess;
  let port = 0;
  let folder = "";

  beforeAll(async () => {
    folder = mkdtempSync(join(inject("runFolder"), "acl-"));
    chmodSync(folder, 0o700);
    port = await freePort(null);
    server = spawn("sh", [packagePath("deploy/redis/start.sh"), "--dir", folder, "--port", String(port), "--bind", "127.0.0.1"], {
      env: { PATH: process.env["PATH"], TRAINYARD_REDIS_PASSWORD: password, TRAINYARD_REDIS_RUN_DIR: folder }, cwd: folder, stdio: "ignore",
    });
    expect(await pollUntil(async () => (await ask("health", "any", ["PING"]).catch(() => null)) === "PONG", 10_000)).toBe(true);
  });

  afterAll(async () => {
    server.kill("SIGTERM");
    await end(server);
  });

  test("knows nobody who does not say who he is", async () => {
    await expect(ask(null, null, ["PING"])).rejects.toThrow(/NOAUTH|HELLO/);
    await expect(ask("default", "", ["PING"])).rejects.toThrow(/WRONGPASS/);
    await expect(ask("control-plane", "wrong", ["PING"])).rejects.toThrow(/WRONGPASS/);
  });

  test("lets the health check ping and nothing else", async () => {
    expect(await ask("health", "any", ["PING"])).toBe("PONG");
    for (const command of [["GET", "x"], ["INFO"], ["XADD", "ty:agent:a:orders", "*", "batch", "[]"], ["ACL", "LIST"]]) await expect(ask("health", "any", command), command.join(" ")).rejects.toThrow("NOPERM");
  });

  test("lets the control plane use its streams and make users, and keeps it from everything else", async () => {
    const asControlPlane = (command: string[]) => ask("control-plane", password, command);
    expect(await asControlPlane(["XADD", "ty:agent:a:orders", "*", "batch", "[]"])).toMatch(/-/);
    expect(await asControlPlane(["XGROUP", "CREATE", "ty:agent:a:orders", "agent", "0"])).toBe("OK");
    expect(await asControlPlane(["ACL", "SETUSER", "agt_a", "reset", "on", ">secret", "~ty:agent:a:*", "+xadd", "+xreadgroup", "+xack", "+xdel", "+xgroup|create", "+ping", "+hello", "+auth", "+client|setname"])).toBe("OK");
    for (const command of [["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"], ["EVAL", "return 1", "0"], ["XADD", "other:stream", "*", "batch", "[]"], ["PUBLISH", "other", "x"], ["ACL", "LIST"], ["SHUTDOWN"]]) {
      await expect(asControlPlane(command), command.join(" ")).rejects.toThrow("NOPERM");
    }
  });

  test("lets an agent reach its own streams only", async () => {
    await ask("control-plane", password, ["ACL", "SETUSER", "agt_b", "reset", "on", ">secret", "~ty:agent:b:*", "+xadd"]);
    expect(await ask("agt_b", "secret", ["XADD", "ty:agent:b:reports", "*", "batch", "{}"])).toMatch(/-/);
    for (const command of [["XADD", "ty:agent:a:orders", "*", "batch", "[]"], ["FLUSHALL"], ["KEYS", "*"], ["PUBLISH", "ty:wakeups", "x"], ["ACL", "WHOAMI"]]) await expect(ask("agt_b", "secret", command), command.join(" ")).rejects.toThrow("NOPERM");
  });

  test("forgets nothing to make room, and writes what it is told to disk", async () => {
    const text = readFileSync(packagePath("deploy/redis/redis.conf"), "utf8");
    expect(text).toMatch(/^maxmemory-policy noeviction$/m);
    expect(text).toMatch(/^appendonly yes$/m);
    expect(readFileSync(join(folder, "users.acl"), "utf8")).not.toContain(password);
  });

  async function ask(username: string | null, secret: string | null, command: string[]): Promise<unknown> {
    const client = createClient({
      url: `redis://127.0.0.1:${port}`, ...(username === null ? {} : { username }), ...(secret === null ? {} : { password: secret }), RESP: 2, disableClientInfo: true, maintNotifications: "disabled", socket: { reconnectStrategy: false },
    });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return await client.sendCommand(command);
    } finally {
      if (client.isOpen) client.destroy();
    }
  }
});

function end(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = "";
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  if (child.exitCode !== null) return Promise.resolve({ code: child.exitCode, output });
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}
