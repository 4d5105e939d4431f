// Sessions, tokens, TLS aside: what the agent does when the control plane says no, restarts, or speaks nonsense.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { CAPABILITIES } from "../../src/agent/attempts.js";
import { agentDirectory, startAgentWorld, startTestAgent } from "../support/agents.js";
import { assign, commandAssignment, startPeer } from "../support/control-plane-peer.js";

const node = process.execPath;

test("a session that is over is opened again, with what is held", async () => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"]);
  peer.order(assign(assignment));
  await peer.report("started", assignment.attemptId);
  let refusals = 3;
  peer.intercept = (path, response) => {
    if (path === "/agent/v1/session" || refusals-- <= 0) return false;
    response.writeHead(409, { "content-type": "application/json" }).end(JSON.stringify({ code: "SESSION_OVER", message: "over", retryable: true }));
    return true;
  };
  await peer.until(() => peer.sessions.length > 1, "another session");
  expect(peer.sessions.at(-1)?.held).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
  expect(peer.sessions.at(-1)?.instance).toBe(peer.sessions[0]?.instance);
});

test("answers that are no JSON, 500s and cut connections are survived", async () => {
  const { peer } = await startAgentWorld();
  let bad = 12;
  peer.intercept = (_, response) => {
    if (bad-- <= 0) return false;
    if (bad % 3 === 0) response.writeHead(200).end("<html>");
    else if (bad % 3 === 1) response.writeHead(500).end();
    else response.destroy();
    return true;
  };
  const assignment = commandAssignment([node, "-e", "console.log(1)"]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId, 20_000)).outcome).toMatchObject({ kind: "COMPLETED" });
}, 30_000);

test("polls that fail again and again are tried as soon as a renewal is answered: a control plane that is up for moments hands out work", async () => {
  const { peer } = await startAgentWorld();
  let refused = 12; // with growing waits alone: half a minute
  peer.intercept = (path, response) => {
    if (path !== "/agent/v1/poll" || refused-- <= 0) return false;
    response.destroy();
    return true;
  };
  const assignment = commandAssignment([node, "-e", "console.log(1)"]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId, 20_000)).outcome).toMatchObject({ kind: "COMPLETED" });
}, 30_000);

test("a control plane restored from a backup gets what is new, and the numbers go on", async () => {
  const { peer } = await startAgentWorld();
  for (const stage of ["one", "two"]) {
    const assignment = commandAssignment([node, "-e", "console.log(1)"], { stage });
    peer.order(assign(assignment));
    await peer.report("ended", assignment.attemptId);
  }
  await peer.until(() => (peer.renewals.at(-1)?.held.length ?? 1) === 0, "the agent to know that both are committed");
  peer.restore(2);
  const later = commandAssignment([node, "-e", "console.log(2)"], { stage: "later" });
  peer.order(assign(later));
  expect((await peer.report("ended", later.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  expect(peer.logOf(later.attemptId)).toBe("2\n");
});

test("an agent starts without a control plane and connects when there is one", async () => {
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  await peer.down();
  const agent = await startTestAgent(peer.url, agentDirectory());
  expect(agent.link()).toBeNull();
  await peer.up();
  await agent.connected;
});

test("it tells what it has: pools, labels, capabilities, versions, and the same epoch every time", async () => {
  const directory = agentDirectory();
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  const settings = { TRAINYARD_AGENT_POOLS: "training=2", TRAINYARD_AGENT_LABELS: "zone=3", TRAINYARD_AGENT_ADDRESS: "10.0.0.5", TRAINYARD_AGENT_PYTHON: "/nonexistent/python" };
  const first = await startTestAgent(peer.url, directory, { settings });
  await first.connected;
  await first.stop("detach");
  const second = await startTestAgent(peer.url, directory, { settings });
  await second.connected;
  expect(peer.sessions[0]).toMatchObject({ name: "test", pools: [{ queues: ["training"], concurrency: 2 }], labels: { zone: 3 }, capabilities: [...CAPABILITIES], runMode: "LOCAL", address: "10.0.0.5", versions: { node: process.versions.node, agent: expect.any(String), hostCpus: String(availableParallelism()), freeDiskBytes: expect.stringMatching(/^\d+$/) } });
  expect(peer.sessions[1]?.epoch).toBe(peer.sessions[0]?.epoch);
  expect(peer.sessions[1]?.instance).not.toBe(peer.sessions[0]?.instance);
});

test("a slow interpreter keeps no session waiting: what is installed is told as soon as it answers", async () => {
  const folder = mkdtempSync(join(inject("runFolder"), "python-"));
  const [python, gate] = [join(folder, "python3"), join(folder, "gate")];
  execFileSync("mkfifo", [gate]);
  writeFileSync(python, `#!/bin/sh\nread -r answer < ${gate}\necho "$answer"\n`, { mode: 0o755 });
  const { peer } = await startAgentWorld({ peer: { renewEveryMs: 60_000 }, settings: { TRAINYARD_AGENT_PYTHON: python } }); // connected, and no renewal due for half a minute
  expect(peer.sessions[0]).toMatchObject({ capabilities: [...CAPABILITIES], versions: { node: process.versions.node } });
  writeFileSync(gate, `${JSON.stringify({ python: "3.11.7", verl: "0.7.1", trl: null })}\n`);
  await peer.until(() => peer.renewals.length > 0, "a renewal ahead of time");
  expect(peer.renewals[0]?.host).toMatchObject({ capabilities: [...CAPABILITIES, "train:verl", "merge"], versions: { pythonPath: python, python: "3.11.7", verl: "0.7.1", trl: null, node: process.versions.node } });
});

test("what is known of the host is told once a session, not with every renewal", async () => {
  const { peer } = await startAgentWorld({ settings: { TRAINYARD_AGENT_PYTHON: "/nonexistent/python" } });
  await peer.until(() => peer.renewals.length >= 4, "four renewals");
  const told = peer.renewals.flatMap(({ host }) => (host === undefined ? [] : [host]));
  expect(told.at(-1)).toMatchObject({ capabilities: [...CAPABILITIES], versions: { python: null, verl: null } });
  expect(told.length).toBeLessThanOrEqual(2); // before and after the answer
});

test("without a token it does not start and says how to get one", async () => {
  await expect(startTestAgent("http://127.0.0.1:1", agentDirectory(), { settings: { TRAINYARD_AGENT_TOKEN: "", TRAINYARD_AGENT_TOKEN_FILE: "/nonexistent/token" } })).rejects.toMatchObject({ code: "AGENT_TOKEN_MISSING", message: expect.stringContaining("TRAINYARD_AGENT_TOKEN_FILE") });
});

test("an order of an unknown form is left out and the others are taken", async () => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", ""]);
  peer.order({ type: "dance", attemptId: assignment.attemptId } as never);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
});

test("a GPU that a stranger holds is refused with the pid; free ones are the only ones a program sees", async () => {
  const program = join(mkdtempSync(join(inject("runFolder"), "smi-")), "nvidia-smi");
  writeFileSync(program, `#!/bin/sh\ncase "$1" in --query-gpu=*) echo "0, GPU-a, NVIDIA H200, 143771, 4, 0"; echo "1, GPU-b, NVIDIA H200, 143771, 4, 0";; *) echo "4242, GPU-b";; esac\n`);
  chmodSync(program, 0o755);
  const { peer } = await startAgentWorld({ settings: { TRAINYARD_NVIDIA_SMI: program } });
  expect(peer.sessions[0]?.gpus.map(({ strangers }) => strangers)).toEqual([0, 1]);
  const print = `require("fs").writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ seen: process.env.CUDA_VISIBLE_DEVICES }))`;
  const [free, taken, none] = [commandAssignment([node, "-e", print], { gpus: [0], stage: "free" }), commandAssignment([node, "-e", print], { gpus: [0, 1], stage: "taken" }), commandAssignment([node, "-e", print], { stage: "none" })];
  peer.order(assign(free), assign(taken), assign(none));
  expect((await peer.report("ended", free.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: { seen: "0" } });
  expect((await peer.report("ended", none.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: { seen: "" } });
  expect((await peer.report("ended", taken.attemptId)).outcome).toMatchObject({ kind: "REFUSED", reason: expect.stringContaining("GPU 1 is held by process 4242") });
});

test("several nodes: rank, number and head address are told", async () => {
  const { peer } = await startAgentWorld();
  const print = `const e = process.env; require("fs").writeFileSync(e.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ rank: e.TRAINYARD_NODE_RANK, nodes: e.TRAINYARD_NODES, head: e.TRAINYARD_HEAD_ADDRESS }))`;
  const assignment = commandAssignment([node, "-e", print], { rank: 1, members: [{ agentName: "a", address: "10.0.0.1", gpus: [] }, { agentName: "test", address: null, gpus: [] }] });
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: { rank: "1", nodes: "2", head: "10.0.0.1" } });
});

test("a point reaches the control plane within a fraction of a second of being written", async () => {
  const { peer } = await startAgentWorld();
  const script = `const fs = require("fs"); let i = 0; setInterval(() => fs.appendFileSync(process.env.TRAINYARD_METRICS_FILE, JSON.stringify({ step: ++i, data: { at: Date.now() } }) + "\\n"), 250)`;
  const assignment = commandAssignment([node, "-e", script]);
  const arrivals: number[] = [];
  const seen = new Set<number>();
  peer.order(assign(assignment));
  await peer.until(() => {
    for (const [, step, value] of peer.pointsOf(assignment.attemptId)) {
      if (seen.has(step)) continue;
      seen.add(step);
      arrivals.push(Date.now() - Number(value));
    }
    return seen.size >= 12;
  }, "twelve points");
  arrivals.sort((a, b) => a - b);
  expect(arrivals[6]).toBeLessThan(250);
});

test("a program that writes a gigabyte-like line and a flood of lines is carried without harm", async () => {
  const { peer } = await startAgentWorld();
  const script = `const b = Buffer.alloc(1 << 20, "x"); for (let i = 0; i < 64; i++) require("fs").writeSync(1, b); console.log(""); for (let i = 0; i < 20000; i++) console.log("line " + i)`;
  const assignment = commandAssignment([node, "-e", script]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId, 20_000)).outcome).toMatchObject({ kind: "COMPLETED" });
  const log = peer.logOf(assignment.attemptId); // throws on an undeclared gap
  expect(log).toContain("\nline 0\n");
  expect(log.endsWith("line 19999\n")).toBe(true);
  expect(peer.reports.reduce((sum, report) => sum + (report.type === "log" ? report.skippedBytes : 0), 0)).toBe((64 << 20) - 32 * 1024);
}, 30_000);
