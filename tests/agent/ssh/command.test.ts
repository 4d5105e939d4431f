// A command stage of an agent that acts for an SSH host: a real sshd, real programs in a directory of their own, a real HTTP server.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { newId } from "../../../src/domain/ids.js";
import { identifyProcess } from "../../../src/process-identity.js";
import { assign, commandAssignment, stop } from "../../support/control-plane-peer.js";
import { sshdForTest, startSshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";

const python = (script: string, ...args: readonly string[]) => ["python3", "-c", script, ...args];
const PATIENCE_MS = 30_000;

describe.skipIf(!sshdIsHere)("a command stage on an SSH host", () => {
  test("runs there with paths of there; its outputs, log, metrics and checkpoint arrive before its end", async () => {
    const { peer, directory, attemptThere } = await startSshAgentWorld();
    const script = `
import json, os, sys
e = os.environ
print("hello", flush=True); print("from stderr", file=sys.stderr, flush=True)
os.mkdir(e["TRAINYARD_OUTPUT_DIR"] + "/step-2"); open(e["TRAINYARD_OUTPUT_DIR"] + "/step-2/weights", "w").write("12345")
open(e["TRAINYARD_METRICS_FILE"], "a").write('{"step":1,"data":{"loss":NaN,"acc":0.5},"totalSteps":2}\\n{"step":2,"data":{"loss":1e999},"checkpoint":"step-2"}\\n')
open(e["TRAINYARD_OUTPUTS_FILE"], "w").write(json.dumps({"n": 20, "cwd": os.getcwd(), "out": e["TRAINYARD_OUTPUT_DIR"], "argv": sys.argv[1:]}))`;
    const assignment = commandAssignment(python(script, "--", 'é "$(id)"'));
    peer.order(assign(assignment));
    const ended = await peer.report("ended", assignment.attemptId, PATIENCE_MS);
    const at = attemptThere(assignment);
    expect(ended.outcome).toEqual({ kind: "COMPLETED", outputs: { n: 20, cwd: join(at, "work"), out: join(at, "output"), argv: ["--", 'é "$(id)"'] } });
    expect(peer.logOf(assignment.attemptId)).toBe("hello\nfrom stderr\n");
    expect(peer.pointsOf(assignment.attemptId)).toEqual([["loss", 1, "NaN"], ["acc", 1, 0.5], ["loss", 2, "Infinity"]]);
    expect(peer.reports.find((report) => report.type === "checkpoint")).toMatchObject({ step: 2, sizeBytes: 5, path: join(at, "output", "step-2") });
    expect(peer.reports.at(-1)).toBe(ended);
    expect(peer.sessions[0]).toMatchObject({ runMode: "SSH" });
    expect(existsSync(join(directory, "attempts", assignment.pipelineId, "work", "1", "output", "step-2"))).toBe(false); // checkpoints stay there
  });

  test("the environment is the host's by name, the host's own variables, and the stage's; the agent's own is none of it", async () => {
    const { peer } = await startSshAgentWorld({ place: { variables: { MINE: "of the host", BOTH: "of the host" }, inherited: ["PATH", "LD_PRELOAD"] } });
    const assignment = commandAssignment(python(`import json,os; open(os.environ["TRAINYARD_OUTPUTS_FILE"],"w").write(json.dumps({k: v for k, v in os.environ.items() if not k.startswith("TRAINYARD")}))`), { params: { env: { BOTH: "of the stage" } } });
    peer.order(assign(assignment));
    const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE_MS);
    expect(outcome).toMatchObject({ kind: "COMPLETED", outputs: { MINE: "of the host", BOTH: "of the stage", PATH: expect.any(String) as string } });
    expect(Object.keys((outcome as { outputs: object }).outputs)).not.toContain("HOME");
  });

  test("the Python environment's programs come first, and the words of the prefix stand before each program", async () => {
    const sshd = await sshdForTest();
    const bin = join(sshd.folder, "venv/bin");
    mkdirSync(bin, { recursive: true });
    symlinkSync(execFileSync("sh", ["-c", "command -v python3"], { encoding: "utf8" }).trim(), join(bin, "python3"));
    writeFileSync(join(bin, "whose"), "#!/bin/sh\necho of the environment, $PREFIXED\n", { mode: 0o755 });
    const { peer } = await startSshAgentWorld({ sshd, place: { pythonEnvironment: join(sshd.folder, "venv"), commandPrefix: ["env", "PREFIXED=yes"] } });
    const assignment = commandAssignment(["sh", "-c", "whose; command -v python3"]);
    peer.order(assign(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "COMPLETED" });
    expect(peer.logOf(assignment.attemptId)).toBe(`of the environment, yes\n${join(bin, "python3")}\n`);
  });

  test("a file that an earlier stage left beside the agent is sent before the program is told of it, and not sent again", async () => {
    const { peer, directory, there } = await startSshAgentWorld();
    const pipelineId = newId("pip");
    const left = join(realpathSync(directory), "attempts", pipelineId, "prep", "1", "output");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, "train.jsonl"), '{"q":1}\n');
    const script = `import json,os,sys; open(os.environ["TRAINYARD_OUTPUTS_FILE"],"w").write(json.dumps({"path": sys.argv[1], "text": open(sys.argv[1].split("=")[1]).read(), "v": os.environ["FILE"]}))`;
    for (const stage of ["first", "second"]) {
      const assignment = commandAssignment(python(script, `--data=${join(left, "train.jsonl")}`), { pipelineId, stage, params: { env: { FILE: join(left, "train.jsonl") } } });
      peer.order(assign(assignment));
      const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE_MS);
      const path = (outcome as { outputs?: { v?: string } }).outputs?.v ?? "";
      expect(outcome).toEqual({ kind: "COMPLETED", outputs: { path: `--data=${path}`, text: '{"q":1}\n', v: path } });
      expect(path.startsWith(join(there, "store"))).toBe(true);
      expect(/sent .*train\.jsonl/.test(peer.logOf(assignment.attemptId))).toBe(stage === "first");
    }
  });

  test("no other file of the agent's machine is sent, however a stage writes its path", async () => {
    const { peer, directory, there } = await startSshAgentWorld();
    const attempts = join(realpathSync(directory), "attempts");
    const pipelineId = newId("pip");
    const left = join(attempts, pipelineId, "prep", "1", "output");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(directory, "secret"), "of this machine");
    symlinkSync(join(directory, "secret"), join(left, "link"));
    for (const [index, path] of [`${attempts}/../secret`, `${left}/../../../../../secret`, join(left, "link")].entries()) {
      const assignment = commandAssignment(python("import sys; print(sys.argv[1])", path), { pipelineId, stage: `look-${index}` });
      peer.order(assign(assignment));
      expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome, path).toMatchObject({ kind: "COMPLETED" });
      expect(peer.logOf(assignment.attemptId)).toBe(`${join(there, "attempts")}${path.slice(attempts.length)}\n`);
    }
    expect(existsSync(join(there, "store"))).toBe(false);
  });

  test("cancel leaves no process there, also of what left its session", async () => {
    const { peer, attemptThere } = await startSshAgentWorld();
    const script = `
import os, subprocess, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
open("pids", "w").write("%d %d" % (os.getpid(), child.pid))
print("up", flush=True)
time.sleep(600)`;
    const assignment = commandAssignment(python(script), { params: { graceSeconds: 1 } });
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId) === "up\n", "the program to run", PATIENCE_MS);
    const pids = readFileSync(join(attemptThere(assignment), "work", "pids"), "utf8").split(" ").map(Number);
    peer.order(stop(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toEqual({ kind: "STOPPED" });
    expect(pids.map((pid) => identifyProcess(pid))).toEqual([null, null]);
  });

  test("what cannot be started is told as on a host of one's own", async () => {
    const { peer } = await startSshAgentWorld();
    const assignment = commandAssignment(["no-such-program-xyz"]);
    peer.order(assign(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "COMMAND_NOT_FOUND", message: expect.stringContaining("no-such-program-xyz") as string } });
  });

  test("a failed program's exit status and the end of its log say why", async () => {
    const { peer } = await startSshAgentWorld();
    const assignment = commandAssignment(python(`import sys; print("ModuleNotFoundError: No module named 'verl'"); sys.exit(7)`));
    peer.order(assign(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "MODULE_NOT_FOUND", exitCode: 7 } });
  });

  test("results that are no regular files are refused, a link is not followed, and a checkpoint outside is not reported", async () => {
    const { peer } = await startSshAgentWorld();
    const link = commandAssignment(python(`import os; os.symlink("/etc/passwd", os.environ["TRAINYARD_OUTPUTS_FILE"]); open(os.environ["TRAINYARD_METRICS_FILE"],"a").write('{"step":1,"data":{"x":1},"checkpoint":"/etc"}\\n')`));
    peer.order(assign(link));
    expect((await peer.report("ended", link.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_OUTPUTS", message: expect.stringContaining("symbolic link") as string } });
    expect(peer.reports.some((report) => report.type === "checkpoint")).toBe(false);
    expect(peer.logOf(link.attemptId)).toContain("does not exist inside TRAINYARD_OUTPUT_DIR");
  });

  test("what another attempt left under the same path is set aside there and never taken for this one's", async () => {
    const { peer, attemptThere } = await startSshAgentWorld();
    const assignment = commandAssignment(python(`import os; print(sorted(os.listdir("..")))`));
    const at = attemptThere(assignment);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "attempt"), "att_forgotten\n");
    writeFileSync(join(at, "launch.json"), '{"pid":1,"stat":"","boot":""}\n');
    writeFileSync(join(at, "exit.json"), '{"status":0}\n');
    peer.order(assign(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "COMPLETED" });
    expect(peer.logOf(assignment.attemptId)).toContain("'log'");
    expect(readdirSync(join(at, "..")).sort()).toEqual(["1", "1.att_forgotten"]);
  });
});
