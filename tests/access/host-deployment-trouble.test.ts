// What may go wrong while an agent is brought onto a host: each is told in words, leaves nothing half-done, and the order given again does the rest.
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from "vitest";
import { createHostDeployments } from "../../src/access/host-deployments.js";
import { sealedSecrets } from "../../src/access/sealed-secrets.js";
import { createSshHosts } from "../../src/access/ssh-hosts.js";
import { createToken } from "../../src/access/tokens.js";
import { identifyProcess } from "../../src/process-identity.js";
import { anyFreePort } from "../../src/cli/stack/ports.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { processesBelow } from "../support/processes.js";
import { sshdIsHere } from "../support/sshd.js";
import { silent } from "../support/world.js";
import { startDeploymentWorld, type DeploymentWorld } from "./deployment-world.js";

describe.skipIf(!sshdIsHere)("trouble with an agent of its own on a host", { timeout: 600_000 }, () => {
  let world: DeploymentWorld;
  const endings: (() => void)[] = [];
  beforeAll(async () => {
    world = await startDeploymentWorld();
  }, 180_000);
  afterEach(() => {
    for (const end of endings.splice(0)) end();
  });
  afterAll(() => world.stop(), 60_000);

  const until = async (what: string, condition: () => Promise<boolean> | boolean): Promise<void> => {
    if (!(await pollUntil(condition, 240_000))) throw new Error(`never came: ${what}`);
  };
  const remove = async (id: string, input: Record<string, unknown> = {}) => {
    await world.order("removeHostAgent", { hostId: id, ...input });
    return world.ended(id);
  };
  const agentOf = (directory: string): { pid: number; release: string } => JSON.parse(readFileSync(join(directory, "agent/run/agent.json"), "utf8")) as { pid: number; release: string };

  test("connections that are cut while it is sent, and a control plane that stops in the middle, cost time only", async () => {
    const { id, directory } = await world.addHost("cut1");
    const sending = async (): Promise<boolean> => (await world.state(id)).deployment!.steps.some(({ name, state, bytesDone }) => name.startsWith("send") && (state === "DONE" || (bytesDone ?? 0) > 0));
    await world.order("deployHostAgent", { hostId: id, sendNode: true });
    await until("bytes are sent", sending);
    world.sshd.cutSessions();
    await world.sshd.kill();
    expect(await world.order("deployHostAgent", { hostId: id })).toMatchObject({ code: "DEPLOY_BUSY" });
    await world.api.hostDeployments.stop();
    await world.sshd.start();
    const { db } = world.api.world.database;
    const other = createHostDeployments({
      db, log: silent, packageRoot: world.root, archives: join(inject("runFolder"), "host-archives"), publicUrl: () => world.api.url, unresponsiveAfterMs: 45_000,
      sshHosts: createSshHosts({ db, secrets: sealedSecrets({ value: undefined, file: join(world.api.folder, "secret-key") }), agentSocket: undefined, home: world.api.folder }),
      drainAgent: (agentId, draining) => world.api.world.actors.controlPlane.drainAgent(agentId, draining),
    });
    try {
      other.start();
      const done = await world.ended(id);
      expect(done).toMatchObject({ servedBy: "AGENT", agent: { status: "ONLINE" }, deployment: { state: "DEPLOYED", error: null } });
      const { pid, release } = agentOf(directory);
      expect(release).toBe(done.deployment!.release);
      expect(readdirSync(join(directory, "agent/releases"))).toEqual([release]);
      // The same order once more finds everything and starts nothing.
      await world.order("deployHostAgent", { hostId: id, sendNode: true });
      await until("it is taken up", async () => (await world.state(id)).deployment!.state === "DEPLOYED");
      expect(agentOf(directory).pid).toBe(pid);
      expect((await world.state(id)).deployment!.steps.some(({ name }) => name.startsWith("send"))).toBe(false);
      // Tokens: one that serves; those of interrupted tries are revoked.
      expect(await db.selectFrom("tokens").select("id").where("agent_name", "=", "cut1").where("revoked_at", "is", null).execute()).toHaveLength(1);
      expect((await remove(id)).deployment).toMatchObject({ state: "REMOVED" });
      expect(processesBelow(directory)).toEqual([]);
    } finally {
      await other.stop();
      await restart();
    }
  });
  /** The world's own carrier was stopped for good: a new world takes its place. */
  const restart = async (): Promise<void> => {
    await world.stop();
    world = await startDeploymentWorld({ reportInMs: 60_000 });
  };

  test("a control plane that the host does not reach, or that is none, is refused before anything is installed", async () => {
    const { id, directory } = await world.addHost("far1");
    const refused = async (url: string): Promise<{ code: string; message: string }> => {
      await world.order("deployHostAgent", { hostId: id, url });
      const { servedBy, deployment } = await world.ended(id);
      expect(servedBy).toBe("SSH");
      expect(deployment).toMatchObject({ state: "FAILED", release: null });
      expect(existsSync(join(directory, "agent"))).toBe(false);
      return deployment!.error!;
    };
    expect(await refused(`http://127.0.0.1:${await anyFreePort()}`)).toMatchObject({ code: "DEPLOY_URL_UNREACHABLE", message: expect.stringMatching(/far1: it does not reach .*refused.*--agent-url/i) });
    const web = createServer((_request, response) => response.end("hello")).listen(0, "127.0.0.1");
    await until("it listens", () => web.listening);
    expect(await refused(`http://127.0.0.1:${(web.address() as AddressInfo).port}`)).toMatchObject({ code: "DEPLOY_URL_UNREACHABLE", message: expect.stringContaining("is no control plane (HTTP 200)") });
    web.close();
    const stranger = createServer((_request, response) => response.writeHead(401, { "content-type": "application/json" }).end(JSON.stringify({ code: "UNAUTHENTICATED" }))).listen(0, "127.0.0.1");
    await until("it listens", () => stranger.listening);
    expect(await refused(`http://127.0.0.1:${(stranger.address() as AddressInfo).port}`)).toMatchObject({ message: expect.stringContaining("another control plane") });
    stranger.close();
    const { db } = world.api.world.database;
    expect(await db.selectFrom("tokens").select("id").where("agent_name", "=", "far1").where("revoked_at", "is", null).execute()).toEqual([]);
    expect((await world.order("deployHostAgent", { hostId: id, url: "ftp://x", pools: "nonsense", labels: "a", caCertificate: "x" })).problems!.map(({ path }) => path)).toEqual(["url", "pools", "labels", "caCertificate"]);
  });

  test("a directory that may not be written, and a disk without room, are told; nothing stays", async () => {
    const { id: closed } = await world.addHost("closed1", { workingDirectory: "/proc/trainyard" });
    await world.order("deployHostAgent", { hostId: closed });
    expect((await world.ended(closed)).deployment).toMatchObject({ state: "FAILED", error: { code: "SSH_DIRECTORY_REFUSED" } });
    const disk = smallDisk("64m");
    if (disk === null) return console.warn("NOT RUN: a host whose disk has no room, because it needs root and the right to mount a tmpfs.");
    const { id } = await world.addHost("full1", { workingDirectory: join(disk, "w") });
    await world.order("deployHostAgent", { hostId: id, sendNode: true });
    expect((await world.ended(id)).deployment).toMatchObject({ state: "FAILED", error: { code: "SSH_DISK_FULL", message: expect.stringMatching(/\d+ MiB are needed .* \d+ MiB are free/) } });
    expect(existsSync(join(disk, "w/agent"))).toBe(false);
    expect(existsSync(join(disk, "w/store"))).toBe(false);
  });

  test("a release whose agent does not come up is taken back by itself, and what ran goes on", async () => {
    const { id, directory } = await world.addHost("back1");
    await world.order("deployHostAgent", { hostId: id });
    const good = (await world.ended(id)).deployment!;
    const program = join(world.root, "dist/agent/deployed-agent.program.js");
    const healthy = readFileSync(program, "utf8");
    appendFileSync(program, "\n"); // the same again, and then one that ends at once unless it is only tried
    writeFileSync(program, `if (process.argv[2] !== "--check") { process.stderr.write("The agent could not start: a flaw of this release\\n"); process.exit(3); }\n${healthy}`);
    try {
      await world.order("deployHostAgent", { hostId: id });
      const failed = await world.ended(id);
      expect(failed).toMatchObject({ servedBy: "AGENT", agent: { status: "ONLINE" }, deployment: { state: "FAILED", release: good.release, error: { code: "DEPLOY_START_FAILED", message: expect.stringMatching(/a flaw of this release.*The release before runs again\./s) } } });
      expect(agentOf(directory).release).toBe(good.release);
      expect((await remove(id)).deployment).toMatchObject({ state: "REMOVED" });
      // As the first release it leaves nothing running, and the host to whom it was.
      await world.order("deployHostAgent", { hostId: id });
      expect(await world.ended(id)).toMatchObject({ servedBy: "SSH", deployment: { state: "FAILED", release: null, error: { message: expect.stringContaining("Nothing runs there now") } } });
      expect(processesBelow(directory)).toEqual([]);
    } finally {
      writeFileSync(program, healthy);
    }
    await world.order("deployHostAgent", { hostId: id });
    expect((await world.ended(id)).deployment).toMatchObject({ state: "DEPLOYED" });
    await remove(id);
  });

  test("an agent that cannot even be started leaves the host to whom it was", async () => {
    const { id, directory } = await world.addHost("start1");
    mkdirSync(join(directory, "agent/logs/supervisor.log"), { recursive: true }); // no file to write to
    await world.order("deployHostAgent", { hostId: id });
    expect(await world.ended(id)).toMatchObject({ servedBy: "SSH", deployment: { state: "FAILED", release: null, error: { code: "DEPLOY_START_FAILED", message: expect.stringMatching(/supervisor\.log.*Nothing runs there now/s) } } });
    const { db } = world.api.world.database;
    expect(await db.selectFrom("tokens").select("id").where("agent_name", "=", "start1").where("revoked_at", "is", null).execute()).toEqual([]);
    rmSync(join(directory, "agent/logs/supervisor.log"), { recursive: true });
    await world.order("deployHostAgent", { hostId: id });
    expect(await world.ended(id)).toMatchObject({ servedBy: "AGENT", deployment: { state: "DEPLOYED" } });
    await remove(id);
  });

  test("two agents never serve a host: one of somebody else's under its name is not pushed aside", async () => {
    const { id } = await world.addHost("taken1");
    const { db } = world.api.world.database;
    const { token } = await createToken(db, { name: "by hand", role: "agent", agentName: "taken1", expiresInDays: null, by: "test" });
    const { world: fleet } = world.api;
    await fleet.actors.gateway.open({ tokenId: token.id, agentName: "taken1" }, { protocol: 1, name: "taken1", epoch: "a".repeat(24), instance: "b".repeat(24), pools: [{ queues: ["default"], concurrency: 1 }], gpus: [], labels: {}, capabilities: [], versions: {}, runMode: "LOCAL", address: null, held: [] });
    await world.order("deployHostAgent", { hostId: id });
    expect(await world.ended(id)).toMatchObject({ servedBy: "SSH", deployment: { state: "FAILED", error: { code: "DEPLOY_NAME_TAKEN" } } });
  });

  test("removed with what runs there: the program is stopped, an attempt with a checkpoint stays and is named", async () => {
    const { id, directory } = await world.addHost("stop1");
    await world.order("deployHostAgent", { hostId: id });
    await world.ended(id);
    const script = `mkdir -p "$TRAINYARD_OUTPUT_DIR/step-1"; echo weights > "$TRAINYARD_OUTPUT_DIR/step-1/w"; echo '{"step":1,"loss":1.5,"checkpoint":"step-1"}' >> "$TRAINYARD_METRICS_FILE"; echo "pid $$"; sleep 600`;
    const { submitPipeline } = await world.api.data("mutation S($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { pipeline { id stages { id } } } ... on DomainError { code message } } }", { spec: { name: "hold", stages: [{ name: "hold", kind: "command", params: { run: ["sh", "-c", script] } }] } });
    const { id: stage } = submitPipeline.pipeline.stages[0];
    let program = 0;
    await until("a checkpoint is reported", async () => {
      const { stage: found } = await world.api.data("query S($id: ID!) { stage(id: $id) { checkpoints { step } logs { text } } }", { id: stage });
      program = Number(/pid (\d+)/.exec(found.logs.text)?.[1] ?? 0);
      return found.checkpoints.length === 1 && program > 0;
    });
    expect(identifyProcess(program)).not.toBeNull();
    await world.order("removeHostAgent", { hostId: id });
    await until("it waits", async () => (await world.state(id)).deployment!.steps.some(({ detail }) => detail?.includes("1 attempt") === true));
    expect(identifyProcess(program)).not.toBeNull();
    await world.order("removeHostAgent", { hostId: id, now: true }); // hastens the one that waits
    const removed = await world.ended(id);
    expect(removed.deployment).toMatchObject({ state: "REMOVED", error: null });
    expect(removed.deployment!.notes).toEqual([expect.stringMatching(/^Stays on the host: .*\/agent\/state\/attempts\/.*\/hold\/1$/)]);
    expect(identifyProcess(program)).toBeNull();
    expect(processesBelow(directory)).toEqual([]);
    const { cancelPipeline } = await world.api.data("mutation C($id: ID!) { cancelPipeline(input: { pipelineId: $id }) { __typename } }", { id: submitPipeline.pipeline.id }); // a retry would find the next test's agent
    expect(cancelPipeline).toEqual({ __typename: "PipelinePayload" });
    const kept = removed.deployment!.notes[0]!.slice("Stays on the host: ".length);
    expect(readFileSync(join(kept, "output/step-1/w"), "utf8")).toBe("weights\n");
    expect(readdirSync(join(directory, "agent")).filter((name) => name !== "lock")).toEqual(["state"]);
  });

  test("a host that is gone for good is forgotten on this side", async () => {
    const { id, directory } = await world.addHost("gone1");
    await world.order("deployHostAgent", { hostId: id });
    await world.ended(id);
    expect((await world.api.data("mutation R($id: ID!) { removeSshHost(id: $id) { ... on SshHostPayload { sshHost { id } } ... on DomainError { code } } }", { id })).removeSshHost).toMatchObject({ code: "SSH_HOST_IN_USE" });
    await world.sshd.kill();
    await world.order("removeHostAgent", { hostId: id });
    expect((await world.ended(id)).deployment).toMatchObject({ state: "FAILED", error: { code: "SSH_UNREACHABLE" } });
    await world.order("removeHostAgent", { hostId: id });
    await until("it is tried again", async () => (await world.state(id)).deployment!.steps.length > 0);
    expect((await remove(id, { forget: true })).deployment).toMatchObject({ state: "REMOVED", notes: [expect.stringContaining("was not asked")] }); // also while it is tried
    expect((await world.api.data("mutation R($id: ID!) { removeSshHost(id: $id) { ... on SshHostPayload { sshHost { id } } ... on DomainError { code } } }", { id })).removeSshHost).toMatchObject({ sshHost: { id } });
    await world.sshd.start();
    expect(existsSync(join(directory, "agent"))).toBe(true);
    const again = await world.addHost("gone1"); // the name is free again
    await world.order("deployHostAgent", { hostId: again.id });
    expect((await world.ended(again.id)).deployment).toMatchObject({ state: "DEPLOYED" });
    await remove(again.id);
    expect(processesBelow(directory)).toEqual([]);
  });

  function smallDisk(size: string): string | null {
    const disk = join("/tmp", `ty-small-${process.pid}`);
    try {
      mkdirSync(disk);
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "none", disk], { stdio: "ignore" });
    } catch {
      rmSync(disk, { recursive: true, force: true });
      return null;
    }
    endings.push(() => {
      execFileSync("umount", ["-l", disk]);
      rmSync(disk, { recursive: true, force: true });
    });
    return disk;
  }
});
