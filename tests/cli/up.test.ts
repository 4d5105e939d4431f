import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { identifyProcess } from "../../src/process-identity.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { cli, killAllOf, newFolder, processesOf, startUp } from "./support.js";

const SLOW = { timeout: 120_000 };

/** A stage that counts its starts and waits for a file. */
function waitingPipeline(folder: string): string {
  const program = `const fs = require("fs"); fs.appendFileSync(${JSON.stringify(join(folder, "starts"))}, process.pid + "\\n"); const look = setInterval(() => { if (fs.existsSync(${JSON.stringify(join(folder, "go"))})) { fs.writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, '{"ok":true}'); clearInterval(look); } }, 20);`;
  const file = join(folder, "pipeline.json");
  writeFileSync(file, JSON.stringify({ name: "waiting", stages: [{ name: "wait", kind: "command", retry: { maxAttempts: 3, backoffSeconds: 0 }, params: { run: [process.execPath, "-e", program] } }, { name: "after", kind: "command", dependsOn: ["wait"], params: { run: [process.execPath, "-e", "1"] } }] }));
  return file;
}
const starts = (folder: string) => {
  try {
    return readFileSync(join(folder, "starts"), "utf8").trim().split("\n").map(Number);
  } catch {
    return [];
  }
};

describe("trainyard up", SLOW, () => {
  test("prints one line of JSON when it is ready, runs pipelines, and stops cleanly at SIGTERM", async () => {
    const up = await startUp();
    expect(up.stdout().trim().split("\n")).toHaveLength(1);
    expect(Object.keys(JSON.parse(up.stdout()) as object)).toEqual(["url", "wsUrl", "token"]);
    expect(up.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/graphql$/);
    expect(up.wsUrl).toBe(up.url.replace("http", "ws"));
    for (const name of ["admin", "agent"]) expect(statSync(join(up.dataDir, "tokens", name)).mode & 0o077).toBe(0);
    const ran = await cli(["submit", "-", "--watch"], { env: { TRAINYARD_URL: up.url, TRAINYARD_TOKEN: up.token }, input: "name: one\nstages:\n  - { name: a, kind: command, params: { run: [node, -e, '1'] } }\n" });
    expect(ran).toMatchObject({ code: 0 });
    const ended = await up.stop();
    expect(ended.code).toBe(0);
    expect(processesOf(up.dataDir)).toEqual([]);
  });

  test("after kill -9 of everything, the same command goes on where it was", async () => {
    const folder = newFolder();
    const first = await startUp();
    const { stdout: id } = await first.cli("submit", waitingPipeline(folder));
    expect(await pollUntil(() => starts(folder).length === 1, 15_000)).toBe(true);
    await killAllOf(first.dataDir);
    expect(processesOf(first.dataDir)).toEqual([]);

    const second = await startUp({ dataDir: first.dataDir });
    expect(second.token).toBe(first.token);
    writeFileSync(join(folder, "go"), "");
    expect(await second.cli("watch", id.trim(), "--timeout", "60s")).toMatchObject({ code: 0 });
  });

  test("when only `up` is killed, its children leave by themselves, and the next one adopts the stores and the program", async () => {
    const folder = newFolder();
    const first = await startUp();
    const { stdout: id } = await first.cli("submit", waitingPipeline(folder));
    expect(await pollUntil(() => starts(folder).length === 1, 15_000)).toBe(true);
    const children = Object.values(JSON.parse(readFileSync(join(first.dataDir, "children.json"), "utf8")) as Record<string, { pid: number }>).map(({ pid }) => pid);
    expect(children).toHaveLength(2);
    first.process.kill("SIGKILL");
    await first.ended;
    expect(await pollUntil(() => children.every((pid) => identifyProcess(pid) === null), 15_000)).toBe(true);

    const second = await startUp({ dataDir: first.dataDir });
    expect(second.url).toBe(first.url);
    writeFileSync(join(folder, "go"), "");
    expect(await second.cli("watch", id.trim(), "--timeout", "60s")).toMatchObject({ code: 0 });
    expect(starts(folder)).toHaveLength(1);
  });

  test("a start while the children of a killed `up` are still there waits for them or ends them", async () => {
    const first = await startUp();
    const children = Object.values(JSON.parse(readFileSync(join(first.dataDir, "children.json"), "utf8")) as Record<string, { pid: number }>).map(({ pid }) => pid);
    for (const pid of children) process.kill(pid, "SIGSTOP"); // they notice nothing
    first.process.kill("SIGKILL");
    await first.ended;
    const second = await startUp({ dataDir: first.dataDir });
    expect((await second.cli("agents", "--json")).code).toBe(0);
    expect(children.every((pid) => identifyProcess(pid) === null)).toBe(true);
  });

  test("stopped cleanly, it leaves programs running, says so, and takes them over at the next start", async () => {
    const folder = newFolder();
    const first = await startUp();
    const { stdout: id } = await first.cli("submit", waitingPipeline(folder));
    expect(await pollUntil(() => starts(folder).length === 1, 15_000)).toBe(true);
    const { code, stderr } = await first.stop();
    expect([code, stderr]).toEqual([0, expect.stringContaining("waiting / wait")]);
    expect(identifyProcess(starts(folder)[0]!)).not.toBeNull();

    const second = await startUp({ dataDir: first.dataDir });
    writeFileSync(join(folder, "go"), "");
    expect(await second.cli("watch", id.trim(), "--timeout", "60s")).toMatchObject({ code: 0 });
    expect(starts(folder)).toHaveLength(1);
  });

  test("with --stop-programs it stops them too", async () => {
    const folder = newFolder();
    const up = await startUp({ args: ["--stop-programs"] });
    await up.cli("submit", waitingPipeline(folder));
    expect(await pollUntil(() => starts(folder).length === 1, 15_000)).toBe(true);
    expect((await up.stop()).code).toBe(0);
    expect(identifyProcess(starts(folder)[0]!)).toBeNull();
  });

  test("a child that is killed is started again, and so is a killed PostgreSQL", async () => {
    const up = await startUp();
    const note = () => JSON.parse(readFileSync(join(up.dataDir, "children.json"), "utf8")) as Record<string, { pid: number }>;
    const server = note()["control plane"]!.pid;
    process.kill(server, "SIGKILL");
    expect(await pollUntil(() => note()["control plane"]!.pid !== server, 15_000)).toBe(true);
    expect(await pollUntil(async () => (await up.cli("ls")).code === 0, 20_000)).toBe(true);
    expect(up.stderr()).toContain("was killed by SIGKILL");

    const postmaster = Number(readFileSync(join(up.dataDir, "postgres", "data", "postmaster.pid"), "utf8").split("\n")[0]);
    process.kill(postmaster, "SIGKILL");
    expect(await pollUntil(() => identifyProcess(postmaster) === null, 5_000)).toBe(true);
    expect(await pollUntil(async () => (await up.cli("ls")).code === 0, 30_000)).toBe(true);
  });

  test("a second one on the same directory is refused by name", async () => {
    const up = await startUp();
    const second = await cli(["up", "--data-dir", up.dataDir, "--port", "0", "--json"]);
    expect(second).toMatchObject({ code: 1, stdout: "" });
    expect(second.stderr).toContain(`process ${up.process.pid}`);
    expect(second.stderr).toContain(up.url);
  });

  test("a port that another program holds is refused with what to do", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void other.close());
    await new Promise((resolve) => other.once("listening", resolve));
    const { port } = other.address() as AddressInfo;
    const refused = await cli(["up", "--data-dir", newFolder(), "--port", String(port)]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`Port ${port} on 127.0.0.1 is taken`);
    expect(refused.stderr).toContain("--port");
  });

  test("--no-agent starts none, and without Redis everything works over HTTPS", async () => {
    const up = await startUp({ args: ["--no-agent"], env: { TRAINYARD_REDIS: "off" } });
    expect(JSON.parse((await up.cli("agents", "--json")).stdout)).toEqual([]);
    await up.stop();
    const withAgent = await startUp({ dataDir: up.dataDir, env: { TRAINYARD_REDIS: "off" } });
    const ran = await cli(["submit", "-", "--watch"], { env: { TRAINYARD_URL: withAgent.url, TRAINYARD_TOKEN: withAgent.token }, input: "name: one\nstages:\n  - { name: a, kind: command, params: { run: [node, -e, '1'] } }\n" });
    expect(ran).toMatchObject({ code: 0 });
  });

  test("started in a folder, it is found by the other commands without being told", async () => {
    const folder = newFolder();
    const up = await startUp({ dataDir: join(folder, ".trainyard") });
    mkdirSync(join(folder, "below"));
    expect((await cli(["ls", "--json"], { cwd: join(folder, "below") })).stdout.trim()).toBe("[]");
    await up.stop();
    const away = await cli(["ls"], { cwd: folder });
    expect(away).toMatchObject({ code: 1 });
    expect(away.stderr).toContain("trainyard up --data-dir");
  });
});
