// How the members of a run over several nodes meet: in a folder that the hosts of all of them see (TRAINYARD_AGENT_SHARED_DIR), and at the head's address and a port that the head found free.
// Everything here is read and written in the place of the member's programs, which may be another machine than the agent's.
//   M1. Nobody starts before everybody was seen in the folder: a folder that only looks shared is found out before a GPU is used.
//   M2. The port is one of TRAINYARD_AGENT_PORTS that is free on the head's host, tried from one on that follows from the attempt's id: attempts on one host do not meet at the same. The head
//       writes it into its mark.
//   M3. What only one may decide (which checkpoint is gone on from) the head writes down, and the others read it.

import { createHash } from "node:crypto";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Assignment } from "../../protocol/messages.js";
import { attemptDirectory } from "../attempt/attempt-directory.js";
import type { AttemptHost } from "../attempt/attempt-host.js";
import { failed, NeverStarted } from "../attempt/program-role.js";
import type { Place } from "../place/place.js";

/** How long a member waits for the others, in milliseconds: they may fetch data before they come. */
const PATIENCE_MS = 600_000;
const LOOK_MS = 200;
/** Longest mark or decision, in bytes. */
const NOTE_BYTES = 16 * 1_048_576;

export interface Meeting {
  /** The attempt's folder that all members see; the same path on every host. */
  readonly folder: string;
  /** Of the head. */
  readonly address: string;
}

export interface MeetingPlace {
  readonly place: Pick<Place, "name" | "readText" | "writeText" | "freePort">;
  readonly signal: AbortSignal;
}

/** Where the members of an attempt meet; nothing is waited for yet. Throws NeverStarted when they cannot. */
export function meetingOf(assignment: Assignment, host: Pick<AttemptHost, "sharedRoot">): Meeting {
  if (host.sharedRoot === null) {
    throw new NeverStarted(failed("INVALID_INPUT", "A training over several nodes needs a folder that all its hosts share, for checkpoints, and this agent has none.", "Set TRAINYARD_AGENT_SHARED_DIR to the same path, on a shared file system, for every agent, or for every SSH host (trainyard host add --env)."));
  }
  const head = assignment.members[0]!;
  if (head.address === null) throw new NeverStarted(failed("INVALID_INPUT", `Agent ${head.agentName}, the head of this run, has told no address at which the others reach it.`, "Set TRAINYARD_AGENT_ADDRESS for every agent."));
  return { folder: sharedFolder(host.sharedRoot, assignment), address: head.address };
}

/** The port that is tried first (M2). */
export function meetingPort(attemptId: string, { first, last }: AttemptHost["ports"]): number {
  return first + (createHash("sha256").update(attemptId).digest().readUInt32BE() % (last - first + 1));
}

/** Where an attempt's files lie that all members see. */
export function sharedFolder(sharedRoot: string, assignment: Pick<Assignment, "pipelineId" | "stage" | "fence">): string {
  return attemptDirectory(sharedRoot, assignment).root;
}

/** M1. Resolves with the port. Throws NeverStarted, and the signal's reason. */
export async function meet({ folder }: Meeting, assignment: Assignment, ports: AttemptHost["ports"], { place, signal }: MeetingPlace, patienceMs = PATIENCE_MS): Promise<number> {
  const marker = (rank: number) => join(folder, "members", String(rank));
  const own: Mark = { attemptId: assignment.attemptId, port: assignment.rank === 0 ? await portOf(assignment, ports, { place, signal }) : null };
  try {
    await place.writeText(marker(assignment.rank), JSON.stringify(own));
  } catch (error) {
    signal.throwIfAborted();
    throw new NeverStarted(failed("PERMISSION_DENIED", `The shared folder ${folder} cannot be written: ${(error as Error).message}`, "Check TRAINYARD_AGENT_SHARED_DIR and the rights of the user there."));
  }
  for (const until = performance.now() + patienceMs; ; await delay(LOOK_MS, undefined, { signal })) {
    const marks = await Promise.all(assignment.members.map(async (_, rank) => (rank === assignment.rank ? own : parsed<Mark>(await place.readText(marker(rank), NOTE_BYTES)))));
    const absent = assignment.members.map((member, rank) => ({ member, rank })).filter(({ rank }) => marks[rank]?.attemptId !== assignment.attemptId);
    if (absent.length === 0 && marks[0]!.port !== null) return marks[0]!.port;
    if (performance.now() < until) continue;
    const names = absent.map(({ member, rank }) => `${member.agentName} (rank ${rank})`).join(", ");
    throw new NeverStarted(failed("INVALID_INPUT", `${names} did not come to ${folder} within ${Math.round(patienceMs / 1_000)} s: they are not ready, or TRAINYARD_AGENT_SHARED_DIR is not the same file system there.`, "Look at the logs of those agents, and that the folder is shared: a file made on one host must be seen on the others."));
  }
}

interface Mark {
  readonly attemptId: string;
  /** Of the head's. */
  readonly port: number | null;
}

/** M2. */
async function portOf(assignment: Assignment, ports: AttemptHost["ports"], { place, signal }: MeetingPlace): Promise<number> {
  let port: number | null;
  try {
    port = await place.freePort(ports, meetingPort(assignment.attemptId, ports));
  } catch (error) {
    signal.throwIfAborted();
    throw new NeverStarted(failed("INTERNAL", `No free port could be looked for: ${(error as Error).message}`, "Retry; look at that host when it happens again."));
  }
  if (port === null) throw new NeverStarted({ kind: "REFUSED", reason: `Every port from ${ports.first} to ${ports.last}, at which the members of this attempt would meet, is taken on ${place.name}.` });
  return port;
}

/** M3. The head decides, the others are told; each gets the decision. Rejects with the signal's reason. */
export async function decideTogether<T>({ folder }: Meeting, assignment: Assignment, { place, signal }: MeetingPlace, decide: () => Promise<T>): Promise<T> {
  const file = join(folder, "decision.json");
  if (assignment.rank === 0) {
    const decision = await decide();
    await place.writeText(file, JSON.stringify({ attemptId: assignment.attemptId, decision }));
    return decision;
  }
  for (; ; await delay(LOOK_MS, undefined, { signal })) {
    const told = parsed<{ readonly attemptId: string; readonly decision: T }>(await place.readText(file, NOTE_BYTES));
    if (told?.attemptId === assignment.attemptId) return told.decision;
  }
}

/** Null: it is not there, or of another form. */
function parsed<T extends { readonly attemptId: string }>(text: string | null): T | null {
  try {
    const found: unknown = JSON.parse(text ?? "null");
    return typeof found === "object" && found !== null ? (found as T) : null;
  } catch {
    return null;
  }
}
