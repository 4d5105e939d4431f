// Trainings over several nodes: two agents on this machine, each with its own control plane's side, and one folder that both see.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { newId } from "../../../src/domain/ids.js";
import { createLocalPlace } from "../../../src/agent/place/local-place.js";
import { decideTogether, meet, meetingOf, meetingPort } from "../../../src/agent/training/meeting.js";
import { assign, stop } from "../../support/control-plane-peer.js";
import { sharedFolder, startTwo, TEST_PORTS as PORTS, twoMembers } from "./two-agents.js";

const where = () => ({ place: createLocalPlace({ environment: {}, inherited: [], checkpointRoots: [], nvidiaSmi: "/nonexistent/nvidia-smi", cpus: 1, ours: async () => new Set() }), signal: new AbortController().signal });

test("two members of an SFT run meet, save into the folder that both see, and a retry of both goes on from there", async () => {
  const shared = sharedFolder();
  const [one, two] = await startTwo({ TRAINYARD_AGENT_SHARED_DIR: shared });
  const params = one.sft({ ranks: 2, dieAt: 3, died: join(one.folder, "died") });
  const [head, other] = twoMembers(params);
  one.peer.order(assign(head));
  two.peer.order(assign(other));
  expect((await one.peer.report("ended", head.attemptId)).outcome).toMatchObject({ kind: "FAILED" });
  expect((await two.peer.report("ended", head.attemptId)).outcome).toEqual({ kind: "COMPLETED", outputs: {} });
  const seen = () => readFileSync(join(one.folder, "seen"), "utf8").trim().split("\n").map((line) => (JSON.parse(line) as { args: string[] }).args);
  const meetingWords = seen().map((args) => args.filter((argument) => /^--(nnodes|node_rank|master_addr|master_port)/.test(argument))).sort();
  const port = meetingPort(head.attemptId, PORTS);
  expect(meetingWords).toEqual([0, 1].map((rank) => ["--nnodes=2", `--node_rank=${rank}`, "--master_addr=127.0.0.1", `--master_port=${port}`]));

  const [headAgain, otherAgain] = twoMembers(params, { pipelineId: head.pipelineId, fence: 2 });
  one.peer.order(assign(headAgain));
  two.peer.order(assign(otherAgain));
  const checkpoint = (fence: number, step: number) => join(shared, head.pipelineId, "train", String(fence), "checkpoints", `global_step_${step}`);
  expect((await one.peer.report("ended", headAgain.attemptId)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { steps: 4, checkpoint: checkpoint(2, 4), model: join(shared, head.pipelineId, "train", "2", "model") } });
  await two.peer.report("ended", otherAgain.attemptId);
  for (const args of seen().slice(2)) expect(args).toContain(`trainer.resume_from_path='${checkpoint(1, 2)}'`);
  one.peer.order({ type: "delete-checkpoint", checkpointId: "ckp_1" as never, attemptId: head.attemptId, fence: 1, path: checkpoint(1, 2) });
  expect(await one.peer.report("checkpoint-deleted", head.attemptId)).toMatchObject({ error: null });
  expect(existsSync(checkpoint(1, 2))).toBe(false);
});

test("a member that waits for the others is stopped at once, and has started nothing", async () => {
  const shared = sharedFolder();
  const [one] = await startTwo({ TRAINYARD_AGENT_SHARED_DIR: shared });
  const [head] = twoMembers(one.sft());
  one.peer.order(assign(head));
  const marker = join(shared, head.pipelineId, "train", "1", "members", "0");
  await one.peer.until(() => existsSync(marker), "the head's mark in the shared folder");
  one.peer.order(stop(head));
  expect((await one.peer.report("ended", head.attemptId)).outcome).toEqual({ kind: "STOPPED" });
  expect(existsSync(join(one.folder, "seen"))).toBe(false);
});

test("an agent without a shared folder, and a head without an address, are refused with what to set", () => {
  const [head] = twoMembers({});
  expect(() => meetingOf(head, { sharedRoot: null })).toThrow(expect.objectContaining({ outcome: expect.objectContaining({ failure: expect.objectContaining({ hint: expect.stringContaining("TRAINYARD_AGENT_SHARED_DIR") }) }) }));
  const unreachable = { ...head, members: head.members.map((member) => ({ ...member, address: null })) };
  expect(() => meetingOf(unreachable, { sharedRoot: "/shared" })).toThrow(expect.objectContaining({ outcome: expect.objectContaining({ failure: expect.objectContaining({ hint: expect.stringContaining("TRAINYARD_AGENT_ADDRESS") }) }) }));
});

test("a folder that only looks shared is found out: the absent member is named", async () => {
  const [head] = twoMembers({});
  const meeting = meetingOf(head, { sharedRoot: sharedFolder() });
  await expect(meet(meeting, head, PORTS, where(), 300)).rejects.toMatchObject({ outcome: { kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("agent-1 (rank 1) did not come") } } });
});

test("a port that is taken on the head is passed over, and the others are told which one it is; with none free it is said", async () => {
  const [head, other] = twoMembers({});
  const meeting = meetingOf(head, { sharedRoot: sharedFolder() });
  const server = createServer();
  const taken = meetingPort(head.attemptId, PORTS);
  await new Promise<void>((ready) => server.listen(taken, ready));
  onTestFinished(() => void server.close());
  await expect(meet(meeting, head, { first: taken, last: taken }, where(), 300)).rejects.toMatchObject({ outcome: { kind: "REFUSED", reason: expect.stringContaining(`Every port from ${taken} to ${taken}`) } });
  const [port, told] = await Promise.all([meet(meeting, head, PORTS, where()), meet(meeting, other, PORTS, where())]);
  expect(port).not.toBe(taken);
  expect(told).toBe(port);
});

test("only the head decides, and an old attempt's decision in a reused folder is none", async () => {
  const [head, other] = twoMembers({});
  const meeting = meetingOf(head, { sharedRoot: sharedFolder() });
  await Promise.all([meet(meeting, head, PORTS, where()), meet(meeting, other, PORTS, where())]);
  writeFileSync(join(meeting.folder, "decision.json"), JSON.stringify({ attemptId: newId("att"), decision: "old" }));
  const told = decideTogether(meeting, other, where(), () => { throw new Error("rank 1 decides nothing"); });
  await decideTogether(meeting, head, where(), async () => "new");
  expect(await told).toBe("new");
});
