// The graph of a pipeline, derived once from its specification: positions instead of names, both directions of every edge, topological layers.

import { MAX_PROBLEMS, excerpt, type Problem } from "../errors.js";

export interface Dag {
  readonly names: readonly string[];
  readonly indexOf: ReadonlyMap<string, number>;
  /** needs[i]: positions that stage i depends on. */
  readonly needs: readonly (readonly number[])[];
  /** feeds[i]: positions that depend on stage i. */
  readonly feeds: readonly (readonly number[])[];
}

interface Node {
  readonly name: string;
  readonly dependsOn: readonly string[];
}

/** Builds the graph of stages that passed `dagProblems`. Linear in stages and edges. */
export function buildDag(stages: readonly Node[]): Dag {
  const indexOf = new Map(stages.map((stage, index) => [stage.name, index]));
  const needs = stages.map((stage) => [...new Set(stage.dependsOn)].map((name) => indexOf.get(name)!));
  const feeds: number[][] = stages.map(() => []);
  needs.forEach((list, index) => list.forEach((need) => feeds[need]!.push(index)));
  return { names: stages.map((stage) => stage.name), indexOf, needs, feeds };
}

/** What is wrong with the graph: duplicate names, unknown dependencies, self references, and one cycle named in full; at most MAX_PROBLEMS. */
export function dagProblems(stages: readonly Node[]): Problem[] {
  const problems = [...edgeProblems(stages)];
  if (problems.length > 0) return problems;
  const dag = buildDag(stages);
  const cycle = findCycle(dag);
  if (cycle === null) return [];
  const path = [...cycle, cycle[0]!].map((index) => dag.names[index]).join(" → ");
  const from = cycle[0]!, to = dag.names[cycle[1 % cycle.length]!]!;
  return [error(`stages[${from}].dependsOn[${stages[from]!.dependsOn.indexOf(to)}]`, "CYCLE", `The stages depend on each other in a circle: ${path} (each needs the next).`, "Remove one of these dependencies.")];
}

function edgeProblems(stages: readonly Node[]): Problem[] {
  const problems: Problem[] = [];
  const first = new Map<string, number>();
  for (const [index, { name }] of stages.entries()) {
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, index);
    else problems.push(error(`stages[${index}].name`, "DUPLICATE_STAGE", `Stage name "${excerpt(name)}" is already used by stages[${earlier}].`, "Give each stage a name of its own."));
    if (problems.length === MAX_PROBLEMS) return problems;
  }
  const near = spelling(first);
  for (const [index, { name, dependsOn }] of stages.entries()) {
    for (const [position, need] of dependsOn.entries()) {
      const path = `stages[${index}].dependsOn[${position}]`;
      if (need === name) problems.push(error(path, "SELF_DEPENDENCY", `Stage "${excerpt(name)}" depends on itself.`, "Remove the dependency."));
      else if (!first.has(need)) problems.push(error(path, "UNKNOWN_DEPENDENCY", `Stage "${excerpt(name)}" depends on "${excerpt(need)}", which is no stage of this pipeline.`, near(need) ?? "Name an existing stage."));
      if (problems.length === MAX_PROBLEMS) return problems;
    }
  }
  return problems;
}

/** Topological layers of names: a layer's stages depend only on earlier layers. For reading; execution never waits for a layer. */
export function layersOf(dag: Dag): string[][] {
  const depth = new Int32Array(dag.names.length);
  const layers: string[][] = [];
  for (const index of topologicalOrder(dag)) {
    for (const need of dag.needs[index]!) depth[index] = Math.max(depth[index]!, depth[need]! + 1);
    (layers[depth[index]!] ??= []).push(dag.names[index]!);
  }
  return layers;
}

/** All stages upstream of one, itself excluded. */
export function ancestorsOf(dag: Dag, index: number): Set<number> {
  return reach(dag.needs, index);
}

/** All stages downstream of one, itself excluded. */
export function descendantsOf(dag: Dag, index: number): Set<number> {
  return reach(dag.feeds, index);
}

/** Whether `target` is upstream of `index`, for any of the given targets. One bit per target is carried down the graph once: edges × targets / 32 steps,
 *  however many questions follow. */
export function upstreamTest(dag: Dag, targets: Iterable<number>): (index: number, target: number) => boolean {
  const columns = new Map([...new Set(targets)].map((target, column) => [target, column]));
  const words = (columns.size + 31) >>> 5;
  const bits = new Uint32Array(dag.names.length * words);
  for (const index of columns.size === 0 ? [] : topologicalOrder(dag)) {
    for (const need of dag.needs[index]!) {
      for (let word = 0; word < words; word++) bits[index * words + word]! |= bits[need * words + word]!;
      const column = columns.get(need);
      if (column !== undefined) bits[index * words + (column >>> 5)]! |= 1 << (column & 31);
    }
  }
  return (index, target) => {
    const column = columns.get(target)!;
    return (bits[index * words + (column >>> 5)]! & (1 << (column & 31))) !== 0;
  };
}

/** The candidate closest in spelling, or null when none is near enough to be meant. */
export function nearestName(wanted: string, candidates: Iterable<string>): string | null {
  let best: string | null = null;
  let bestDistance = Math.min(4, Math.max(2, Math.floor(wanted.length / 3)), Math.floor(wanted.length / 2)) + 1;
  if (wanted.length > LONGEST_NAME) return null;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, candidate, bestDistance);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}
const LONGEST_NAME = 200;

/** Hints ("Did you mean …?") for misspelt stage names: only for the first few, since each is a look at every name. */
export function spelling(names: { keys(): Iterable<string> }): (wanted: string) => string | null {
  let left = 20;
  return (wanted) => {
    const near = left-- > 0 ? nearestName(wanted, names.keys()) : null;
    return near === null ? null : `Did you mean "${near}"?`;
  };
}

function error(path: string, code: string, message: string, hint: string): Problem {
  return { path, severity: "ERROR", code, message, hint };
}

function* topologicalOrder(dag: Dag): Generator<number> {
  const open = dag.needs.map((list) => list.length);
  const ready = open.flatMap((count, index) => (count === 0 ? [index] : []));
  for (let head = 0; head < ready.length; head++) {
    const index = ready[head]!;
    yield index;
    for (const next of dag.feeds[index]!) if (--open[next]! === 0) ready.push(next);
  }
}

function findCycle(dag: Dag): number[] | null {
  const sorted = new Set(topologicalOrder(dag));
  if (sorted.size === dag.names.length) return null;
  // Every stage left over needs another one left over: walking those needs must return to a stage already seen.
  let at = dag.names.findIndex((_, index) => !sorted.has(index));
  const seen = new Map<number, number>();
  const walk: number[] = [];
  while (!seen.has(at)) {
    seen.set(at, walk.length);
    walk.push(at);
    at = dag.needs[at]!.find((need) => !sorted.has(need))!;
  }
  return walk.slice(seen.get(at)!);
}

function reach(edges: Dag["needs"], from: number): Set<number> {
  const seen = new Set<number>();
  const open = [...edges[from]!];
  while (open.length > 0) {
    const index = open.pop()!;
    if (seen.has(index)) continue;
    seen.add(index);
    open.push(...edges[index]!);
  }
  return seen;
}

/** Levenshtein's distance, or `limit` when it is not below that: only the cells that could still lead below it are worked out. */
function editDistance(a: string, b: string, limit: number): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => Math.min(j, limit));
  for (let i = 1; i <= a.length; i++) {
    const next = new Array<number>(b.length + 1).fill(limit);
    if (i < limit) next[0] = i;
    let least = next[0]!;
    for (let j = Math.max(1, i - limit + 1); j <= Math.min(b.length, i + limit - 1); j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1), limit);
      least = Math.min(least, next[j]!);
    }
    if (least >= limit) return limit;
    row = next;
  }
  return row[b.length]!;
}
