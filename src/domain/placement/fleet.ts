// The fleet: who waits and what is free, kept up to date change by change so that a pass looks only at what may have changed.
//   F1. Deterministic: the same calls in the same order give the same placements.
//   F2. Every change is idempotent: told twice, it counts once; told of something unknown, it does nothing.
//   F3. What `place` decides is occupied at once, under the stage's id, until the shell names the attempt (`confirm`, or `occupy` with it) or takes it
//       back (`withdraw`).
//   F4. `placeable` holds exactly the classes whose head can be placed now: an unchanged fleet costs a pass nothing.

import type { AgentId, AttemptId, PipelineId, StageId } from "../ids.js";
import { AgentRecord, type Occupation } from "./agent-record.js";
import { Candidate, StageClass, type Waiter } from "./candidate.js";
import { goesBefore, type AgentView, type LiveAssignment, type Placement, type WaitingStage } from "./facts.js";
import { Heap } from "./heap.js";
import { mismatchOf, requirementOf, signatureOf } from "./requirement.js";
import { chooseClaim, DEFAULT_RESERVE_AFTER_MS, sameClaim, type Claim, type QueueRecord } from "./reservation.js";

/** Classes without a stage that are kept because one like it may come; more are forgotten, the longest empty first. */
const EMPTY_CLASSES_KEPT = 32;

export interface FleetOptions {
  /** See reservation.ts; Infinity: never reserve. Default: DEFAULT_RESERVE_AFTER_MS. */
  readonly reserveAfterMs?: number;
}

export class Fleet {
  readonly #reserveAfterMs: number;
  /** The latest time seen: time never goes back. */
  #now = 0;
  readonly #waiters = new Map<StageId, Waiter>();
  readonly #byPipeline = new Map<PipelineId, Set<Waiter>>();
  readonly #later = new Heap<Waiter>((a, b) => a.stage.notBefore! !== b.stage.notBefore! ? a.stage.notBefore! < b.stage.notBefore! : a.stage.stageId < b.stage.stageId);
  readonly #classes = new Map<string, StageClass>();
  readonly #emptyClasses = new Set<StageClass>();
  readonly #placeable = new Heap<StageClass>((a, b) => goesBefore(a.head!.stage, b.head!.stage));
  readonly #queues = new Map<string, QueueRecord>();
  /** Queues whose claim is to be chosen anew. */
  readonly #staleQueues = new Set<QueueRecord>();
  readonly #nextClaimAt = new Map<QueueRecord, number>();
  readonly #agents = new Map<AgentId, AgentRecord>();
  readonly #occupations = new Map<AttemptId | StageId, Map<AgentId, Occupation>>();
  #version = 0;

  constructor(options: FleetOptions = {}) {
    this.#reserveAfterMs = options.reserveAfterMs ?? DEFAULT_RESERVE_AFTER_MS;
  }

  // ── what the shell tells ──────────────────────────────────────────────────────────────────────────

  /** A stage waits. One already waiting under this id is replaced. */
  addWaiting(stage: WaitingStage): void {
    this.removeWaiting(stage.stageId);
    const waiter: Waiter = { stage, class: this.#classFor(stage), slot: -1 };
    this.#waiters.set(stage.stageId, waiter);
    const siblings = this.#byPipeline.get(stage.pipelineId);
    if (siblings === undefined) this.#byPipeline.set(stage.pipelineId, new Set([waiter]));
    else siblings.add(waiter);
    waiter.class.members++;
    this.#emptyClasses.delete(waiter.class);
    this.#enter(waiter);
  }

  /** The stage waits no more: cancelled, failed, placed by another. */
  removeWaiting(stageId: StageId): void {
    const waiter = this.#waiters.get(stageId);
    if (waiter === undefined) return;
    this.#leave(waiter);
    this.#waiters.delete(stageId);
    const siblings = this.#byPipeline.get(waiter.stage.pipelineId)!;
    siblings.delete(waiter);
    if (siblings.size === 0) this.#byPipeline.delete(waiter.stage.pipelineId);
    if (--waiter.class.members === 0) this.#retire(waiter.class);
  }

  /** Pauses or resumes the stages of a pipeline that wait now; those added later bring their own `paused`. */
  setPaused(pipelineId: PipelineId, paused: boolean): void {
    for (const waiter of this.#byPipeline.get(pipelineId) ?? []) {
      if (waiter.stage.paused === paused) continue;
      this.#leave(waiter);
      waiter.stage = { ...waiter.stage, paused };
      this.#enter(waiter);
    }
  }

  /** An agent as it is now: new, or changed in any way. Cheap when nothing that matters has changed. */
  upsertAgent(view: AgentView): void {
    const known = this.#agents.get(view.id);
    const agent = known ?? new AgentRecord(view.id);
    if (known === undefined) this.#agents.set(view.id, agent);
    const change = agent.setView(view);
    if (change !== "nothing" || view.status !== "ONLINE") this.#version++; // of one that is away, lastSeenAt is told
    if (change === "shape") this.#recast(agent);
    else if (change === "capacity") this.#judge(agent);
  }

  /** The agent is forgotten; what is assigned to it still counts should it come back. */
  removeAgent(agentId: AgentId): void {
    const agent = this.#agents.get(agentId);
    if (agent === undefined || agent.view === null) return;
    agent.setView(null);
    this.#version++;
    this.#recast(agent);
    this.#forgetIfUnknown(agent);
  }

  /** A live assignment that the database knows. Takes the place of the placement that led to it. */
  occupy(assignment: LiveAssignment): void {
    const { attemptId, agentId } = assignment;
    const held = this.#occupations.get(attemptId)?.get(agentId);
    if (held !== undefined && held.queue === assignment.queue && sameNumbers(held.gpus, assignment.gpus)) return;
    this.#vacate(attemptId, agentId);
    this.#vacate(assignment.stageId, agentId);
    this.#fill(attemptId, assignment);
  }

  /** The attempt's assignment on one agent is over, or on all of them when none is named. */
  release(attemptId: AttemptId, agentId?: AgentId): void {
    this.#vacateAll(attemptId, agentId);
  }

  /** Names the attempt of a placement that is committed. */
  confirm(stageId: StageId, attemptId: AttemptId): void {
    for (const agentId of this.#occupations.get(attemptId)?.keys() ?? []) this.#vacate(stageId, agentId);
    const placed = this.#occupations.get(stageId);
    if (placed === undefined) return;
    this.#occupations.delete(stageId);
    this.#occupations.set(attemptId, new Map([...(this.#occupations.get(attemptId) ?? []), ...placed]));
  }

  /** Takes back a placement that was not committed. The stage does not wait again by itself. */
  withdraw(stageId: StageId): void {
    this.#vacateAll(stageId);
  }

  // ── what anyone may ask ───────────────────────────────────────────────────────────────────────────

  /** Stages that wait, paused and backing off included. */
  get waitingCount(): number {
    return this.#waiters.size;
  }

  isWaiting(stageId: StageId): boolean {
    return this.#waiters.has(stageId);
  }

  /** When a back-off ends next, milliseconds since 1970: with no change before, no earlier pass can place anything. Null: never. */
  nextDueAt(): number | null {
    return this.#later.peek()?.stage.notBefore ?? null;
  }

  // ── for place.ts and explain.ts ───────────────────────────────────────────────────────────────────

  /** Lets time pass and chooses the claims anew where something has changed. A round of a pass begins with it. */
  beginRound(now: number): void {
    this.#now = Math.max(this.#now, now);
    for (let due = this.#later.peek(); due !== null && due.stage.notBefore! <= this.#now; due = this.#later.peek()) {
      this.#leave(due);
      this.#enter(due);
    }
    for (const [queue, at] of this.#nextClaimAt) if (at <= this.#now) this.#staleQueues.add(queue);
    for (const queue of this.#staleQueues) {
      this.#staleQueues.delete(queue);
      const { claim, nextAt } = chooseClaim(queue, this.#now, this.#reserveAfterMs);
      if (nextAt === Infinity) this.#nextClaimAt.delete(queue);
      else this.#nextClaimAt.set(queue, nextAt);
      if (!sameClaim(queue.claim, claim)) this.#setClaim(queue, claim);
    }
  }

  /** Places the first stage, by order, of all that can be placed; null when none can. */
  placeFirst(): Placement | null {
    const first = this.#placeable.peek();
    if (first === null) return null;
    const { stage } = first.head!;
    const chosen = this.#choose(first);
    const members = chosen.map((candidate, rank) => ({ agentId: candidate.agent.id, agentName: candidate.agent.name, gpus: candidate.takeGpus(), rank }));
    this.removeWaiting(stage.stageId);
    const { pipelineId, stageId, queue } = stage;
    for (const { agentId, gpus } of members) this.#fill(stageId, { pipelineId, stageId, stage: stage.stage, agentId, queue, gpus });
    return { pipelineId, stageId, stage: stage.stage, members };
  }

  waiterOf(stageId: StageId): Waiter | null {
    return this.#waiters.get(stageId) ?? null;
  }

  agent(agentId: AgentId): AgentRecord | null {
    return this.#agents.get(agentId) ?? null;
  }

  agents(): Iterable<AgentRecord> {
    return this.#agents.values();
  }

  /** Rises with every change of an agent, an assignment or a claim: the reasons that lie with agents are the same until then. */
  get version(): number {
    return this.#version;
  }

  // ── waiting stages ────────────────────────────────────────────────────────────────────────────────

  #classFor(stage: WaitingStage): StageClass {
    const requirement = requirementOf(stage);
    const signature = signatureOf(requirement);
    const known = this.#classes.get(signature);
    if (known !== undefined) return known;
    let queue = this.#queues.get(requirement.queue);
    if (queue === undefined) this.#queues.set(requirement.queue, queue = { name: requirement.queue, classes: new Set(), claim: null });
    const made = new StageClass(signature, requirement, queue);
    this.#classes.set(signature, made);
    queue.classes.add(made);
    const agents = requirement.pinnedTo === null ? this.#agents.values() : requirement.pinnedTo.flatMap((id) => this.#agents.get(id) ?? []);
    for (const agent of agents) this.#consider(made, agent);
    return made;
  }

  /** Puts a waiter where it belongs now: nowhere while paused, among the back-offs, or ready. */
  #enter(waiter: Waiter): void {
    if (waiter.stage.paused) return;
    if (waiter.stage.notBefore !== null && waiter.stage.notBefore > this.#now) return this.#later.add(waiter);
    waiter.class.ready.add(waiter);
    this.#readHead(waiter.class);
  }

  #leave(waiter: Waiter): void {
    if (this.#later.has(waiter)) this.#later.remove(waiter);
    else if (waiter.class.ready.has(waiter)) {
      waiter.class.ready.remove(waiter);
      this.#readHead(waiter.class);
    }
  }

  #readHead(one: StageClass): void {
    const head = one.ready.peek();
    if (head === one.head) return;
    // Out of the heap while its key changes.
    if (one.slot >= 0) this.#placeable.remove(one);
    one.head = head;
    if (one.mayClaim) {
      this.#staleQueues.add(one.queue);
      if (one.queue.claim?.waiter.class === one) this.#setClaim(one.queue, null);
    }
    for (const queue of this.#queues.values()) if (queue.claim !== null) this.#line(one, queue.claim);
    this.#readPlaceable(one);
  }

  #readPlaceable(one: StageClass): void {
    if (one.placeable) {
      if (one.slot < 0) this.#placeable.add(one);
    } else if (one.slot >= 0) this.#placeable.remove(one);
  }

  #retire(one: StageClass): void {
    this.#emptyClasses.add(one);
    const pinned = one.requirement.pinnedTo !== null;
    const oldest = pinned ? one : this.#emptyClasses.size > EMPTY_CLASSES_KEPT ? this.#emptyClasses.values().next().value! : null;
    if (oldest === null) return;
    this.#emptyClasses.delete(oldest);
    this.#classes.delete(oldest.signature);
    for (const candidate of oldest.candidates) candidate.agent.candidates.delete(oldest);
    oldest.queue.classes.delete(oldest);
    if (oldest.queue.classes.size > 0) return;
    this.#queues.delete(oldest.queue.name);
    this.#staleQueues.delete(oldest.queue);
    this.#nextClaimAt.delete(oldest.queue);
  }

  // ── agents ────────────────────────────────────────────────────────────────────────────────────────

  /** The agent is no longer what it was: it is a candidate anew. */
  #recast(agent: AgentRecord): void {
    const former = [...agent.candidates.values()];
    agent.candidates.clear();
    for (const candidate of former) {
      const one = candidate.class;
      if (candidate.slot >= 0) one.open.remove(candidate);
      one.candidates.delete(candidate);
      one.fitting -= Number(candidate.fits);
      one.capable -= Number(candidate.capable);
      if (one.mayClaim) this.#staleQueues.add(one.queue);
      this.#readPlaceable(one);
    }
    // Only now: a claim that ends has its agents judged, and this one is no candidate until it is considered anew.
    for (const queue of this.#queues.values()) if (queue.claim?.agents.includes(agent)) this.#setClaim(queue, null);
    for (const one of this.#classes.values()) {
      if (one.requirement.pinnedTo === null || one.requirement.pinnedTo.includes(agent.id)) this.#consider(one, agent);
    }
  }

  #consider(one: StageClass, agent: AgentRecord): void {
    if (agent.view === null || mismatchOf(one.requirement, agent.view) !== null) return;
    const candidate = new Candidate(one, agent, agent.poolOf(one.requirement.queue)!);
    agent.candidates.set(one, candidate);
    one.candidates.add(candidate);
    this.#judgeOne(candidate);
  }

  #judge(agent: AgentRecord): void {
    for (const candidate of agent.candidates.values()) this.#judgeOne(candidate);
  }

  #judgeOne(candidate: Candidate): void {
    const one = candidate.class;
    if (candidate.judge() && one.mayClaim && one.head !== null) this.#staleQueues.add(one.queue);
    this.#readPlaceable(one);
  }

  #choose(one: StageClass): Candidate[] {
    const { pinnedTo, nodes } = one.requirement;
    if (pinnedTo !== null) return pinnedTo.map((id) => this.#agents.get(id)!.candidates.get(one)!);
    if (nodes === 1) return [one.open.peek()!];
    const chosen: Candidate[] = [];
    while (chosen.length < nodes) chosen.push(one.open.pop()!);
    // Back in for now: filling them judges them anew.
    for (const candidate of chosen) one.open.add(candidate);
    return chosen;
  }

  #forgetIfUnknown(agent: AgentRecord): void {
    if (agent.view === null && agent.occupations.size === 0) this.#agents.delete(agent.id);
  }

  // ── assignments ───────────────────────────────────────────────────────────────────────────────────

  #fill(key: AttemptId | StageId, facts: Occupation): void {
    const { pipelineId, stageId, stage, agentId, queue, gpus } = facts;
    const occupation: Occupation = { pipelineId, stageId, stage, agentId, queue, gpus };
    const held = this.#occupations.get(key);
    if (held === undefined) this.#occupations.set(key, new Map([[agentId, occupation]]));
    else held.set(agentId, occupation);
    let agent = this.#agents.get(agentId);
    if (agent === undefined) this.#agents.set(agentId, agent = new AgentRecord(agentId));
    agent.add(occupation);
    this.#version++;
    this.#judge(agent);
  }

  #vacate(key: AttemptId | StageId, agentId: AgentId): void {
    const held = this.#occupations.get(key);
    const occupation = held?.get(agentId);
    if (held === undefined || occupation === undefined) return;
    held.delete(agentId);
    if (held.size === 0) this.#occupations.delete(key);
    const agent = this.#agents.get(agentId)!;
    agent.drop(occupation);
    this.#version++;
    this.#judge(agent);
    this.#forgetIfUnknown(agent);
  }

  #vacateAll(key: AttemptId | StageId, agentId?: AgentId): void {
    const agentIds = agentId === undefined ? [...(this.#occupations.get(key)?.keys() ?? [])] : [agentId];
    for (const id of agentIds) this.#vacate(key, id);
  }

  // ── claims ────────────────────────────────────────────────────────────────────────────────────────

  #setClaim(queue: QueueRecord, claim: Claim | null): void {
    const old = queue.claim;
    queue.claim = claim;
    this.#staleQueues.add(queue);
    this.#version++;
    if (old !== null) {
      for (const one of this.#classes.values()) one.behind.delete(old);
      for (const agent of old.agents) this.#markPool(agent, queue.name, (claims) => claims.filter((other) => other !== old));
    }
    if (claim !== null) {
      this.#staleQueues.delete(queue);
      for (const one of this.#classes.values()) if (isBehind(one, claim)) one.behind.add(claim);
      for (const agent of claim.agents) this.#markPool(agent, queue.name, (claims) => [...claims, claim]);
    }
  }

  #markPool(agent: AgentRecord, queue: string, change: (claims: readonly Claim[]) => readonly Claim[]): void {
    const pool = agent.poolOf(queue);
    if (pool === null) return;
    pool.claims = change(pool.claims);
    this.#judge(agent);
  }

  /** Puts a class with a new head behind a claim, or out from behind it. */
  #line(one: StageClass, claim: Claim): void {
    const behind = isBehind(one, claim);
    if (behind === one.behind.has(claim)) return;
    if (behind) one.behind.add(claim);
    else one.behind.delete(claim);
    this.#version++;
    for (const agent of claim.agents) {
      const candidate = agent.candidates.get(one);
      if (candidate !== undefined) this.#judgeOne(candidate);
    }
  }
}

function isBehind(one: StageClass, claim: Claim): boolean {
  return one.head !== null && goesBefore(claim.waiter.stage, one.head.stage);
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}
