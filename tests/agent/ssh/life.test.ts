// What an agent for an SSH host lives through without losing or doubling anything: cuts, restarts of its own and of sshd, a host that reboots, a key that changes.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { identifyProcess } from "../../../src/process-identity.js";
import { assign, commandAssignment, stop } from "../../support/control-plane-peer.js";
import { startCutLine } from "../../support/cut-line.js";
import { ageJournal } from "../../support/agents.js";
import { sshdForTest, startSshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";

const PATIENCE_MS = 60_000;
/** Counts on its log and metrics until there is a file `enough`, noting each run of itself. */
const COUNTING = `
import json, os, time
open("runs", "a").write("%d\\n" % os.getpid())
i = 0
while True:
    i += 1
    print("line %d é" % i, flush=True)
    open(os.environ["TRAINYARD_METRICS_FILE"], "a").write(json.dumps({"step": i, "data": {"loss": 1.0 / i}}) + "\\n")
    if os.path.exists("enough"): break
    time.sleep(0.02)
open(os.environ["TRAINYARD_OUTPUTS_FILE"], "w").write(json.dumps({"lines": i}))`;
const counting = () => commandAssignment(["python3", "-c", COUNTING]);
const wholeLog = (lines: number) => Array.from({ length: lines }, (_, i) => `line ${i + 1} é\n`).join("");
const linesOf = (outcome: object) => Number((outcome as { outputs?: { lines?: number } }).outputs?.lines);
const steps = (lines: number) => Array.from({ length: lines }, (_, i) => i + 1);

describe.skipIf(!sshdIsHere)("an agent for an SSH host", () => {
  test("cut at random again and again, through whole runs: no point, no byte of the log is lost or told twice, and nothing is started twice", async () => {
    const sshd = await sshdForTest();
    const line = await startCutLine(sshd.port);
    onTestFinished(() => line.stop());
    const { peer, place, attemptThere } = await startSshAgentWorld({ sshd, access: (own) => own.access({ port: line.port }) });
    const CUTS = 50, RUNS = 5;
    let cuts = 0;
    const kinds = { session: 0, reset: 0, silent: 0 };
    /** The host ends the sessions; the way there is closed; or it loses what it carries for a while, and is closed then. */
    const cut = async (kind: keyof typeof kinds): Promise<void> => {
      if (sshd.sessions() === 0) return;
      cuts++;
      kinds[kind]++;
      if (kind === "session") sshd.cutSessions();
      if (kind === "reset") line.cut();
      if (kind !== "silent") return;
      const given = line.silence();
      if (kinds.silent > 1) {
        await delay(Math.random() * 500); // chance: how much is lost
        line.cut();
      }
      await given; // the first one is noticed by keepalives alone
    };
    for (let run = 1; cuts < CUTS; run++) { // one more where a run ended before the last cut that was meant for it
      const due = Math.min(CUTS, (CUTS * run) / RUNS);
      const assignment = counting();
      const at = attemptThere(assignment);
      peer.order(assign(assignment));
      const isOver = () => peer.reports.some((report) => report.type === "ended" && report.attemptId === assignment.attemptId);
      while (!isOver()) {
        await Promise.race([place().link.helper(), delay(2_000)]); // cut while it connects it would only wait longer and longer
        await delay(Math.random() * 300); // chance: the moment of the cut
        if (cuts < due) await cut(cuts === 0 ? "silent" : (["session", "reset", "silent"] as const)[Math.floor(Math.random() * 3)]!);
        if (cuts >= due - 2 && existsSync(join(at, "work"))) writeFileSync(join(at, "work", "enough"), ""); // the last cuts fall on its end
      }
      const { outcome } = await peer.report("ended", assignment.attemptId);
      const lines = linesOf(outcome);
      expect(outcome).toEqual({ kind: "COMPLETED", outputs: { lines } });
      expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(lines));
      expect(peer.pointsOf(assignment.attemptId).map(([, step]) => step)).toEqual(steps(lines));
      expect(readFileSync(join(at, "work", "runs"), "utf8").trim().split("\n")).toHaveLength(1);
    }
    for (const count of Object.values(kinds)) expect(count).toBeGreaterThan(0);
  }, 400_000);

  test("a restart of the agent takes the program over and goes on at the byte; what ended meanwhile is known", async () => {
    const world = await startSshAgentWorld();
    const { peer, attemptThere } = world;
    const assignment = counting();
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId).includes("line 5 é\n"), "five lines", PATIENCE_MS);
    await world.restart();
    await peer.until(() => peer.sessions.length === 2, "the next session");
    expect(peer.sessions[1]!.held).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
    const seen = peer.logOf(assignment.attemptId).length;
    await peer.until(() => peer.logOf(assignment.attemptId).length > seen, "more of the log", PATIENCE_MS);
    await world.agent.stop("detach");
    writeFileSync(join(attemptThere(assignment), "work", "enough"), "");
    await peer.until(() => existsSync(join(attemptThere(assignment), "outputs.json")), "the program to end while nobody looks");
    await world.restart();
    const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE_MS);
    const lines = linesOf(outcome);
    expect(outcome).toEqual({ kind: "COMPLETED", outputs: { lines } });
    expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(lines));
    expect(peer.pointsOf(assignment.attemptId).map(([, step]) => step)).toEqual(steps(lines));
  }, 120_000);

  test("while the host is away nothing fails and the session lives; it says what is wrong and takes nothing new until it is back", async () => {
    const { peer, sshd, attemptThere } = await startSshAgentWorld();
    const assignment = counting();
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId).includes("line 3 é\n"), "three lines", PATIENCE_MS);
    await sshd.kill();
    await peer.until(() => peer.renewals.some(({ host }) => /^SSH_(UNREACHABLE|CONNECTION_LOST)/.test(host?.versions["problem"] ?? "") && host?.capabilities.length === 0), "the trouble to be told", PATIENCE_MS);
    const renewals = peer.renewals.length;
    await peer.until(() => peer.renewals.length > renewals + 1, "renewals to go on", PATIENCE_MS);
    expect(peer.renewals.at(-1)!.held).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
    writeFileSync(join(attemptThere(assignment), "work", "enough"), "");
    await sshd.start();
    const { outcome } = await peer.report("ended", assignment.attemptId, PATIENCE_MS);
    const lines = linesOf(outcome);
    expect(peer.logOf(assignment.attemptId)).toBe(wholeLog(lines));
    await peer.until(() => peer.renewals.at(-1)?.host === undefined || peer.renewals.at(-1)!.host!.capabilities.includes("command"), "the host to be well again", PATIENCE_MS);
  }, 120_000);

  test("an order that is stopped before the host could be reached ends at once and starts nothing", async () => {
    const { peer, sshd, attemptThere } = await startSshAgentWorld();
    await peer.until(() => peer.sessions.length > 0, "a session");
    await sshd.kill();
    const assignment = counting();
    peer.order(assign(assignment));
    peer.order(stop(assignment));
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toEqual({ kind: "STOPPED" });
    await sshd.start();
    expect(existsSync(join(attemptThere(assignment), "launch.json"))).toBe(false);
  }, 120_000);

  test("a program of an earlier boot of the host is told as HOST_REBOOTED, with what it had written", async () => {
    const world = await startSshAgentWorld();
    const { peer, sshd, attemptThere } = world;
    const assignment = counting();
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId).includes("line 3 é\n"), "three lines", PATIENCE_MS);
    await world.agent.stop("detach");
    // What a reboot leaves: the program is gone without a status, and what was noted of it (here and there) is of another boot.
    const at = attemptThere(assignment);
    const launch = JSON.parse(readFileSync(join(at, "launch.json"), "utf8")) as { pid: number; boot: string };
    const runs = readFileSync(join(at, "work", "runs"), "utf8").trim().split("\n").map(Number);
    for (const pid of [launch.pid, ...runs]) process.kill(pid, "SIGKILL");
    await peer.until(() => identifyProcess(launch.pid) === null, "the program to be gone");
    writeFileSync(join(at, "launch.json"), `${JSON.stringify({ ...launch, boot: "00000000-0000-4000-8000-000000000000" })}\n`);
    ageJournal(world.directory);
    await sshd.kill();
    await sshd.start();
    await world.restart();
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "HOST_REBOOTED", logTail: expect.arrayContaining(["line 3 é"]) as string[] } });
  }, 120_000);

test("after a changed host key nothing connects, the attempt waits and is still held, and one alarm is raised", async () => {
    const sshd = await sshdForTest();
    const { hostKey } = sshd;
    const { peer, alarms, attemptThere } = await startSshAgentWorld({ sshd, access: (own) => own.access({ hostKey }) });
    const assignment = counting();
    peer.order(assign(assignment));
    await peer.until(() => peer.logOf(assignment.attemptId).includes("line 3 é\n"), "three lines", PATIENCE_MS);
    await sshd.kill();
    sshd.changeHostKeys();
    await sshd.start();
    await peer.until(() => peer.renewals.some(({ host }) => host?.versions["problem"]?.startsWith("SSH_HOST_KEY_CHANGED") === true), "the alarm to be told", PATIENCE_MS);
    expect(alarms.map(({ code }) => code)).toEqual(["SSH_HOST_KEY_CHANGED"]);
    const accepted = () => (sshd.log().match(/Accepted publickey/g) ?? []).length;
    const before = accepted();
    const renewals = peer.renewals.length;
    await peer.until(() => peer.renewals.length > renewals + 2, "renewals to go on", PATIENCE_MS);
    expect(peer.renewals.at(-1)!.held).toEqual([{ attemptId: assignment.attemptId, fence: 1 }]);
    expect(accepted()).toBe(before);
    expect(peer.reports.some((report) => report.type === "ended")).toBe(false);
    peer.order(stop(assignment)); // an operator who gives it up is not held up
    expect((await peer.report("ended", assignment.attemptId, PATIENCE_MS)).outcome).toEqual({ kind: "STOPPED" });
    process.kill(Number(readFileSync(join(attemptThere(assignment), "work", "runs"), "utf8")), "SIGKILL");
  }, 120_000);
});
