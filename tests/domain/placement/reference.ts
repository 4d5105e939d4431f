// The scheduler written the slow and obvious way: lists, no indices, everything looked at in every pass. The fast one must do exactly the same.

import type { AgentId, AttemptId, StageId } from "../../../src/domain/ids.js";
import type { AgentGpu, AgentView, LiveAssignment, Placement, WaitingStage } from "../../../src/domain/placement/facts.js";
import type { Fleet } from "../../../src/domain/placement/fleet.js";
import { place } from "../../../src/domain/placement/place.js";
import { attemptId, type Change } from "./worlds.js";

interface Held { attempt: AttemptId | null; readonly stageId: StageId; readonly agentId: AgentId; readonly queue: string; readonly gpus: readonly number[] }
interface Claim { readonly stage: WaitingStage; readonly agents: readonly AgentView[] }

export class Reference {
  readonly waiting = new Map<StageId, WaitingStage>();
  readonly agents = new Map<AgentId, AgentView>();
  held: Held[] = [];
  now = 0;
  readonly #reserveAfterMs: number;

  constructor(reserveAfterMs: number) {
    this.#reserveAfterMs = reserveAfterMs;
  }

  pass(now: number): Placement[] {
    this.now = Math.max(this.now, now);
    const placed: Placement[] = [];
    for (;;) {
      const before = placed.length;
      const claims = this.claims();
      for (const stage of this.ready()) {
        const members = this.members(stage, claims);
        if (members === null) continue;
        placed.push({ pipelineId: stage.pipelineId, stageId: stage.stageId, stage: stage.stage, members });
        this.waiting.delete(stage.stageId);
        for (const { agentId, gpus } of members) this.held.push({ attempt: null, stageId: stage.stageId, agentId, queue: stage.queue, gpus });
      }
      if (placed.length === before) return placed;
    }
  }

  ready(): WaitingStage[] {
    return [...this.waiting.values()].filter((stage) => !stage.paused && (stage.notBefore ?? 0) <= this.now).sort(inOrder);
  }

  claims(): Claim[] {
    const claims: Claim[] = [];
    for (const queue of new Set([...this.waiting.values()].map((stage) => stage.queue))) {
      const headsOnly = new Set<string>();
      for (const stage of this.ready().filter((one) => one.queue === queue)) {
        const needs = JSON.stringify([stage.capability, stage.resources, stage.pinnedTo]);
        if (headsOnly.has(needs)) continue;
        headsOnly.add(needs);
        const nodes = nodesOf(stage);
        if (stage.resources.gpus === 0 && nodes === 1) continue;
        if (Math.max(stage.queuedAt, stage.notBefore ?? 0) + this.#reserveAfterMs > this.now) continue;
        const able = [...this.agents.values()].filter((agent) => this.couldServe(stage, agent));
        if (able.length < nodes || able.filter((agent) => this.missing(stage, agent) === 0).length >= nodes) continue;
        const nearest = able.sort((a, b) => this.missing(stage, a) - this.missing(stage, b) || byName(a, b));
        claims.push({ stage, agents: nearest.slice(0, nodes) });
        break;
      }
    }
    return claims;
  }

  members(stage: WaitingStage, claims: readonly Claim[]): Placement["members"] | null {
    const nodes = nodesOf(stage);
    const fitting = [...this.agents.values()].filter((agent) => this.couldServe(stage, agent) && this.missing(stage, agent) === 0
      && !claims.some((claim) => inOrder(claim.stage, stage) < 0 && claim.agents.includes(agent) && poolOf(agent, claim.stage.queue) === poolOf(agent, stage.queue)));
    if (fitting.length < nodes) return null;
    const free = (agent: AgentView) => (stage.resources.gpus > 0 ? agent.gpus.filter((gpu) => gpu.strangers === 0 && !this.isHeld(agent, gpu)).length : agent.gpus.length);
    const load = (agent: AgentView) => this.used(agent, stage.queue) / poolOf(agent, stage.queue)!.concurrency;
    const chosen = pins(stage)?.map((id) => this.agents.get(id)!) ?? fitting.sort((a, b) => free(a) - free(b) || load(a) - load(b) || byName(a, b)).slice(0, nodes);
    return chosen.map((agent, rank) => ({
      agentId: agent.id, agentName: agent.name, rank,
      gpus: this.freeGpus(stage, agent).sort((a, b) => a.memoryTotalMiB - b.memoryTotalMiB || a.index - b.index).slice(0, stage.resources.gpus).map((gpu) => gpu.index).sort((a, b) => a - b),
    }));
  }

  couldServe(stage: WaitingStage, agent: AgentView): boolean {
    const { gpus, labels = {} } = stage.resources;
    const usable = agent.gpus.filter((gpu) => suits(stage, gpu) && gpu.strangers === 0 && (this.isHeld(agent, gpu) || hasMemory(stage, gpu)));
    return agent.status === "ONLINE" && poolOf(agent, stage.queue) !== undefined && agent.capabilities.includes(stage.capability)
      && Object.entries(labels).every(([name, value]) => String(agent.labels[name]) === String(value))
      && (pins(stage)?.includes(agent.id) ?? true) && usable.length >= gpus;
  }

  /** What must come free on an agent that could serve the stage. */
  missing(stage: WaitingStage, agent: AgentView): number {
    return Math.max(0, this.used(agent, stage.queue) - poolOf(agent, stage.queue)!.concurrency + 1) + Math.max(0, stage.resources.gpus - this.freeGpus(stage, agent).length);
  }

  used(agent: AgentView, queue: string): number {
    return this.held.filter((held) => held.agentId === agent.id && poolOf(agent, queue)!.queues.includes(held.queue)).length;
  }

  freeGpus(stage: WaitingStage, agent: AgentView): AgentGpu[] {
    return stage.resources.gpus === 0 ? [] : agent.gpus.filter((gpu) => suits(stage, gpu) && gpu.strangers === 0 && !this.isHeld(agent, gpu) && hasMemory(stage, gpu));
  }

  isHeld(agent: AgentView, gpu: AgentGpu): boolean {
    return this.held.some((held) => held.agentId === agent.id && held.gpus.includes(gpu.index));
  }
}

/** Makes the same change to both; what a pass placed, by each, otherwise null. */
export function change(fleet: Fleet, reference: Reference, what: Change, nth: number): { fast: Placement[]; slow: Placement[] } | null {
  const { held, waiting, agents } = reference;
  const placed = [...new Set(held.flatMap((one) => (one.attempt === null ? [one.stageId] : [])))];
  const attempts = [...new Set(held.flatMap((one) => one.attempt ?? []))];
  switch (what.type) {
    case "add":
      if (held.some((one) => one.stageId === what.stage.stageId)) return null; // a stage does not wait while it has a live attempt
      fleet.addWaiting(what.stage);
      waiting.set(what.stage.stageId, what.stage);
      return null;
    case "remove":
      fleet.removeWaiting(what.stageId);
      waiting.delete(what.stageId);
      return null;
    case "pause":
      fleet.setPaused(what.pipelineId, what.paused);
      for (const stage of waiting.values()) if (stage.pipelineId === what.pipelineId) waiting.set(stage.stageId, { ...stage, paused: what.paused });
      return null;
    case "agent":
      fleet.upsertAgent(what.view);
      agents.set(what.view.id, what.view);
      return null;
    case "stir": {
      const known = agents.get(what.agentId);
      if (known === undefined) return null;
      const view = { ...known, status: what.status, gpus: known.gpus.map((gpu, index) => (index === 0 ? { ...gpu, memoryUsedMiB: what.memoryUsedMiB, strangers: what.strangers } : gpu)) };
      fleet.upsertAgent(view);
      agents.set(view.id, view);
      return null;
    }
    case "forget":
      fleet.removeAgent(what.agentId);
      agents.delete(what.agentId);
      return null;
    case "confirm": {
      const stage = placed[what.nth % placed.length];
      if (stage === undefined) return null;
      fleet.confirm(stage, attemptId(nth));
      for (const one of held) if (one.attempt === null && one.stageId === stage) one.attempt = attemptId(nth);
      return null;
    }
    case "withdraw": {
      const stage = placed[what.nth % placed.length];
      if (stage === undefined) return null;
      fleet.withdraw(stage);
      reference.held = held.filter((one) => one.attempt !== null || one.stageId !== stage);
      return null;
    }
    case "release": {
      const attempt = attempts[what.nth % attempts.length];
      if (attempt === undefined) return null;
      fleet.release(attempt);
      reference.held = held.filter((one) => one.attempt !== attempt);
      return null;
    }
    case "releaseMember": {
      const member = held.filter((one) => one.attempt !== null)[what.nth % Math.max(1, held.length)];
      if (member === undefined) return null;
      fleet.release(member.attempt!, member.agentId);
      reference.held = held.filter((one) => one !== member);
      return null;
    }
    case "occupyPlaced": {
      const stage = placed[what.nth % placed.length];
      if (stage === undefined) return null;
      for (const one of held) {
        if (one.attempt !== null || one.stageId !== stage) continue;
        one.attempt = attemptId(nth);
        const known: LiveAssignment = { attemptId: attemptId(nth), pipelineId: "pip_p" as LiveAssignment["pipelineId"], stageId: stage, stage: "s", agentId: one.agentId, queue: one.queue, gpus: one.gpus };
        fleet.occupy(known);
        fleet.occupy(known);
      }
      return null;
    }
    case "occupy": {
      if (waiting.has(what.stage.stageId) || held.some((one) => one.stageId === what.stage.stageId)) return null;
      const { stageId, queue, pipelineId, stage } = what.stage;
      const agentId = `agt_${what.agent}` as AgentId;
      fleet.occupy({ attemptId: attemptId(nth), pipelineId, stageId, stage, agentId, queue, gpus: what.gpus });
      held.push({ attempt: attemptId(nth), stageId, agentId, queue, gpus: what.gpus });
      return null;
    }
    case "pass": {
      const now = reference.now + what.after;
      return { slow: reference.pass(now), fast: place(fleet, now) };
    }
  }
}

export function inOrder(a: WaitingStage, b: WaitingStage): number {
  return b.priority - a.priority || a.queuedAt - b.queuedAt || (a.stageId < b.stageId ? -1 : a.stageId > b.stageId ? 1 : 0);
}

export function nodesOf(stage: WaitingStage): number {
  return pins(stage)?.length ?? stage.resources.nodes;
}

function pins(stage: WaitingStage): readonly AgentId[] | null {
  return stage.pinnedTo === null || stage.pinnedTo.length === 0 ? null : stage.pinnedTo;
}

export function poolOf(agent: AgentView, queue: string): AgentView["pools"][number] | undefined {
  return agent.pools.find((pool) => pool.queues.includes(queue));
}

function suits(stage: WaitingStage, gpu: AgentGpu): boolean {
  return gpu.model.toLowerCase().includes((stage.resources.gpuModel ?? "").toLowerCase()) && gpu.memoryTotalMiB >= (stage.resources.gpuMemoryMiB ?? 0);
}

function hasMemory(stage: WaitingStage, gpu: AgentGpu): boolean {
  return gpu.memoryTotalMiB - (gpu.memoryUsedMiB ?? 0) >= (stage.resources.gpuMemoryMiB ?? 0);
}

function byName(a: AgentView, b: AgentView): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}
