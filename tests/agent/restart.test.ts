// An agent that dies and comes back: kill -9 of real processes, at every failpoint.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished, expect, test } from "vitest";
import { identifyProcess } from "../../src/process-identity.js";
import type { Assignment } from "../../src/protocol/messages.js";
import { agentDirectory, ageJournal, startAgentProcess, startTestAgent } from "../support/agents.js";
import { assign, commandAssignment, startPeer, stop, type Peer } from "../support/control-plane-peer.js";

const node = process.execPath;
/** Appends to a file outside the attempt each time it runs, counts on its log and metrics, then ends with outputs. */
const counting = (lines: number, everyMs: number): string => `
  const fs = require("fs"), e = process.env;
  fs.appendFileSync("runs", process.pid + "\\n");
  let i = 0;
  const timer = setInterval(() => {
    i++;
    console.log("line " + i);
    fs.appendFileSync(e.TRAINYARD_METRICS_FILE, JSON.stringify({ step: i, data: { loss: 1 / i } }) + "\\n");
    if (i < ${lines}) return;
    clearInterval(timer);
    fs.writeFileSync(e.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ lines: i }));
    process.exitCode = 0;
  }, ${everyMs});`;
const wholeLog = (lines: number): string => Array.from({ length: lines }, (_, i) => `line ${i + 1}\n`).join("");

async function peerForTest(): Promise<Peer> {
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  return peer;
}

test("a program outlives the kill of its agent, is adopted, and nothing of it is lost or told twice", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const first = startAgentProcess(peer.url, directory);
  const assignment = commandAssignment([node, "-e", counting(40, 50)]);
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId).includes("line 5\n"), "five lines");
  await first.kill();
  startAgentProcess(peer.url, directory);
  const { outcome } = await peer.report("ended", assignment.attemptId, 15_000);
  expect(outcome).toEqual({ kind: "COMPLETED", outputs: { lines: 40 } });
  expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(40));
  expect(peer.pointsOf(assignment.attemptId).map(([, step]) => step)).toEqual(Array.from({ length: 40 }, (_, i) => i + 1));
  expect(peer.sessions.at(-1)?.held).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
});

test("the exit status of a program that ended while no agent lived is known to the next one", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const first = startAgentProcess(peer.url, directory);
  const assignment = commandAssignment([node, "-e", `require("fs").writeFileSync("pid", String(process.pid)); console.log("up"); setTimeout(() => { console.log("ModuleNotFoundError: No module named 'verl'"); process.exit(7) }, 600)`]);
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId) === "up\n", "the program to run");
  await first.kill();
  const pid = Number(readFileSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "work", "pid"), "utf8"));
  await peer.until(() => identifyProcess(pid) === null, "the program to end");
  startAgentProcess(peer.url, directory);
  const { outcome } = await peer.report("ended", assignment.attemptId, 15_000);
  expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "MODULE_NOT_FOUND", exitCode: 7, message: "Python has no module verl on this host.", logTail: ["up", "ModuleNotFoundError: No module named 'verl'"] } });
});

/** An attempt whose agent and program, with its launcher, were killed. */
async function killedTogether(): Promise<{ readonly peer: Peer; readonly directory: string; readonly assignment: Assignment }> {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const first = startAgentProcess(peer.url, directory);
  const assignment = commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"]);
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId) === "up\n", "the program to run");
  await first.kill();
  const { pid } = JSON.parse(readFileSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "launch.json"), "utf8")) as { pid: number };
  process.kill(-pid, "SIGKILL");
  return { peer, directory, assignment };
}

test("a program that is gone with its launcher is said to have vanished", async () => {
  const { peer, directory, assignment } = await killedTogether();
  startAgentProcess(peer.url, directory);
  expect((await peer.report("ended", assignment.attemptId, 15_000)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "PROCESS_VANISHED" } });
});

test("a program of an earlier boot is said to have ended with the host", async () => {
  const { peer, directory, assignment } = await killedTogether();
  ageJournal(directory);
  startAgentProcess(peer.url, directory);
  expect((await peer.report("ended", assignment.attemptId, 15_000)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "HOST_REBOOTED" } });
});

test.each(["after-journal-accept", "before-spawn", "after-spawn-before-journal", "after-exit-before-report", "after-report-before-ack"].flatMap((point) => [1, 2].map((hit) => [point, hit] as const)))(
  "an agent killed at %s (hit %i) loses nothing and runs nothing twice",
  async (point, hit) => {
    const [peer, directory] = [await peerForTest(), agentDirectory()];
    const first = startAgentProcess(peer.url, directory, { TRAINYARD_FAILPOINT: `${point}:${hit}` });
    await first.started;
    const assignments = Array.from({ length: 3 }, (_, i) => commandAssignment([node, "-e", counting(5, 20)], { stage: `s${i}` }));
    peer.order(assign(assignments[0]!));
    await peer.until(() => first.child.exitCode !== null || first.child.signalCode !== null || peer.reports.some((report) => report.type === "ended"), "the first to end, or the agent");
    peer.order(assign(assignments[1]!), assign(assignments[2]!));
    expect(await first.ended).toBe("SIGKILL");
    startAgentProcess(peer.url, directory);
    for (const { attemptId, pipelineId, stage } of assignments) {
      expect((await peer.report("ended", attemptId, 15_000)).outcome).toEqual({ kind: "COMPLETED", outputs: { lines: 5 } });
      expect(peer.logOf(attemptId)).toBe(wholeLog(5));
      expect(readFileSync(join(directory, "attempts", pipelineId, stage, "1", "work", "runs"), "utf8").trim().split("\n")).toHaveLength(1);
    }
    expect(peer.reports.filter((report) => report.type === "started")).toHaveLength(3);
  },
);

test("an agent that detaches leaves programs running, and the next one goes on with them", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const first = startAgentProcess(peer.url, directory);
  const assignment = commandAssignment([node, "-e", counting(30, 40)]);
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId).includes("line 3\n"), "three lines");
  first.child.kill("SIGTERM");
  expect(await first.ended).toBe(0);
  startAgentProcess(peer.url, directory);
  expect((await peer.report("ended", assignment.attemptId, 15_000)).outcome).toEqual({ kind: "COMPLETED", outputs: { lines: 30 } });
  expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(30));
});

test("drain takes nothing new and waits for what runs; now stops it", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const draining = await startTestAgent(peer.url, directory);
  const assignment = commandAssignment([node, "-e", counting(20, 40)]);
  peer.order(assign(assignment));
  await peer.report("started", assignment.attemptId);
  const drained = draining.stop("drain");
  const late = commandAssignment([node, "-e", ""]);
  peer.order(assign(late));
  expect((await peer.report("ended", late.attemptId)).outcome).toEqual({ kind: "REFUSED", reason: "This agent is stopping." });
  await drained;
  await draining.done;
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });

  const stopping = await startTestAgent(peer.url, directory);
  const endless = commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"]);
  peer.order(assign(endless));
  await peer.until(() => peer.logOf(endless.attemptId) === "up\n", "the program to run");
  await stopping.stop("now");
  expect((await peer.report("ended", endless.attemptId, 100)).outcome).toEqual({ kind: "STOPPED" });
});

test("a damaged journal refuses the start, and gives the directory back", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const first = await startTestAgent(peer.url, directory);
  const assignment = commandAssignment([node, "-e", ""]);
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId);
  await first.stop("detach");
  const file = join(directory, "journal", readdirSync(join(directory, "journal"))[0] as string);
  const whole = readFileSync(file, "utf8");
  writeFileSync(file, whole.replace("accept", "ACCEPT"));
  await expect(startTestAgent(peer.url, directory)).rejects.toMatchObject({ code: "JOURNAL_DAMAGED" });
  writeFileSync(file, whole);
  await (await startTestAgent(peer.url, directory)).connected;
});

test("a second agent on the same directory is refused and told who has it", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  await startTestAgent(peer.url, directory);
  await expect(startTestAgent(peer.url, directory)).rejects.toMatchObject({ code: "AGENT_DIRECTORY_IN_USE", message: expect.stringContaining(String(process.pid)) });
});

test("a control plane that is away costs nothing: reports wait, and a stop given meanwhile arrives", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  const agent = await startTestAgent(peer.url, directory);
  await agent.connected;
  const [short, long] = [commandAssignment([node, "-e", counting(10, 30)], { stage: "short" }), commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"], { stage: "long" })];
  peer.order(assign(short), assign(long));
  await peer.report("started", short.attemptId);
  await peer.report("started", long.attemptId);
  await peer.down();
  peer.order(stop(long));
  const exit = join(directory, "attempts", short.pipelineId, "short", "1", "exit.json");
  await peer.until(() => readFileSync(exit, "utf8").startsWith('{"status":0}'), "the program to end");
  await peer.up();
  expect((await peer.report("ended", short.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect((await peer.report("ended", long.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  expect(peer.logOf(short.attemptId)).toBe(wholeLog(10));
});

test("without renewals programs are stopped before their lease ends", async () => {
  const peer = await startPeer({ leaseTtlMs: 2_500, renewEveryMs: 100 });
  onTestFinished(() => peer.stop());
  const agent = await startTestAgent(peer.url, agentDirectory());
  await agent.connected;
  const assignment = commandAssignment([node, "-e", `process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000)`], { params: { graceSeconds: 30 } });
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId) === "up\n", "the program to run");
  const downAt = performance.now();
  await peer.down();
  await peer.until(() => agent.running() === 0, "the agent to stop it");
  expect(performance.now() - downAt).toBeLessThan(2_600);
  await peer.up();
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "AGENT_LOST" } });
});

test("after the control plane's database was restored, a number given again does not get the forgotten attempt's end for its own", async () => {
  const [peer, directory] = [await peerForTest(), agentDirectory()];
  startAgentProcess(peer.url, directory);
  const forgotten = commandAssignment([node, "-e", "process.exitCode = 3"]);
  peer.order(assign(forgotten));
  expect((await peer.report("ended", forgotten.attemptId, 15_000)).outcome).toMatchObject({ kind: "FAILED", failure: { exitCode: 3 } });
  const again = { ...commandAssignment([node, "-e", "console.log('mine')"]), pipelineId: forgotten.pipelineId, stageId: forgotten.stageId, stage: forgotten.stage, fence: forgotten.fence };
  peer.order(assign(again));
  expect((await peer.report("ended", again.attemptId, 15_000)).outcome).toEqual({ kind: "COMPLETED", outputs: {} });
  expect(peer.logOf(again.attemptId)).toBe("mine\n");
});
