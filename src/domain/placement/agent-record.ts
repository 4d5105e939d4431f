// One agent as the scheduler keeps it: what it reported, what is assigned to it, and the free capacity that follows.
//   A1. Assignments are facts: they are counted even for an agent not (or no longer) reported, beyond its concurrency, or on GPUs held twice.
//   A2. `pools[].used`, `gpus[].holds` and `freeGpus` always follow from the view and the assignments.

import type { AgentId } from "../ids.js";
import type { Candidate, StageClass } from "./candidate.js";
import type { AgentView, LiveAssignment } from "./facts.js";
import type { Claim } from "./reservation.js";

export interface PoolRecord {
  readonly queues: readonly string[];
  readonly concurrency: number;
  used: number;
  /** Waiting stages for which this pool is kept free; usually none. */
  claims: readonly Claim[];
}

export interface GpuRecord {
  readonly index: number;
  /** Lower case. */
  readonly model: string;
  readonly memoryTotalMiB: number;
  memoryFreeMiB: number;
  strangers: number;
  /** Assignments that hold it. */
  holds: number;
}

/** An assignment, or a placement of which the shell has not yet named the attempt. */
export type Occupation = Omit<LiveAssignment, "attemptId">;

/** What an update touched: nothing that matters, how much is free, or what the agent is. */
export type ViewChange = "nothing" | "capacity" | "shape";

export class AgentRecord {
  readonly id: AgentId;
  /** Null while assignments are known of an agent that is not. */
  view: AgentView | null = null;
  pools: readonly PoolRecord[] = [];
  gpus: readonly GpuRecord[] = [];
  /** GPUs that nobody holds. */
  freeGpus = 0;
  readonly occupations = new Set<Occupation>();
  readonly candidates = new Map<StageClass, Candidate>();

  constructor(id: AgentId) {
    this.id = id;
  }

  get name(): string {
    return this.view?.name ?? this.id;
  }

  poolOf(queue: string): PoolRecord | null {
    return this.pools.find((pool) => pool.queues.includes(queue)) ?? null;
  }

  setView(view: AgentView | null): ViewChange {
    const before = this.view;
    this.view = view;
    if (before === null || view === null || !sameShape(before, view)) {
      this.pools = (view?.pools ?? []).map((pool) => ({ queues: pool.queues, concurrency: pool.concurrency, used: 0, claims: [] }));
      this.gpus = (view?.gpus ?? []).map((gpu) => ({ index: gpu.index, model: gpu.model.toLowerCase(), memoryTotalMiB: gpu.memoryTotalMiB, memoryFreeMiB: 0, strangers: 0, holds: 0 }));
      for (const occupation of this.occupations) this.#count(occupation, 1);
      this.#readGpus();
      return "shape";
    }
    return this.#readGpus() || before.status !== view.status ? "capacity" : "nothing";
  }

  add(occupation: Occupation): void {
    this.occupations.add(occupation);
    this.#count(occupation, 1);
    this.#countFree();
  }

  drop(occupation: Occupation): void {
    this.occupations.delete(occupation);
    this.#count(occupation, -1);
    this.#countFree();
  }

  #count(occupation: Occupation, by: 1 | -1): void {
    const pool = this.poolOf(occupation.queue);
    if (pool !== null) pool.used += by;
    for (const index of occupation.gpus) {
      const gpu = this.gpus.find((one) => one.index === index);
      if (gpu !== undefined) gpu.holds += by;
    }
  }

  #readGpus(): boolean {
    let changed = false;
    this.gpus.forEach((gpu, position) => {
      const { memoryTotalMiB, memoryUsedMiB, strangers } = this.view!.gpus[position]!;
      const free = memoryTotalMiB - (memoryUsedMiB ?? 0);
      changed ||= gpu.memoryFreeMiB !== free || gpu.strangers !== strangers;
      gpu.memoryFreeMiB = free;
      gpu.strangers = strangers;
    });
    this.#countFree();
    return changed;
  }

  #countFree(): void {
    let free = 0;
    for (const gpu of this.gpus) if (gpu.holds === 0 && gpu.strangers === 0) free++;
    this.freeGpus = free;
  }
}

function sameShape(a: AgentView, b: AgentView): boolean {
  return a.name === b.name && sameList(a.capabilities, b.capabilities)
    && a.pools.length === b.pools.length && a.pools.every((pool, i) => pool.concurrency === b.pools[i]!.concurrency && sameList(pool.queues, b.pools[i]!.queues))
    && a.gpus.length === b.gpus.length && a.gpus.every((gpu, i) => sameGpu(gpu, b.gpus[i]!))
    && sameLabels(a.labels, b.labels);
}

function sameGpu(a: AgentView["gpus"][number], b: AgentView["gpus"][number]): boolean {
  return a.index === b.index && a.model === b.model && a.memoryTotalMiB === b.memoryTotalMiB;
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a === b || (a.length === b.length && a.every((item, i) => item === b[i]));
}

function sameLabels(a: AgentView["labels"], b: AgentView["labels"]): boolean {
  if (a === b) return true;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
