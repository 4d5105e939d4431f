// Agents of their own on a host: a real sshd, real Node and packages sent there, real programs that outlive what is done to the agent.
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { identifyProcess } from "../../src/process-identity.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { processesBelow } from "../support/processes.js";
import { sshdIsHere } from "../support/sshd.js";
import { startDeploymentWorld, supervisionHere, type DeploymentWorld } from "./deployment-world.js";

const TEN_MINUTES = 600_000;
/** Counts on standard output and in a file until it is told to end. */
const COUNTING = `n=0; echo "pid $$"; while [ ! -e "$1" ]; do n=$((n + 1)); echo "line $n"; sleep 0.05; done; echo "last $n"`;

describe.skipIf(!sshdIsHere)("an agent of its own on a host", { timeout: TEN_MINUTES }, () => {
  let world: DeploymentWorld;
  beforeAll(async () => {
    world = await startDeploymentWorld();
  }, 180_000);
  afterAll(() => world.stop(), 60_000);

  const submit = async (spec: unknown): Promise<string> => {
    const { submitPipeline } = await world.api.data("mutation S($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { code message } } }", { spec });
    if (submitPipeline.pipeline === undefined) throw new Error(JSON.stringify(submitPipeline));
    return submitPipeline.pipeline.id;
  };
  const stageOf = async (pipeline: string): Promise<{ id: string; status: string; log: string; error: { message: string } | null }> => {
    const { pipeline: found } = await world.api.data("query P($id: ID!) { pipeline(id: $id) { stages { id status error { message } } } }", { id: pipeline });
    const [stage] = found.stages;
    let log = "";
    for (let from = 0; ;) {
      const { stage: { logs } } = await world.api.data("query L($id: ID!, $from: SafeInt!) { stage(id: $id) { logs(fromByte: $from, maxBytes: 65536) { text toByte skippedBytes } } }", { id: stage.id, from });
      expect(logs.skippedBytes).toBe(0);
      log += logs.text;
      if (logs.toByte === from) return { ...stage, log };
      from = logs.toByte;
    }
  };
  const until = async (what: string, condition: () => Promise<boolean> | boolean): Promise<void> => {
    if (!(await pollUntil(condition, 240_000))) throw new Error(`never came: ${what}`);
  };
  const agentPid = (directory: string): number => (JSON.parse(readFileSync(join(directory, "agent/run/agent.json"), "utf8")) as { pid: number }).pid;

  test("deployed it runs stages; an upgrade and a kill leave its program running, no byte of its log is lost; removed, nothing is left", async () => {
    const { id, directory } = await world.addHost("gpu1");
    expect(await world.order("deployHostAgent", { hostId: id, labels: "place=there", sendNode: true })).not.toHaveProperty("code");
    const deployed = await world.ended(id);
    expect(deployed).toMatchObject({ servedBy: "AGENT", agent: { status: "ONLINE" }, deployment: { state: "DEPLOYED", version: "0.1.0", supervision: supervisionHere(), error: null } });
    const sending = deployed.deployment!.steps.find(({ name }) => name.startsWith("send"))!;
    expect(sending.bytesDone).toBe(sending.bytesTotal);
    expect(sending.bytesTotal).toBeGreaterThan(10_000_000); // Node is in it
    expect(readlinkSync(join(directory, "agent/current"))).toBe(`releases/${deployed.deployment!.release}`);
    expect(lstatSync(join(directory, "agent/current/node")).isFile()).toBe(true);
    for (const file of ["token", "config.json"]) expect(statSync(join(directory, "agent", file)).mode & 0o077, file).toBe(0);
    const token = readFileSync(join(directory, "agent/token"), "utf8").trim();

    // Nothing tells the token: no arguments, no environment, no log, no row.
    for (const pid of processesBelow(directory)) for (const file of ["cmdline", "environ"]) expect(readFileSync(`/proc/${pid}/${file}`, "latin1")).not.toContain(token);
    expect(readFileSync(join(directory, "agent/logs/agent.log"), "utf8")).not.toContain(token);
    const { db } = world.api.world.database;
    expect(JSON.stringify([await db.selectFrom("host_deployments").selectAll().execute(), await db.selectFrom("audit").selectAll().execute()])).not.toContain(token);

    const end = join(world.sshd.folder, "end");
    const pipeline = await submit({ name: "count", stages: [{ name: "count", kind: "command", params: { run: ["sh", "-c", COUNTING, "sh", end] } }] });
    await until("the program counts", async () => /line 5\n/.test((await stageOf(pipeline)).log));
    const program = Number(/pid (\d+)/.exec((await stageOf(pipeline)).log)![1]);
    const before = identifyProcess(program);
    expect(before).not.toBeNull();

    world.setVersion("0.1.1");
    const oldAgent = agentPid(directory);
    await world.order("deployHostAgent", { hostId: id }); // its settings stay
    const upgraded = await world.ended(id);
    expect(upgraded.deployment).toMatchObject({ state: "DEPLOYED", version: "0.1.1", error: null });
    expect(upgraded.deployment!.release).not.toBe(deployed.deployment!.release);
    expect(upgraded.deployment!.steps.find(({ name }) => name.startsWith("send"))!.bytesTotal).toBeLessThan(10_000_000); // Node was there
    expect(agentPid(directory)).not.toBe(oldAgent);
    expect(identifyProcess(program)).toEqual(before);
    expect((await world.api.data("{ agents { name labels } }")).agents.find(({ name }: { name: string }) => name === "gpu1").labels).toEqual({ place: "there" });
    expect(readdirSync(join(directory, "agent/releases")).sort()).toEqual([deployed.deployment!.release, upgraded.deployment!.release].sort());

    const killed = agentPid(directory);
    process.kill(killed, "SIGKILL");
    await until("the agent is started again", () => identifyProcess(killed) === null && agentPid(directory) !== killed);
    const count = (log: string): number => Number(/line (\d+)\n(?:.*)$/.exec(log.slice(log.lastIndexOf("line ")))?.[1] ?? 0);
    const sofar = count((await stageOf(pipeline)).log);
    await until("it goes on reporting", async () => count((await stageOf(pipeline)).log) > sofar + 5);
    expect(identifyProcess(program)).toEqual(before);

    writeFileSync(end, "");
    await until("the stage ends", async () => (await stageOf(pipeline)).status === "COMPLETED");
    const { log } = await stageOf(pipeline);
    const last = Number(/last (\d+)\n$/.exec(log)![1]);
    expect(log).toBe(`pid ${program}\n${Array.from({ length: last }, (_, n) => `line ${n + 1}\n`).join("")}last ${last}\n`);
    expect((await world.api.data("query P($id: ID!) { pipeline(id: $id) { stages { attempts { number } } } }", { id: pipeline })).pipeline.stages[0].attempts).toHaveLength(1);

    await world.order("removeHostAgent", { hostId: id });
    const removed = await world.ended(id);
    expect(removed).toMatchObject({ servedBy: "SSH", deployment: { state: "REMOVED", release: null, notes: [] } });
    expect(existsSync(join(directory, "agent"))).toBe(false);
    expect(processesBelow(directory)).toEqual([]);
    const row = await db.selectFrom("tokens").select("revoked_at").where("agent_name", "=", "gpu1").execute();
    expect(row.every(({ revoked_at: at }) => at !== null)).toBe(true);
    expect(await world.order("removeHostAgent", { hostId: id })).toMatchObject({ code: "DEPLOY_REFUSED" });
  });
});
