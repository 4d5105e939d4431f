// Why a stage waits, in sentences, out of the very judgements the pass works with (candidate.ts, requirement.ts).
//   E1. A waiting stage always gets a reason; any other gets none.
//   E2. At most MAX_REASONS sentences, however large the fleet: agents with the same reason share one.

import type { StageId } from "../ids.js";
import type { AgentRecord } from "./agent-record.js";
import { nameGoesBefore, type Candidate, type StageClass, type Waiter } from "./candidate.js";
import { goesBefore } from "./facts.js";
import type { Fleet } from "./fleet.js";
import { mismatchOf, type Requirement } from "./requirement.js";

export const MAX_REASONS = 20;
/** Sentences of one kind before the rest is summed up. */
const SHOWN_PER_KIND = 3;

/** Why the stage is not running, one sentence each; empty when it does not wait. `now`: milliseconds since 1970. */
export function explain(fleet: Fleet, stageId: StageId, now: number): string[] {
  const waiter = fleet.waiterOf(stageId);
  if (waiter === null) return [];
  const held = holdsOf(waiter, now);
  // Of the agents only what resuming or waiting will not cure.
  if (held.length > 0) return [...held, ...neverReasons(fleet, waiter.class)];
  const agents = agentReasons(fleet, waiter.class, now);
  const ahead = countAhead(waiter);
  const behind = ahead === 0 ? [] : [`Behind ${count(ahead, "stage")} of higher priority or age in queue "${waiter.stage.queue}".`];
  const reasons = [...agents.slice(0, MAX_REASONS - behind.length), ...behind];
  return reasons.length > 0 ? reasons : ["Nothing stands in its way: it is placed with the next pass."];
}

function holdsOf({ stage }: Waiter, now: number): string[] {
  const held: string[] = [];
  if (stage.paused) held.push("The pipeline is paused.");
  if (stage.notBefore !== null && stage.notBefore > now) held.push(`Waits ${duration(stage.notBefore - now)} more before its next try.`);
  return held;
}

function countAhead(waiter: Waiter): number {
  let ahead = 0;
  for (const one of waiter.class.queue.classes) for (const other of one.ready.items()) if (goesBefore(other.stage, waiter.stage)) ahead++;
  return ahead;
}

/** The same for all stages of a class: kept until the fleet changes, or a second passes ("last heard of 52 s ago"). */
function agentReasons(fleet: Fleet, one: StageClass, now: number): readonly string[] {
  const second = Math.floor(now / 1000);
  if (one.told === null || one.told.version !== fleet.version || one.told.second !== second) {
    one.told = { version: fleet.version, second, reasons: [...neverReasons(fleet, one), ...eachAgent(fleet, one, second)].slice(0, MAX_REASONS) };
  }
  return one.told.reasons;
}

// ── the fleet as a whole ────────────────────────────────────────────────────────────────────────────

/** What no waiting cures: no agent, however idle, could take such a stage. */
function neverReasons(fleet: Fleet, one: StageClass): string[] {
  const { queue, capability, pinnedTo, nodes } = one.requirement;
  const known = agentsFor(fleet, one.requirement);
  const reasons = (pinnedTo ?? []).filter((id) => !known.some((agent) => agent.id === id)).map((id) => `Agent ${id}, which alone can run this, is not known here. Start it again.`);
  if (pinnedTo !== null) return shorten(reasons, (rest) => `And ${count(rest, "more agent")}: not known here.`);
  if (known.length === 0) return ["No agent is known. Start one with: trainyard agent"];
  const serving = known.filter((agent) => agent.poolOf(queue) !== null);
  if (serving.length === 0) return [`No agent serves queue "${queue}". Start one with TRAINYARD_AGENT_POOLS="${queue}=1", or add the queue to an agent's pools.`];
  if (!serving.some((agent) => agent.view!.capabilities.includes(capability))) {
    const offered = [...new Set(serving.flatMap((agent) => agent.view!.capabilities))].sort();
    const more = offered.length > 10 ? ", …" : "";
    return [`No agent can run "${capability}" stages: those that serve queue "${queue}" offer ${offered.length === 0 ? "nothing" : offered.slice(0, 10).join(", ")}${more}.`];
  }
  if (nodes > 1 && one.capable < nodes) return [`Needs ${nodes} agents at once; ${one.capable === 0 ? "no agent" : `only ${count(one.capable, "agent")}`} could take a part even when idle.`];
  return [];
}

function agentsFor(fleet: Fleet, { pinnedTo }: Requirement): AgentRecord[] {
  const agents = pinnedTo === null ? [...fleet.agents()] : pinnedTo.flatMap((id) => fleet.agent(id) ?? []);
  return agents.filter((agent) => agent.view !== null);
}

// ── agent by agent ──────────────────────────────────────────────────────────────────────────────────

/** What is said of the agents left out, nearest to a cure first. */
const KINDS = {
  slots: "every slot of the queue busy",
  gpusBusy: "too few GPUs free",
  kept: "kept free for stages ahead",
  status: "not online",
  gpusNever: "too few GPUs of the kind needed",
  label: "other labels",
  capability: "cannot run such stages",
  queue: "do not serve the queue",
} as const;
type ObstacleKind = keyof typeof KINDS;

/** What keeps one agent from the stage. Obstacles of one kind and text are told together. */
interface Obstacle {
  readonly kind: ObstacleKind;
  readonly agent: AgentRecord;
  /** After "Agent gpu-1: " or "Agent gpu-1 and 97 more agents: ". */
  readonly text: string;
  /** The whole sentence, with more detail, when the agent is told alone. */
  readonly alone?: () => string;
}

function eachAgent(fleet: Fleet, one: StageClass, second: number): string[] {
  const { nodes } = one.requirement;
  const byKind = new Map<ObstacleKind, Obstacle[]>();
  for (const agent of agentsFor(fleet, one.requirement)) {
    for (const obstacle of obstaclesOf(agent, one, second)) {
      const same = byKind.get(obstacle.kind);
      if (same === undefined) byKind.set(obstacle.kind, [obstacle]);
      else same.push(obstacle);
    }
  }
  // Said already of the whole fleet.
  if (one.requirement.pinnedTo === null) {
    byKind.delete("queue");
    if (one.candidates.size === 0 && !byKind.has("label")) byKind.delete("capability");
  }
  const gang = nodes > 1 && one.open.size < nodes && one.capable >= nodes ? [`Needs ${nodes} agents at once; ${one.open.size === 0 ? "none" : one.open.size} can take a part now.`] : [];
  return [...gang, ...(Object.keys(KINDS) as ObstacleKind[]).flatMap((kind) => sentences(kind, byKind.get(kind) ?? []))];
}

function obstaclesOf(agent: AgentRecord, one: StageClass, second: number): Obstacle[] {
  const view = agent.view!;
  const { requirement } = one;
  const candidate = agent.candidates.get(one);
  if (candidate === undefined) {
    const mismatch = mismatchOf(requirement, view)!;
    if (mismatch.kind === "QUEUE") return [{ kind: "queue", agent, text: `queue "${requirement.queue}" is not served` }];
    if (mismatch.kind === "CAPABILITY") return [{ kind: "capability", agent, text: `"${requirement.capability}" stages cannot run there` }];
    return [{ kind: "label", agent, text: `label ${mismatch.name} is ${mismatch.found === null ? "not set" : `"${mismatch.found}"`}, "${mismatch.needed}" needed` }];
  }
  if (view.status !== "ONLINE") {
    const status = view.status.toLowerCase();
    const silent = view.status !== "DRAINING" && view.lastSeenAt !== null ? `, last heard of ${duration((second - Math.floor(view.lastSeenAt / 1000)) * 1000)} ago` : "";
    return [{ kind: "status", agent, text: status, alone: () => `Agent ${agent.name} is ${status}${view.status === "DRAINING" ? " and takes no new work" : silent}.` }];
  }
  if (candidate.fits) return candidate.keptFree ? [keptFree(candidate)] : [];
  const obstacles: Obstacle[] = [];
  if (candidate.pool.used >= candidate.pool.concurrency) obstacles.push(slotsBusy(candidate));
  if (candidate.freeSuited < requirement.gpus) obstacles.push(gpusMissing(candidate));
  return obstacles;
}

function slotsBusy({ agent, pool, class: one }: Candidate): Obstacle {
  const { queue } = one.requirement;
  const busy = `${pool.used} of ${pool.concurrency} slots busy`;
  const alone = () => {
    const first = [...agent.occupations].find((occupation) => pool.queues.includes(occupation.queue));
    const by = first === undefined ? "" : ` with stage "${first.stage}" of pipeline ${first.pipelineId}${pool.used > 1 ? ` and ${pool.used - 1} more` : ""}`;
    return `Queue "${queue}" on agent ${agent.name}: ${busy}${by}.`;
  };
  return { kind: "slots", agent, text: `${busy} in queue "${queue}"`, alone };
}

function gpusMissing(candidate: Candidate): Obstacle {
  const { agent, suited, capable } = candidate;
  const { gpus, gpuModel, gpuMemoryMiB } = candidate.class.requirement;
  if (agent.gpus.length === 0) return { kind: "gpusNever", agent, text: `no GPUs, ${gpus} needed` };
  const model = gpuModel === null ? agent.gpus : agent.gpus.filter((gpu) => gpu.model.includes(gpuModel));
  const all = count(agent.gpus.length, "GPU");
  if (model.length < gpus) return { kind: "gpusNever", agent, text: gpuModel === null ? `${all}, ${gpus} needed` : `${model.length} of ${all} of model "${gpuModel}", ${gpus} needed` };
  if (suited.length < gpus) return { kind: "gpusNever", agent, text: `${suited.length} of ${all} with ${gpuMemoryMiB} MiB of memory, ${gpus} needed` };
  const held = suited.filter((gpu) => gpu.holds > 0).length;
  const strange = suited.filter((gpu) => gpu.holds === 0 && gpu.strangers > 0).length;
  const small = suited.length - held - strange - candidate.freeSuited;
  const why = [
    ...(held > 0 ? [`${held} held by stages`] : []),
    ...(strange > 0 ? [`${strange} in use by programs that no stage started`] : []),
    ...(small > 0 ? [`${small} with less than ${gpuMemoryMiB} MiB free`] : []),
  ].join(", ");
  const kinds = suited.length === agent.gpus.length ? "" : " and suited";
  return { kind: capable ? "gpusBusy" : "gpusNever", agent, text: `${candidate.freeSuited} of ${all} free${kinds}, ${gpus} needed (${why})` };
}

function keptFree({ agent, pool, class: one }: Candidate): Obstacle {
  const { stage } = pool.claims.find((claim) => one.behind.has(claim))!.waiter;
  return { kind: "kept", agent, text: `kept free for stage "${stage.stage}" of pipeline ${stage.pipelineId}, which goes first and needs several things at once` };
}

function sentences(kind: ObstacleKind, obstacles: readonly Obstacle[]): string[] {
  // Few agents are told one by one; many by what they share, the largest groups first.
  const apart = obstacles.length <= SHOWN_PER_KIND;
  const groups = new Map<string, { first: Obstacle; size: number }>();
  for (const obstacle of obstacles) {
    const key = apart && obstacle.alone !== undefined ? obstacle.agent.id : obstacle.text;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: obstacle, size: 1 });
    else {
      group.size++;
      if (nameGoesBefore(obstacle.agent, group.first.agent)) group.first = obstacle;
    }
  }
  const bySize = [...groups.values()].sort((a, b) => b.size - a.size || (nameGoesBefore(a.first.agent, b.first.agent) ? -1 : 1));
  const told = bySize.slice(0, SHOWN_PER_KIND).map(({ first, size }) =>
    size > 1 ? `Agent ${first.agent.name} and ${count(size - 1, "more agent")}: ${first.text}.` : (first.alone?.() ?? `Agent ${first.agent.name}: ${first.text}.`));
  const rest = bySize.slice(SHOWN_PER_KIND).reduce((sum, group) => sum + group.size, 0);
  return rest === 0 ? told : [...told, `And ${count(rest, "more agent")}: ${KINDS[kind]}.`];
}

// ── wording ─────────────────────────────────────────────────────────────────────────────────────────

function shorten(reasons: readonly string[], rest: (left: number) => string): string[] {
  return reasons.length <= SHOWN_PER_KIND ? [...reasons] : [...reasons.slice(0, SHOWN_PER_KIND), rest(reasons.length - SHOWN_PER_KIND)];
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

function duration(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
