// One process for all hosts of a database: a real control plane, twenty real sshds on ports of their own.
import { createServer, type Server } from "node:net";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { describe, expect, onTestFinished, test } from "vitest";
import { agentDirectory } from "../../support/agents.js";
import { processesBelow } from "../../support/processes.js";
import { sshdForTest } from "../../support/ssh-agents.js";
import { fleetWorld } from "../../support/ssh-fleet.js";
import { sshdIsHere } from "../../support/sshd.js";

const HOSTS = 20;
const PATIENCE = { timeout: 120_000, interval: 250 };

const stageOn = (host: string) => ({ name: "work", kind: "command", resources: { labels: { host } }, params: { run: ["python3", "-c", `import json,os; open(os.environ["TRAINYARD_OUTPUTS_FILE"],"w").write(json.dumps({"out": os.environ["TRAINYARD_OUTPUT_DIR"]}))`] } });

describe.skipIf(!sshdIsHere)("the agents of SSH hosts", () => {
  test("twenty hosts at once, each with a stage of its own; a second process waits and takes over; a host that goes is left alone", async () => {
    const { world, sshHosts, add, start } = await fleetWorld();
    const sshds = await Promise.all(Array.from({ length: HOSTS }, () => sshdForTest({ hostKeys: ["ed25519"] })));
    const names = sshds.map((_, i) => `gpu${i + 1}`);
    for (const [i, sshd] of sshds.entries()) await add(names[i]!, sshd);
    const directory = agentDirectory();
    const first = start(directory);
    await expect.poll(() => first.hosts().length, PATIENCE).toBe(HOSTS);
    const second = start();
    const ids = await Promise.all(names.map((name) => world.submit([stageOn(name)])));
    for (const [i, id] of ids.entries()) {
      const stage = await world.ended(id, 120_000);
      expect({ status: stage.status, out: stage.outputs?.["out"] }, names[i]).toEqual({ status: "COMPLETED", out: join(sshds[i]!.folder, "work", "attempts", id, "work", "1", "output") });
    }
    expect(second.hosts()).toEqual([]);
    await sshHosts.remove((await sshHosts.list()).find(({ name }) => name === "gpu20")!.id, async () => undefined);
    await expect.poll(() => first.hosts().length, PATIENCE).toBe(HOSTS - 1);
    await first.stop("detach");
    await expect.poll(() => second.hosts().length, PATIENCE).toBe(HOSTS - 1);
  }, 400_000);

  test("what is wrong with a host is told by its agent, with its cause; nothing of ours is left there", async () => {
    const { world, add, start } = await fleetWorld();
    const sshd = await sshdForTest();
    const silent = await hangingServer();
    writeFileSync(join(sshd.folder, "plain"), "");
    mkdirSync(join(sshd.folder, "empty"));
    await add("no-directory", sshd, { workingDirectory: join(sshd.folder, "plain", "work") });
    await add("no-python", sshd, { pythonEnvironment: join(sshd.folder, "empty") });
    const never = ["no-login", "unreachable", "hanging", "other-key"];
    for (const name of never) await add(name, sshd, { workingDirectory: join(sshd.folder, name) });
    await expect(add("wrong-password", sshd, { workingDirectory: join(sshd.folder, "wrong-password"), privateKey: null, password: "not that one" })).rejects.toMatchObject({ code: "SSH_AUTH_REFUSED" });
    const set = (name: string, values: object) => world.database.db.updateTable("ssh_hosts").set(values).where("name", "=", name).execute();
    await set("no-login", { username: "nobody-at-all" });
    await set("unreachable", { port: 1 });
    await set("hanging", { port: silent });
    await set("other-key", { host_key_fingerprint: `SHA256:${"A".repeat(43)}` });
    const agents = start();
    const problems = async () => Object.fromEntries((await world.ask<{ agents: { name: string; problem: string | null }[] }>("{ agents { name problem } }")).agents.map(({ name, problem }) => [name, problem?.split(":")[0]]));
    await expect.poll(problems, PATIENCE).toEqual({
      "no-directory": "SSH_DIRECTORY_REFUSED", "no-python": "SSH_PYTHON_MISSING", "no-login": "SSH_AUTH_REFUSED", unreachable: "SSH_UNREACHABLE", hanging: "SSH_NOT_ANSWERING", "other-key": "SSH_HOST_KEY_CHANGED",
    });
    await expect.poll(() => world.database.db.selectFrom("ssh_hosts").select("name").where("alarm_at", "is not", null).execute(), PATIENCE).toEqual([{ name: "other-key" }]);
    await agents.stop("detach");
    await expect.poll(() => sshd.sessions(), PATIENCE).toBe(0);
    expect(readdirSync(sshd.folder).filter((name) => [...never, "wrong-password", "work"].includes(name))).toEqual([]);
    expect([readdirSync(join(sshd.folder, "empty")), readFileSync(join(sshd.folder, "plain"), "utf8")]).toEqual([[], ""]);
    expect(processesBelow(sshd.folder)).toEqual([]);
  }, 300_000);

  test("an agent that ends by itself is begun again, after waits that grow", async () => {
    const { world, add, start } = await fleetWorld();
    const host = await add("gpu1", await sshdForTest());
    const begun: number[] = [];
    const directory = agentDirectory();
    start(directory, {}, pino({}, { write: (line: string) => { if (line.includes("an agent acts for this host")) begun.push(performance.now()); } }));
    const id = await world.submit([{ name: "ask", kind: "approval", params: {} }, { ...stageOn("gpu1"), dependsOn: ["ask"] }]);
    mkdirSync(join(directory, host, "attempts", id, "work", "1", "log"), { recursive: true }); // no file can be written there: the agent cannot live with that
    await world.ask("mutation ($id: ID!) { approveStage(input: { pipelineId: $id, stage: \"ask\" }) { __typename } }", { id });
    await expect.poll(() => begun.length, PATIENCE).toBeGreaterThan(4);
    expect(begun[4]! - begun[3]!).toBeGreaterThan(3_900); // the fourth wait: 8 s, by chance half of that at the least
  }, 200_000);
});

/** Takes connections and says nothing. */
async function hangingServer(): Promise<number> {
  const server: Server = createServer((socket) => void socket.on("error", () => undefined));
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(() => void server.close());
  return (server.address() as { port: number }).port;
}
