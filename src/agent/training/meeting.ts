// How the members of a run over several nodes meet: in a folder that all of them see (TRAINYARD_AGENT_SHARED_DIR), and at an address and port that all of them
// compute alike.
//   M1. Nobody starts before everybody was seen in the folder: a folder that only looks shared is found out before a GPU is used.
//   M2. The port follows from the attempt's id, within TRAINYARD_AGENT_PORTS: no member has to be told. The head looks that it is free; a taken one makes a new
//       attempt, whose port is another.
//   M3. What only one may decide (which checkpoint is gone on from) the head writes down, and the others read it.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Assignment } from "../../protocol/messages.js";
import { attemptDirectory } from "../attempt/attempt-directory.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { failed, NeverStarted } from "../attempt/program-role.js";

/** How long a member waits for the others, in milliseconds: they may fetch data before they come. */
const PATIENCE_MS = 600_000;
const LOOK_MS = 200;

export interface Meeting {
  /** The attempt's folder that all members see. */
  readonly folder: string;
  /** Of the head. */
  readonly address: string;
  readonly port: number;
}

/** Where the members of an attempt meet; nothing is waited for yet. Throws NeverStarted when they cannot. */
export function meetingOf(assignment: Assignment, host: Pick<AttemptHost, "sharedRoot" | "ports">): Meeting {
  if (host.sharedRoot === null) {
    throw new NeverStarted(failed("INVALID_INPUT", "A training over several nodes needs a folder that all its agents share, for checkpoints, and this agent has none.", "Set TRAINYARD_AGENT_SHARED_DIR to the same path, on a shared file system, for every agent."));
  }
  const head = assignment.members[0]!;
  if (head.address === null) throw new NeverStarted(failed("INVALID_INPUT", `Agent ${head.agentName}, the head of this run, has told no address at which the others reach it.`, "Set TRAINYARD_AGENT_ADDRESS for every agent."));
  return { folder: sharedFolder(host.sharedRoot, assignment), address: head.address, port: meetingPort(assignment.attemptId, host.ports) };
}

/** M2. */
export function meetingPort(attemptId: string, { first, last }: { readonly first: number; readonly last: number }): number {
  return first + (createHash("sha256").update(attemptId).digest().readUInt32BE() % (last - first + 1));
}

/** Where an attempt's files lie that all members see. */
export function sharedFolder(sharedRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): string {
  return attemptDirectory(sharedRoot, assignment).root;
}

/** M1. Throws NeverStarted, and the signal's reason. */
export async function meet({ folder, port }: Meeting, assignment: Assignment, signal: AbortSignal, patienceMs = PATIENCE_MS): Promise<void> {
  if (assignment.rank === 0 && !(await isFree(port))) throw new NeverStarted({ kind: "REFUSED", reason: `Port ${port}, at which the members of this attempt would meet, is taken on this host; the next attempt gets another.` });
  const marker = (rank: number) => join(folder, "members", String(rank));
  try {
    mkdirSync(dirname(marker(0)), { recursive: true, mode: 0o770 });
    writeWhole(marker(assignment.rank), assignment.attemptId);
  } catch (error) {
    throw new NeverStarted(failed("PERMISSION_DENIED", `The shared folder ${folder} cannot be written: ${(error as Error).message}`, "Check TRAINYARD_AGENT_SHARED_DIR and the rights of the agent's account there."));
  }
  for (const until = performance.now() + patienceMs; ; await delay(LOOK_MS, undefined, { signal })) {
    const absent = assignment.members.map((member, rank) => ({ member, rank })).filter(({ rank }) => read(marker(rank)) !== assignment.attemptId);
    if (absent.length === 0) return;
    if (performance.now() < until) continue;
    const names = absent.map(({ member, rank }) => `${member.agentName} (rank ${rank})`).join(", ");
    throw new NeverStarted(failed("INVALID_INPUT", `${names} did not come to ${folder} within ${Math.round(patienceMs / 1_000)} s: they are not ready, or TRAINYARD_AGENT_SHARED_DIR is not the same file system there.`, "Look at the logs of those agents, and that the folder is shared: a file made on one host must be seen on the others."));
  }
}

/** M3. The head decides, the others are told; each gets the decision. Rejects with the signal's reason. */
export async function decideTogether<T>({ folder }: Meeting, assignment: Assignment, signal: AbortSignal, decide: () => Promise<T>): Promise<T> {
  const file = join(folder, "decision.json");
  if (assignment.rank === 0) {
    const decision = await decide();
    writeWhole(file, JSON.stringify({ attemptId: assignment.attemptId, decision }));
    return decision;
  }
  for (; ; await delay(LOOK_MS, undefined, { signal })) {
    const told = read(file);
    if (told === null) continue;
    const { attemptId, decision } = JSON.parse(told) as { attemptId: string; decision: T };
    if (attemptId === assignment.attemptId) return decision;
  }
}

function read(file: string): string | null {
  try {
    return existsSync(file) ? readFileSync(file, "utf8") : null;
  } catch {
    return null;
  }
}

function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o660, flush: true });
  renameSync(`${file}.new`, file);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, () => probe.close(() => resolve(true)));
  });
}
