// `server`, `agent` and `migrate` as processes of their own, as production runs them: an external PostgreSQL, agents elsewhere.
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { identifyProcess } from "../../src/process-identity.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { createEmptyDatabase } from "../support/postgres.js";
import { cli, killAllOf, newFolder, startCli } from "./support.js";

const SLOW = { timeout: 120_000 };

async function database(): Promise<string> {
  const { url, drop } = await createEmptyDatabase();
  onTestFinished(drop);
  return url;
}

/** Where a server that says so serves. */
async function addressOf(running: { stderr(): string; ended: Promise<unknown> }): Promise<string> {
  const find = () => /serves (http:\S+)/.exec(running.stderr())?.[1];
  expect(await pollUntil(() => find() !== undefined, 30_000), running.stderr()).toBe(true);
  return find()!;
}

describe("production's processes", SLOW, () => {
  test("a database is migrated once; a server refuses one that is not", async () => {
    const env = { DATABASE_URL: await database(), TRAINYARD_LOG_LEVEL: "warn" };
    expect((await cli(["migrate", "--check"], { env })).code).toBe(1);
    const refused = await cli(["server", "--port", "0"], { env });
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining("trainyard migrate")]);
    const first = await cli(["migrate", "--json"], { env });
    expect((JSON.parse(first.stdout) as { applied: string[] }).applied.length).toBeGreaterThan(0);
    expect(JSON.parse((await cli(["migrate", "--json"], { env })).stdout)).toEqual({ applied: [] });
    expect((await cli(["migrate", "--check"], { env })).code).toBe(0);
  });

  test("two servers on one database and one agent run a pipeline; each ends cleanly at SIGTERM", async () => {
    const env = { DATABASE_URL: await database(), TRAINYARD_REDIS: "off", TRAINYARD_LOG_LEVEL: "warn" };
    const servers = [await startCli(["server", "--port", "0", "--migrate"], { env })];
    const url = await addressOf(servers[0]!);
    servers.push(await startCli(["server", "--port", "0"], { env }));
    const otherUrl = await addressOf(servers[1]!);
    onTestFinished(() => servers.forEach(({ process }) => process.kill("SIGKILL")));
    const token = async (role: string) => (await cli(["token", "create", "--role", role, "--name", "me", "--local"], { env })).stdout.trim();
    const operator = { TRAINYARD_URL: url, TRAINYARD_TOKEN: await token("operator") };

    const agentDir = join(newFolder(), "agent");
    const agent = await startCli(["agent"], { env: { TRAINYARD_URL: new URL(otherUrl).origin, TRAINYARD_AGENT_TOKEN: await token("agent"), TRAINYARD_AGENT_DIR: agentDir, TRAINYARD_AGENT_NAME: "elsewhere", TRAINYARD_LOG_LEVEL: "warn" } });
    onTestFinished(() => void agent.process.kill("SIGKILL"));
    const ran = await cli(["submit", "-", "--watch"], { env: operator, input: "name: one\nstages:\n  - { name: a, kind: command, params: { run: [node, -e, '1'] } }\n" });
    expect(ran, ran.stderr).toMatchObject({ code: 0 });
    expect(ran.stdout).toContain("on elsewhere");
    for (const running of [agent, ...servers]) {
      running.process.kill("SIGTERM");
      expect(await running.ended).toMatchObject({ code: 0 });
    }
  });

  test("a server without DATABASE_URL brings its own PostgreSQL, and the other commands find it", async () => {
    const dataDir = newFolder("server-");
    onTestFinished(() => killAllOf(dataDir));
    const server = await startCli(["server", "--port", "0", "--data-dir", dataDir], { env: { TRAINYARD_REDIS: "off", TRAINYARD_LOG_LEVEL: "warn" } });
    await addressOf(server);
    expect(await cli(["ls", "--json", "--data-dir", dataDir])).toMatchObject({ code: 0, stdout: "[]\n" });
    server.process.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0 });
    expect(existsSync(join(dataDir, "postgres", "data", "postmaster.pid"))).toBe(false);
    const made = await cli(["token", "create", "--role", "admin", "--name", "offline", "--local", "--data-dir", dataDir]);
    expect([made.code, made.stdout]).toEqual([0, expect.stringMatching(/^ty_a_\w+\n$/)]);
  });

  test("an agent without a token says what it needs, and one that drains waits for its programs", async () => {
    const refused = await cli(["agent"], { env: { TRAINYARD_AGENT_DIR: newFolder() } });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("TRAINYARD_AGENT_TOKEN");

    const env = { DATABASE_URL: await database(), TRAINYARD_REDIS: "off", TRAINYARD_LOG_LEVEL: "warn" };
    const server = await startCli(["server", "--port", "0", "--migrate"], { env });
    onTestFinished(() => void server.process.kill("SIGKILL"));
    const url = await addressOf(server);
    const token = async (role: string) => (await cli(["token", "create", "--role", role, "--name", "me", "--local"], { env })).stdout.trim();
    const user = { TRAINYARD_URL: url, TRAINYARD_TOKEN: await token("operator") };
    const agent = await startCli(["agent", "--on-stop", "drain"], { env: { TRAINYARD_URL: url.replace("/graphql", ""), TRAINYARD_AGENT_TOKEN: await token("agent"), TRAINYARD_AGENT_DIR: join(newFolder(), "agent"), TRAINYARD_LOG_LEVEL: "warn" } });
    onTestFinished(() => void agent.process.kill("SIGKILL"));
    const folder = newFolder();
    const program = `const fs = require("fs"); fs.writeFileSync(${JSON.stringify(join(folder, "pid"))}, String(process.pid)); setInterval(() => { if (fs.existsSync(${JSON.stringify(join(folder, "go"))})) process.exit(0); }, 20);`;
    const id = (await cli(["submit", "-"], { env: user, input: JSON.stringify({ name: "w", stages: [{ name: "a", kind: "command", params: { run: [process.execPath, "-e", program] } }] }) })).stdout.trim();
    expect(await pollUntil(() => existsSync(join(folder, "pid")), 20_000)).toBe(true);
    agent.process.kill("SIGTERM");
    expect((await cli(["watch", id, "--timeout", "1s"], { env: user })).code).toBe(124);
    expect(identifyProcess(agent.process.pid!)).not.toBeNull();
    writeFileSync(join(folder, "go"), "");
    expect((await agent.ended).code).toBe(0);
    expect((await cli(["watch", id], { env: user })).code).toBe(0);
  });
});
