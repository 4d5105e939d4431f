// What is on a host after attempts, and what may never come about there: deleting, tidying, what users write, secrets, a full disk, a closed directory.
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { attemptDirectory, claimAttemptDirectory, makeAttemptDirectory } from "../../../src/agent/attempt/attempt-directory.js";
import { removeOldAttempts } from "../../../src/agent/host/housekeeping.js";
import { newId } from "../../../src/domain/ids.js";
import { assign, commandAssignment } from "../../support/control-plane-peer.js";
import { startSshAgentWorld, sshdForTest, type SshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";

const PATIENCE_MS = 30_000;
const isRoot = process.getuid?.() === 0;
/** Whether this process may mount a small disk; a root in a container often may not. */
const mayMount = isRoot && ((): boolean => {
  const folder = mkdtempSync(join(tmpdir(), "ty-mount-"));
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=8k", "tmpfs", folder]).status === 0;
  if (mounted) execFileSync("umount", ["-l", folder]);
  rmSync(folder, { recursive: true });
  return mounted;
})();
const python = (script: string, ...args: readonly string[]) => ["python3", "-c", `import json, os, sys\n${script}`, ...args];
const run = async (world: SshAgentWorld, words: readonly string[], more: Parameters<typeof commandAssignment>[1] = {}) => {
  const assignment = commandAssignment(words, more);
  world.peer.order(assign(assignment));
  return { assignment, ...(await world.peer.report("ended", assignment.attemptId, PATIENCE_MS)) };
};
const problem = (world: SshAgentWorld) => world.peer.until(() => [...world.peer.sessions.map(({ versions }) => versions), ...world.peer.renewals.map(({ host }) => host?.versions ?? {})].some((versions) => /^SSH_/.test(versions["problem"] ?? "")), "the trouble to be told", PATIENCE_MS)
  .then(() => [...world.peer.renewals.map(({ host }) => host?.versions["problem"]), ...world.peer.sessions.map(({ versions }) => versions["problem"])].find((text) => /^SSH_/.test(text ?? ""))!);

describe.skipIf(!sshdIsHere)("an SSH host", () => {
  test("cleanup stages and delete orders delete checkpoints there, each told, and nothing outside the attempts", async () => {
    const world = await startSshAgentWorld();
    const { peer, there, sshd } = world;
    const checkpoints = `
for step in (1, 2):
    path = os.path.join(os.environ["TRAINYARD_OUTPUT_DIR"], "step-%d" % step)
    os.mkdir(path); open(os.path.join(path, "weights"), "w").write("12345678")
    open(os.environ["TRAINYARD_METRICS_FILE"], "a").write(json.dumps({"step": step, "data": {"x": 1}, "checkpoint": path}) + "\\n")`;
    const { assignment } = await run(world, python(checkpoints));
    const paths = peer.reports.flatMap((report) => (report.type === "checkpoint" ? [report.path] : []));
    expect(paths).toEqual([1, 2].map((step) => join(world.attemptThere(assignment), "output", `step-${step}`)));
    writeFileSync(join(sshd.folder, "canary"), "alive");
    const deep = join(sshd.folder, "elsewhere-than/attempts/p/stage/1/output/canary"); // as deep below its folder as a checkpoint
    mkdirSync(join(deep, ".."), { recursive: true });
    writeFileSync(deep, "alive");
    const link = join(world.attemptThere(assignment), "output", "link");
    symlinkSync(sshd.folder, link);
    const deletions = [paths[0]!, link, join(sshd.folder, "canary"), deep, join(there, "attempts", assignment.pipelineId), join(world.attemptThere(assignment), "output", "gone")].map((path) => ({ checkpointId: newId("ckp"), path }));
    const cleanup = commandAssignment([], { kind: "cleanup", stage: "tidy", pipelineId: assignment.pipelineId, deletions, params: { stages: ["work"] } });
    peer.order(assign(cleanup));
    expect((await peer.report("ended", cleanup.attemptId, PATIENCE_MS)).outcome).toEqual({ kind: "COMPLETED", outputs: { deleted: 2, freedBytes: 8, failed: 4 } });
    peer.order({ type: "delete-checkpoint", checkpointId: newId("ckp"), attemptId: assignment.attemptId, fence: 1, path: paths[1]! });
    await peer.until(() => !existsSync(paths[1]!), "the order to be carried out", PATIENCE_MS);
    expect(paths.some(existsSync)).toBe(false);
    for (const canary of [join(sshd.folder, "canary"), deep]) expect(existsSync(canary)).toBe(true);
    expect(readdirSync(join(world.attemptThere(assignment), "output"))).toEqual(["link"]);
  }, 120_000);

  test("housekeeping removes old attempts on both sides, those with a checkpoint there are kept", async () => {
    const world = await startSshAgentWorld();
    const [bare, kept] = [await run(world, python(`print("x")`)), await run(world, python(`
os.mkdir("../output/step-1"); open(os.environ["TRAINYARD_METRICS_FILE"], "a").write('{"step":1,"data":{"x":1},"checkpoint":"step-1"}\\n')`))];
    const here = (of: typeof bare) => join(world.directory, "attempts", of.assignment.pipelineId, "work", "1");
    const tidy = () => removeOldAttempts({ place: world.place(), attemptsRoot: join(world.directory, "attempts"), keepDays: 14, now: Date.now(), isHeld: () => false });
    expect(await tidy()).toEqual([]);
    for (const of of [bare, kept]) utimesSync(join(here(of), "exit.json"), new Date(0), new Date(0));
    expect(await tidy()).toEqual([here(bare)]);
    expect([bare, kept].map(({ assignment }) => existsSync(world.attemptThere(assignment)))).toEqual([false, true]);
    expect(existsSync(join(world.there, "attempts", bare.assignment.pipelineId))).toBe(false);
  }, 120_000);

  test("files that were brought go when nothing used them for TRAINYARD_AGENT_KEEP_DAYS, never while an attempt of any agent of that directory uses them", async () => {
    const world = await startSshAgentWorld();
    const { peer, directory, there, sshd } = world;
    const store = join(there, "store");
    const pipelineId = newId("pip");
    const left = join(realpathSync(directory), "attempts", pipelineId, "prep", "1", "output");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, "train.jsonl"), '{"q":1}\n');
    const assignment = commandAssignment(python(`
import time
print("up", flush=True)
while not os.path.exists("enough"): time.sleep(0.02)
print(open(sys.argv[1]).read(), end="")`, join(left, "train.jsonl")), { pipelineId });
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId).includes("up\n"), "the program to run", PATIENCE_MS);
    const [used] = readdirSync(store);
    const unused = "a".repeat(64);
    mkdirSync(join(store, unused));
    writeFileSync(join(store, unused, "old.jsonl"), "");
    const notes = join(there, "uses");
    const grow = (days: number) => {
      const then = new Date(Date.now() - days * 86_400_000);
      for (const path of [...readdirSync(store).map((name) => join(store, name)), ...readdirSync(notes).map((name) => join(notes, name))]) utimesSync(path, then, then);
    };
    grow(15);
    const other = await startSshAgentWorld({ sshd }); // looks when it starts
    await other.peer.until(() => !existsSync(join(store, unused)), "what nothing uses to go", PATIENCE_MS);
    expect(readdirSync(store)).toEqual([used]);
    writeFileSync(join(world.attemptThere(assignment), "work", "enough"), "");
    await peer.report("ended", assignment.attemptId, PATIENCE_MS);
    expect(peer.logOf(assignment.attemptId)).toMatch(/up\n\{"q":1\}\n$/);
    grow(13);
    mkdirSync(join(store, unused));
    utimesSync(join(store, unused), new Date(0), new Date(0));
    await world.restart();
    await peer.until(() => !existsSync(join(store, unused)), "the agent to have looked", PATIENCE_MS);
    expect(readdirSync(store)).toEqual([used]);
    grow(15);
    await world.restart();
    await peer.until(() => readdirSync(store).length === 0, "what was used long ago to go", PATIENCE_MS);
  }, 120_000);

  test("a file that was swept between its bringing and the start of the program is brought again", async () => {
    const world = await startSshAgentWorld();
    const { peer, directory, there } = world;
    const left = join(realpathSync(directory), "attempts", newId("pip"), "prep", "1", "output");
    mkdirSync(left, { recursive: true });
    writeFileSync(join(left, "train.jsonl"), '{"q":1}\n');
    const assignment = commandAssignment(["cat", "train.jsonl"]);
    const at = attemptDirectory(join(directory, "attempts"), assignment);
    claimAttemptDirectory(join(directory, "attempts"), assignment);
    const place = world.place();
    const [path] = await place.push([join(left, "train.jsonl")], { signal: AbortSignal.timeout(PATIENCE_MS), user: assignment.attemptId, say: () => undefined });
    rmSync(join(there, "store"), { recursive: true });
    makeAttemptDirectory(at);
    await (await place.start({ directory: at, argv: ["cat", path!], environment: {}, workingDirectory: at.work, outputs: { stdout: at.logFile, stderr: at.logFile }, signal: AbortSignal.timeout(PATIENCE_MS) })).gone;
    expect(readFileSync(join(world.attemptThere(assignment), "log"), "utf8")).toContain('{"q":1}\n');
    expect(peer.reports).toEqual([]);
  }, 60_000);

  test("words, variables and metric names full of shell metacharacters are only words", async () => {
    const world = await startSshAgentWorld();
    const canary = join(world.sshd.folder, "canary");
    writeFileSync(canary, "alive");
    const nasty = [`; rm -f ${canary}`, `$(rm ${canary})`, `\`rm ${canary}\``, `' rm ${canary} '`, `"; rm ${canary}; "`, `| rm ${canary}`, "&", "\\", "a\nb", "*", "~", "!x", "-n", "ünï", ""];
    const script = `
open(os.environ["TRAINYARD_METRICS_FILE"], "a").write(json.dumps({"step": 1, "data": {sys.argv[1]: 1}}) + "\\n")
open(os.environ["TRAINYARD_OUTPUTS_FILE"], "w").write(json.dumps({"argv": sys.argv[1:], "v": os.environ["V"], "host": os.environ["HOSTS"]}))`;
    const variables = { HOSTS: nasty.join("|") };
    const other = await startSshAgentWorld({ sshd: world.sshd, place: { variables } });
    const { assignment, outcome } = await run(other, python(script, ...nasty), { params: { env: { V: nasty.join(" ") } } });
    expect(outcome).toEqual({ kind: "COMPLETED", outputs: { argv: nasty, v: nasty.join(" "), host: nasty.join("|") } });
    expect(other.peer.pointsOf(assignment.attemptId)).toEqual([[nasty[0], 1, 1]]);
    expect(existsSync(canary)).toBe(true);
  }, 120_000);

  test("a secret among the host's variables is redacted where a program prints it", async () => {
    const world = await startSshAgentWorld({ place: { variables: { HF_TOKEN: "hf_very-secret-value", HF_HOME: "/data/hf" } } });
    const { assignment } = await run(world, python(`print(os.environ["HF_TOKEN"], os.environ["HF_HOME"])`));
    expect(world.peer.logOf(assignment.attemptId)).toBe("[redacted] /data/hf\n");
  }, 60_000);

  if (!mayMount) console.warn("NOT RUN: the test of a full disk on an SSH host, because this process may not mount a small one (root may).");
  test.skipIf(!mayMount)("a full disk is told as such, by the agent when nothing can be put there and by the attempt when it fills up, and leaves no program", async () => {
    const sshd = await sshdForTest();
    const disk = (size: string): string => {
      const folder = join(sshd.folder, `disk-${size}`);
      mkdirSync(folder);
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]);
      onTestFinished(() => void execFileSync("umount", ["-l", folder]));
      return folder;
    };
    const tiny = await startSshAgentWorld({ sshd, place: { workingDirectory: join(disk("8k"), "work") } });
    expect(await problem(tiny)).toMatch(/^SSH_DISK_FULL: /);
    const small = disk("300k");
    const world = await startSshAgentWorld({ sshd, place: { workingDirectory: join(small, "work") } });
    await world.peer.until(() => existsSync(join(small, "work", "helper")), "the helper to be there", PATIENCE_MS);
    await world.place().link.helper();
    writeFileSync(join(small, "ballast"), Buffer.alloc(4096));
    try {
      for (let i = 0; ; i++) writeFileSync(join(small, `ballast-${i}`), Buffer.alloc(4096));
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
    }
    const { outcome } = await run(world, ["sleep", "600"]);
    expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "DISK_FULL" } });
  }, 120_000);

  if (isRoot) console.warn("NOT RUN: the test of a closed directory on an SSH host, because root may write everywhere. Run the tests as an ordinary user for it.");
  test.skipIf(isRoot)("a directory that the user may not write is told as such", async () => {
    const sshd = await sshdForTest();
    const closed = join(sshd.folder, "closed");
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    expect(await problem(await startSshAgentWorld({ sshd, place: { workingDirectory: join(closed, "work") } }))).toMatch(/^SSH_DIRECTORY_REFUSED: /);
  }, 60_000);
});
