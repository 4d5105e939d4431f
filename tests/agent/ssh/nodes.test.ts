// Trainings over several nodes that are SSH hosts, or an SSH host and an agent's own machine: real sshds, real processes in sessions of their own, the stand-ins for verl and for Ray, and a folder
// that all hosts see and that the agents touch only through their places.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { readProcessTable } from "../../../src/agent/place/process-table.js";
import { meetingPort } from "../../../src/agent/training/meeting.js";
import { newId } from "../../../src/domain/ids.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import { SCENARIO_VARIABLE } from "../../../src/simulation/stand-in.js";
import { startAgentWorld } from "../../support/agents.js";
import { assign, stop, type Peer } from "../../support/control-plane-peer.js";
import { sshdForTest, startSshAgentWorld, type SshAgentWorld } from "../../support/ssh-agents.js";
import { sshdIsHere } from "../../support/sshd.js";
import { verlPython } from "../../support/verl-python.js";
import { nvidiaSmi, trainingFolder, trainingInputs } from "../training/training-world.js";
import { sharedFolder, TEST_PORTS, twoMembers } from "../training/two-agents.js";

const PATIENCE_MS = 120_000;

interface Inputs { readonly folder: string; readonly shared: string; readonly sft: Record<string, unknown>; readonly grpo: Record<string, unknown> }

async function inputs(): Promise<Inputs> {
  const folder = trainingFolder();
  const { model } = await trainingInputs(folder);
  const common = { model, batchSize: 16, saveEvery: 2, graceSeconds: 5 };
  return {
    folder, shared: sharedFolder(), sft: { ...common, algorithm: "sft", trainFiles: "sft.parquet", epochs: 2 },
    grpo: { ...common, algorithm: "grpo", trainFiles: "rl.parquet", valFiles: ["rl.parquet"], answers: 4, maxPromptLength: 64, maxResponseLength: 64, epochs: 1, export: "none" },
  };
}
const settingsOf = ({ folder, shared }: Inputs, python: string) => ({ TRAINYARD_AGENT_PYTHON: python, TRAINYARD_DATA_DIRS: folder, TRAINYARD_AGENT_CPUS: "16", TRAINYARD_AGENT_SHARED_DIR: shared, TRAINYARD_AGENT_PORTS: `${TEST_PORTS.first}-${TEST_PORTS.last}` });
async function sshMember(of: Inputs): Promise<SshAgentWorld> {
  const sshd = await sshdForTest();
  return startSshAgentWorld({ sshd, cpus: 16, place: { nvidiaSmi: nvidiaSmi(sshd.folder, 1) }, settings: settingsOf(of, verlPython(sshd.folder)) });
}
const scenario = (params: Record<string, unknown>, of: Record<string, unknown> = {}) => ({ ...params, env: { [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 50, ...of }) } });
const ended = async (peer: Peer, { attemptId }: Assignment) => (await peer.report("ended", attemptId, PATIENCE_MS)).outcome;
const stepsOf = (peer: Peer, { attemptId }: Assignment, name: string) => peer.pointsOf(attemptId).filter(([metric]) => metric === name).map(([, step]) => step);
const again = ({ fence, ...assignment }: Assignment, attemptId = newId("att")): Assignment => ({ ...assignment, fence: fence + 1, attemptId });
const livingOf = ({ attemptId }: Assignment, words: string): string[] => readProcessTable().flatMap(({ pid }) => {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ");
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(attemptId) && line.includes(words) && !line.startsWith("/bin/sh") ? [line] : [];
  } catch {
    return [];
  }
});

describe.skipIf(!sshdIsHere)("a training over SSH hosts", { timeout: 240_000 }, () => {
  test("SFT over two of them meets at the head's address, saves where both see it, and both go on from there when one has failed", async () => {
    const of = await inputs();
    const [one, two] = [await sshMember(of), await sshMember(of)];
    const [head, other] = twoMembers(scenario(of.sft, { stepMs: 200, incidents: [{ step: 6, kind: "crash" }] }));
    // The port that is tried first is taken on the head's host.
    const server = createServer();
    const taken = meetingPort(head.attemptId, TEST_PORTS);
    await new Promise<void>((ready) => server.listen(taken, ready));
    onTestFinished(() => void server.close());
    one.peer.order(assign(head));
    two.peer.order(assign(other));
    expect(await ended(one.peer, head)).toMatchObject({ kind: "FAILED", failure: { code: "EXIT_NONZERO" } });
    two.peer.order(stop(other));
    await ended(two.peer, other);
    expect(stepsOf(one.peer, head, "train/loss")).toEqual([1, 2, 3, 4, 5]);
    const words = [one.peer, two.peer].map((peer) => peer.reports.flatMap((report) => (report.type === "started" ? report.command ?? [] : [])).filter((word) => /^--(?:node_rank|master_)/.test(word)));
    const port = Number(words[0]!.find((word) => word.startsWith("--master_port="))!.split("=")[1]);
    expect(port).not.toBe(taken);
    expect(words).toEqual([0, 1].map((rank) => [`--node_rank=${rank}`, "--master_addr=127.0.0.1", `--master_port=${port}`]));

    const headAgain = again(head);
    const otherAgain = again(other, headAgain.attemptId);
    one.peer.order(assign(headAgain));
    two.peer.order(assign(otherAgain));
    const at = (fence: number, ...path: string[]) => join(of.shared, head.pipelineId, "train", String(fence), ...path);
    expect(await ended(one.peer, headAgain), one.peer.logOf(headAgain.attemptId) + two.peer.logOf(headAgain.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { steps: 8, checkpoint: at(2, "checkpoints", "global_step_8"), model: at(2, "model") } });
    expect(await ended(two.peer, otherAgain)).toEqual({ kind: "COMPLETED", outputs: {} });
    for (const { peer } of [one, two]) expect(peer.logOf(headAgain.attemptId)).toContain(`goes on from the checkpoint of step 4 of attempt 1: ${at(1, "checkpoints", "global_step_4")}`);
    expect(stepsOf(one.peer, headAgain, "train/loss")).toEqual([5, 6, 7, 8]);
    expect(readdirSync(at(2, "checkpoints", "global_step_8")).filter((name) => name.startsWith("model_")).sort()).toEqual([0, 1].map((rank) => `model_world_size_2_rank_${rank}.pt`));
    expect(existsSync(at(2, "model", "config.json"))).toBe(true);
    const told = one.peer.reports.flatMap((report) => (report.type === "checkpoint" ? [report] : []));
    expect(told.map(({ step, path }) => [step, path])).toEqual([[2, at(1, "checkpoints", "global_step_2")], [4, at(1, "checkpoints", "global_step_4")], [6, at(2, "checkpoints", "global_step_6")], [8, at(2, "checkpoints", "global_step_8")]]);
    expect(told.every(({ sizeBytes }) => (sizeBytes ?? 0) > 4_096)).toBe(true);
    one.peer.order({ type: "delete-checkpoint", checkpointId: newId("ckp"), attemptId: head.attemptId, fence: 1, path: at(1, "checkpoints", "global_step_2") });
    expect(await one.peer.report("checkpoint-deleted", head.attemptId)).toMatchObject({ error: null });
    expect(existsSync(at(1, "checkpoints", "global_step_2"))).toBe(false);
    expect(livingOf(headAgain, "")).toEqual([]);
  });

  test("RL over two of them gets one Ray with the GPUs of both, whose parts fall with the trainer, with a stop and with the head", async () => {
    const of = await inputs();
    const [one, two] = [await sshMember(of), await sshMember(of)];
    const both = (assignments: readonly [Assignment, Assignment]) => {
      one.peer.order(assign(assignments[0]));
      two.peer.order(assign(assignments[1]));
      return assignments;
    };
    const [head, other] = both(twoMembers(scenario(of.grpo, { stepMs: 1_000 })));
    await one.peer.until(() => stepsOf(one.peer, head, "actor/pg_loss").includes(1), "step 1", PATIENCE_MS);
    expect(livingOf(head, "ray-stand-in.py").map((line) => /--(?:head|address)/.exec(line)?.[0]).sort()).toEqual(["--address", "--head"]);
    for (const { sshd } of [one, two]) sshd.cutSessions();
    for (const member of [one, two]) await member.restart(); // both programs are taken over
    expect(await ended(one.peer, head), one.peer.logOf(head.attemptId) + two.peer.logOf(head.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4 } });
    expect(await ended(two.peer, other)).toEqual({ kind: "COMPLETED", outputs: {} });
    expect(stepsOf(one.peer, head, "actor/pg_loss")).toEqual([1, 2, 3, 4]); // each once
    expect(one.peer.logOf(head.attemptId).split("the trainer starts").length - 1).toBe(1);
    expect(one.peer.logOf(head.attemptId)).toContain("2 GPUs of 2 nodes are there; the trainer starts");
    expect(one.peer.reports.some((report) => report.type === "samples")).toBe(true);
    expect(readdirSync(join(of.shared, head.pipelineId, "train", "1", "samples"), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())).toEqual([]); // what was taken is gone there
    expect(livingOf(head, "")).toEqual([]);

    const hanging = both(twoMembers(scenario(of.grpo, { incidents: [{ step: 2, kind: "hang" }] })));
    await one.peer.until(() => stepsOf(one.peer, hanging[0], "actor/pg_loss").includes(1), "step 1", PATIENCE_MS);
    one.peer.order(stop(hanging[0]));
    two.peer.order(stop(hanging[1]));
    expect([await ended(one.peer, hanging[0]), await ended(two.peer, hanging[1])]).toEqual([{ kind: "STOPPED" }, { kind: "STOPPED" }]);
    expect(livingOf(hanging[0], "")).toEqual([]);

    const headless = both(twoMembers(scenario(of.grpo, { incidents: [{ step: 2, kind: "hang" }] })));
    await one.peer.until(() => stepsOf(one.peer, headless[0], "actor/pg_loss").includes(1), "step 1", PATIENCE_MS);
    for (const { pid } of readProcessTable()) if (isOf(pid, headless[0].attemptId, "--head")) process.kill(pid, "SIGKILL");
    expect(await ended(two.peer, headless[1])).toMatchObject({ kind: "FAILED" });
    one.peer.order(stop(headless[0]));
    expect(await ended(one.peer, headless[0])).toEqual({ kind: "STOPPED" });
    expect(livingOf(headless[0], "")).toEqual([]);
  });

  test("an agent's own machine and an SSH host train together", async () => {
    const of = await inputs();
    const here = join(of.folder, "here");
    mkdirSync(here);
    const one = await startAgentWorld({ settings: { ...settingsOf(of, verlPython(here)), TRAINYARD_NVIDIA_SMI: nvidiaSmi(of.folder, 1) } });
    const two = await sshMember(of);
    const [head, other] = twoMembers(scenario({ ...of.sft, epochs: 1, export: "none" }));
    one.peer.order(assign(head));
    two.peer.order(assign(other));
    expect(await ended(one.peer, head), one.peer.logOf(head.attemptId) + two.peer.logOf(head.attemptId)).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4 } });
    expect(await ended(two.peer, other)).toEqual({ kind: "COMPLETED", outputs: {} });
  });

  test("hosts that share no folder are told so, and a member that does not come is named", async () => {
    const of = await inputs();
    const sshd = await sshdForTest();
    const without: Record<string, string> = settingsOf(of, verlPython(sshd.folder));
    delete without["TRAINYARD_AGENT_SHARED_DIR"];
    const world = await startSshAgentWorld({ sshd, cpus: 16, place: { nvidiaSmi: nvidiaSmi(sshd.folder, 1) }, settings: without });
    const [head] = twoMembers(scenario(of.sft));
    world.peer.order(assign(head));
    expect(await ended(world.peer, head)).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", hint: expect.stringContaining("TRAINYARD_AGENT_SHARED_DIR") as unknown } });
    writeFileSync(join(of.folder, "no-folder"), "");
    const closed = await sshMember({ ...of, shared: join(of.folder, "no-folder") });
    const [refused] = twoMembers(scenario(of.sft));
    closed.peer.order(assign(refused));
    expect(await ended(closed.peer, refused)).toMatchObject({ kind: "FAILED", failure: { code: "PERMISSION_DENIED", message: expect.stringContaining("no-folder") as unknown } });
  });
});

function isOf(pid: number, attemptId: string, words: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").includes(attemptId) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(words) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("ray-stand-in.py");
  } catch {
    return false;
  }
}
