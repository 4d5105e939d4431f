// A class of stages that ask the same, and one agent judged for that class. The pass reads the judgement, and so do the reasons that users see.
//   J1. A candidate exists for every agent that serves the class's queue, can run it and carries its labels (of the pinned agents only, if it is pinned).
//   J2. `open` holds exactly the candidates that fit now and are not kept free for a stage that goes before the class's head.
//   J3. An agent that has changed is judged anew for every class before anything else changes: the heaps compare live numbers.

import { goesBefore, type WaitingStage } from "./facts.js";
import type { AgentRecord, GpuRecord, PoolRecord } from "./agent-record.js";
import { Heap } from "./heap.js";
import { needsSeveralThings, type Requirement } from "./requirement.js";
import type { Claim, QueueRecord } from "./reservation.js";

/** A waiting stage; in the heap of its class when it may be placed, in the heap of back-offs, or in none while paused. */
export interface Waiter {
  stage: WaitingStage;
  readonly class: StageClass;
  slot: number;
}

export class StageClass {
  slot = -1;
  readonly signature: string;
  readonly requirement: Requirement;
  readonly queue: QueueRecord;
  /** Whether it may claim agents, see reservation.ts. */
  readonly mayClaim: boolean;
  readonly ready = new Heap<Waiter>((a, b) => goesBefore(a.stage, b.stage));
  /** First of `ready`. */
  head: Waiter | null = null;
  /** All its stages, ready or not. */
  members = 0;
  readonly candidates = new Set<Candidate>();
  readonly open: Heap<Candidate>;
  /** Candidates that fit now, kept free for others or not. */
  fitting = 0;
  /** Candidates that would fit if nothing were assigned to them. */
  capable = 0;
  /** Claims of stages that go before the head. */
  readonly behind = new Set<Claim>();
  /** What explain.ts last said of the agents. */
  told: { readonly version: number; readonly second: number; readonly reasons: readonly string[] } | null = null;

  constructor(signature: string, requirement: Requirement, queue: QueueRecord) {
    this.signature = signature;
    this.requirement = requirement;
    this.queue = queue;
    this.mayClaim = needsSeveralThings(requirement);
    this.open = new Heap(requirement.gpus > 0 ? fewestFreeGpus : fewestGpus);
  }

  /** Whether the head can be placed now. */
  get placeable(): boolean {
    return this.head !== null && this.open.size >= this.requirement.nodes;
  }
}

export class Candidate {
  slot = -1;
  readonly class: StageClass;
  readonly agent: AgentRecord;
  readonly pool: PoolRecord;
  /** GPUs of the asked model with enough memory in all, the smallest first: large ones stay for those who need them. */
  readonly suited: readonly GpuRecord[];
  /** Suited GPUs that are free, with enough free memory. */
  freeSuited = 0;
  fits = false;
  capable = false;
  /** Assignments and GPUs that must come free before it fits; 0 when it fits. */
  missing = 0;

  constructor(stageClass: StageClass, agent: AgentRecord, pool: PoolRecord) {
    this.class = stageClass;
    this.agent = agent;
    this.pool = pool;
    const { gpus, gpuModel, gpuMemoryMiB } = stageClass.requirement;
    this.suited = gpus === 0 ? [] : agent.gpus.filter((gpu) => (gpuModel === null || gpu.model.includes(gpuModel)) && gpu.memoryTotalMiB >= (gpuMemoryMiB ?? 0))
      .sort((a, b) => a.memoryTotalMiB - b.memoryTotalMiB || a.index - b.index);
  }

  /** Whether the agent is kept free for a stage that goes before this class. */
  get keptFree(): boolean {
    return this.pool.claims.length > 0 && this.pool.claims.some((claim) => this.class.behind.has(claim));
  }

  /** Judges the agent for the class; true when what a claim looks at has changed. */
  judge(): boolean {
    const { gpus } = this.class.requirement;
    let capable = this.agent.view!.status === "ONLINE" && this.pool.concurrency > 0;
    let missing = Math.max(0, this.pool.used - this.pool.concurrency + 1);
    if (gpus > 0) {
      let free = 0, usable = 0;
      for (const gpu of this.suited) {
        if (this.#isFree(gpu)) free++;
        // Memory in use on a GPU that an attempt holds is taken to be that attempt's.
        if (gpu.strangers === 0 && (gpu.holds > 0 || this.#hasMemory(gpu))) usable++;
      }
      this.freeSuited = free;
      missing += Math.max(0, gpus - free);
      capable &&= usable >= gpus;
    }
    const fits = capable && missing === 0;
    const changed = capable !== this.capable || missing !== this.missing;
    this.class.fitting += Number(fits) - Number(this.fits);
    this.class.capable += Number(capable) - Number(this.capable);
    this.fits = fits;
    this.capable = capable;
    this.missing = missing;
    const { open } = this.class;
    if (fits && !this.keptFree) {
      if (this.slot >= 0) open.moved(this);
      else open.add(this);
    } else if (this.slot >= 0) open.remove(this);
    return changed;
  }

  /** The GPUs that a placement takes, ascending. Only for a candidate that fits. */
  takeGpus(): number[] {
    return this.suited.filter((gpu) => this.#isFree(gpu)).slice(0, this.class.requirement.gpus).map((gpu) => gpu.index).sort((a, b) => a - b);
  }

  #isFree(gpu: GpuRecord): boolean {
    return gpu.holds === 0 && gpu.strangers === 0 && this.#hasMemory(gpu);
  }

  #hasMemory(gpu: GpuRecord): boolean {
    return gpu.memoryFreeMiB >= (this.class.requirement.gpuMemoryMiB ?? 0);
  }
}

/** Best fit: the agent with the fewest free GPUs leaves the large gaps whole. */
function fewestFreeGpus(a: Candidate, b: Candidate): boolean {
  return a.agent.freeGpus !== b.agent.freeGpus ? a.agent.freeGpus < b.agent.freeGpus : lessLoaded(a, b);
}

/** Work without GPUs goes to hosts without, so that it does not take the slots beside them. */
function fewestGpus(a: Candidate, b: Candidate): boolean {
  return a.agent.gpus.length !== b.agent.gpus.length ? a.agent.gpus.length < b.agent.gpus.length : lessLoaded(a, b);
}

function lessLoaded(a: Candidate, b: Candidate): boolean {
  const load = a.pool.used * b.pool.concurrency - b.pool.used * a.pool.concurrency;
  return load !== 0 ? load < 0 : nameGoesBefore(a.agent, b.agent);
}

export function nameGoesBefore(a: AgentRecord, b: AgentRecord): boolean {
  return a.name !== b.name ? a.name < b.name : a.id < b.id;
}
