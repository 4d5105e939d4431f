// A command stage on an agent, from order to end: real processes, a real HTTP server.
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { identifyProcess } from "../../src/process-identity.js";
import { startAgentWorld } from "../support/agents.js";
import { assign, commandAssignment, stop } from "../support/control-plane-peer.js";

const node = process.execPath;

test("a program's outputs, log, metrics and checkpoint arrive before its end", async () => {
  const { peer } = await startAgentWorld();
  const script = `
    const fs = require("fs"), e = process.env;
    console.log("hello"); console.error("from stderr");
    fs.mkdirSync(e.TRAINYARD_OUTPUT_DIR + "/step-2"); fs.writeFileSync(e.TRAINYARD_OUTPUT_DIR + "/step-2/weights", "12345");
    fs.appendFileSync(e.TRAINYARD_METRICS_FILE, '{"step":1,"data":{"loss":NaN,"acc":0.5},"totalSteps":2}\\n{"step":2,"data":{"loss":1e999,"acc":null},"checkpoint":"step-2"}\\n');
    fs.writeFileSync(e.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ n: 20, pipeline: e.TRAINYARD_PIPELINE_ID, stage: e.TRAINYARD_STAGE, attempt: e.TRAINYARD_ATTEMPT }));`;
  const assignment = commandAssignment([node, "-e", script]);
  peer.order(assign(assignment));
  const ended = await peer.report("ended", assignment.attemptId);
  expect(ended.outcome).toEqual({ kind: "COMPLETED", outputs: { n: 20, pipeline: assignment.pipelineId, stage: "work", attempt: "1" } });
  expect(peer.logOf(assignment.attemptId)).toBe("hello\nfrom stderr\n");
  expect(peer.pointsOf(assignment.attemptId)).toEqual([["loss", 1, "NaN"], ["acc", 1, 0.5], ["loss", 2, "Infinity"], ["acc", 2, "NaN"]]);
  expect(peer.reports.find((report) => report.type === "checkpoint")).toMatchObject({ step: 2, sizeBytes: 5 });
  expect(peer.reports.find((report) => report.type === "progress")).toMatchObject({ step: 2, totalSteps: 2 });
  expect(peer.reports.at(0)).toMatchObject({ type: "started", command: [node, "-e", script] });
  expect(peer.reports.at(-1)).toBe(ended);
  expect(peer.reports.map((report) => report.n)).toEqual(peer.reports.map((_, i) => i + 1));
});

test("numbers and booleans in run become words, and shell characters stay what they are", async () => {
  const { peer, directory } = await startAgentWorld();
  const hostile = ["; touch canary", "$(touch canary)", "`touch canary`", "--", "-x", "a b", "*", "\"'\\", "é\n2"];
  const script = `require("fs").writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ argv: process.argv.slice(1) }))`;
  const assignment = commandAssignment([node, "-e", script, "--", 1, 2.5, true, ...hostile]);
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId);
  expect(outcome).toEqual({ kind: "COMPLETED", outputs: { argv: ["1", "2.5", "true", ...hostile] } });
  expect(existsSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "work", "canary"))).toBe(false);
});

test.each([["eval", "touch canary"], ["exit", "0"], [". canary"], ["-c", "touch canary"], ["exec", "touch", "canary"]])("a program named like a word of the shell is not one: %s", async (...run) => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment(run);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "COMMAND_NOT_FOUND" } });
});

test("the environment holds what is allowed and asked for, and nothing else of the agent's own", async () => {
  const { peer } = await startAgentWorld({ environment: { LD_PRELOAD: "/x.so", PYTHONPATH: "/x", NODE_OPTIONS: "--bad", TRAINYARD_AGENT_TOKEN: "tok", SECRET_OF_AGENT: "no", LANG: "C" }, settings: { TRAINYARD_AGENT_ENV: "PATH,LANG,LD_PRELOAD,PYTHONPATH,NODE_OPTIONS,TRAINYARD_AGENT_TOKEN" } });
  const script = `require("fs").writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ names: Object.keys(process.env).sort() }))`;
  const assignment = commandAssignment([node, "-e", script], { params: { env: { MINE: 1 } } });
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId);
  expect(outcome).toMatchObject({ kind: "COMPLETED", outputs: { names: expect.not.arrayContaining(["LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS", "TRAINYARD_AGENT_TOKEN", "SECRET_OF_AGENT"]) } });
  expect(outcome).toMatchObject({ outputs: { names: expect.arrayContaining(["LANG", "MINE", "PATH", "TRAINYARD_ATTEMPT", "TRAINYARD_METRICS_FILE", "TRAINYARD_OUTPUTS_FILE", "TRAINYARD_OUTPUT_DIR", "TRAINYARD_PIPELINE_ID", "TRAINYARD_STAGE"]) } });
});

test("a second attempt finds the output directory of the first, and directories are closed to others", async () => {
  const { peer, directory } = await startAgentWorld();
  const first = commandAssignment([node, "-e", `require("fs").writeFileSync(process.env.TRAINYARD_OUTPUT_DIR + "/state", "7"); process.exit(3)`]);
  peer.order(assign(first));
  expect((await peer.report("ended", first.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "EXIT_NONZERO", exitCode: 3 } });
  const second = commandAssignment([node, "-e", `const fs = require("fs"); fs.writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, JSON.stringify({ state: fs.readFileSync(process.env.TRAINYARD_PREVIOUS_OUTPUT_DIR + "/state", "utf8") }))`], { pipelineId: first.pipelineId, fence: 2 });
  peer.order(assign(second));
  expect((await peer.report("ended", second.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: { state: "7" } });
  expect(statSync(join(directory, "attempts", first.pipelineId, "work", "1")).mode & 0o777).toBe(0o700);
});

test("a secret reaches the program and never the control plane", async () => {
  const secret = "s3cr3t-värde-9000";
  const { peer } = await startAgentWorld({ environment: { TRAINYARD_SECRET_HF_TOKEN: secret } });
  const script = `const s = process.env.HF_TOKEN; console.log("plain", s); console.log("b64", Buffer.from("x" + s + "y").toString("base64")); console.log("url", encodeURIComponent(s)); process.stdout.write(s.slice(0, 5)); setTimeout(() => { console.log(s.slice(5)); console.error("\\x1b[31m" + s.slice(0, 4) + "\\x1b[0m" + s.slice(4)); require("fs").writeFileSync("length", String(s.length)); process.exit(1) }, 1600)`;
  const assignment = commandAssignment([node, "-e", script, "--", `--token=${secret}`], { params: { env: { HF_TOKEN: "secret://hf-token" } } });
  peer.order(assign(assignment));
  await peer.report("ended", assignment.attemptId);
  const everything = JSON.stringify(peer.reports);
  expect(everything).not.toContain(secret);
  expect(everything).not.toContain(Buffer.from(secret).toString("base64").slice(4, 16));
  expect(everything).not.toContain(encodeURIComponent(secret));
  expect(peer.logOf(assignment.attemptId).split("\n")[0]).toBe("plain [redacted]");
  expect(peer.logOf(assignment.attemptId)).toContain("\n[redacted]\n[redacted]\n");
});

test("a missing secret fails the stage and names it", async () => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", ""], { params: { env: { T: "secret://wandb.key" } } });
  peer.order(assign(assignment));
  const { outcome } = await peer.report("ended", assignment.attemptId);
  expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("TRAINYARD_SECRET_WANDB_KEY") } });
});

test.each([
  ["not JSON", "{", /not valid JSON/], ["an array", "[1]", /an array/], ["too large", JSON.stringify({ a: "x".repeat(70_000) }), /65536 are the limit/],
  ["a prototype", '{"a":{"__proto__":{"b":1}}}', /__proto__/], ["too deep", `${'{"a":'.repeat(40)}1${"}".repeat(40)}`, /deeper than 32/], ["a NUL", '{"a":"\\u0000"}', /NUL/],
])("outputs that are %s are refused and say why", async (_, content, problem) => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", `require("fs").writeFileSync(process.env.TRAINYARD_OUTPUTS_FILE, process.argv[1])`, content]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_OUTPUTS", message: expect.stringMatching(problem), exitCode: 0 } });
});

test("no outputs file means no outputs, but an evaluation must leave scores", async () => {
  const { peer } = await startAgentWorld();
  const plain = commandAssignment([node, "-e", ""]);
  const evaluation = commandAssignment([node, "-e", ""], { kind: "evaluate", stage: "score" });
  peer.order(assign(plain), assign(evaluation));
  expect((await peer.report("ended", plain.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: {} });
  expect((await peer.report("ended", evaluation.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "MISSING_OUTPUT" } });
});

test("a stop ends the whole tree, also what left the session, and is answered as STOPPED", async () => {
  const { peer, directory } = await startAgentWorld();
  // a stubborn program, a stubborn child, and a grandchild in a session of its own
  const script = `
    const { spawn } = require("child_process"), fs = require("fs");
    const stubborn = "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)";
    const a = spawn(process.execPath, ["-e", stubborn]);
    const b = spawn(process.execPath, ["-e", stubborn], { detached: true, stdio: "ignore" }); b.unref();
    process.on("SIGTERM", () => console.log("asked to stop"));
    setInterval(() => {}, 1000);
    fs.writeFileSync("pids", [process.pid, a.pid, b.pid].join(" ")); console.log("ready");`;
  const assignment = commandAssignment([node, "-e", script], { params: { graceSeconds: 0.3 } });
  peer.order(assign(assignment));
  await peer.until(() => peer.logOf(assignment.attemptId).includes("ready"), "the program to be ready");
  const pids = readFileSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "work", "pids"), "utf8").split(" ").map(Number);
  peer.order(stop(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  expect(peer.logOf(assignment.attemptId)).toContain("asked to stop");
  for (const pid of pids) expect(identifyProcess(pid)).toBeNull();
});

test("what a program leaves running is ended and said", async () => {
  const { peer, directory } = await startAgentWorld();
  const script = `const c = require("child_process").spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { detached: true, stdio: "ignore" }); c.unref(); require("fs").writeFileSync("pid", String(c.pid))`;
  const assignment = commandAssignment([node, "-e", script]);
  peer.order(assign(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED" });
  const pid = Number(readFileSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "work", "pid"), "utf8"));
  expect(identifyProcess(pid)).toBeNull();
  expect(peer.logOf(assignment.attemptId)).toContain("left 1 process running");
});

test("an order that comes three times runs once", async () => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", `console.log("once")`]);
  peer.order(assign(assignment), assign(assignment), assign(assignment));
  await peer.report("ended", assignment.attemptId);
  peer.order(assign(assignment));
  const after = commandAssignment([node, "-e", ""]);
  peer.order(assign(after));
  await peer.report("ended", after.attemptId);
  expect(peer.reports.filter((report) => report.type === "started" && report.attemptId === assignment.attemptId)).toHaveLength(1);
  expect(peer.logOf(assignment.attemptId)).toBe("once\n");
});

test("a stop that comes before its assignment ends the attempt, which then never starts", async () => {
  const { peer } = await startAgentWorld();
  const assignment = commandAssignment([node, "-e", ""]);
  peer.order(stop(assignment));
  expect((await peer.report("ended", assignment.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  peer.order(assign(assignment));
  const after = commandAssignment([node, "-e", ""]);
  peer.order(assign(after));
  await peer.report("ended", after.attemptId);
  expect(peer.reports.filter((report) => report.attemptId === assignment.attemptId)).toHaveLength(1);
});

test("a refused lease stops exactly that program and silences it", async () => {
  const { peer } = await startAgentWorld();
  const [gone, stays] = [commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"], { stage: "gone" }), commandAssignment([node, "-e", "console.log('up'); setInterval(() => {}, 1000)"], { stage: "stays" })];
  peer.order(assign(gone), assign(stays));
  await peer.until(() => peer.logOf(gone.attemptId) === "up\n" && peer.logOf(stays.attemptId) === "up\n", "both to run");
  peer.replaceFence(gone.attemptId);
  await peer.until(() => peer.renewals.at(-1)?.held.length === 1, "the agent to let go of one");
  expect(peer.renewals.at(-1)?.held[0]?.attemptId).toBe(stays.attemptId);
  peer.order(stop(stays));
  await peer.report("ended", stays.attemptId);
  expect(peer.reports.some((report) => report.type === "ended" && report.attemptId === gone.attemptId)).toBe(false);
});
