// The scheduler alone: 5,000 waiting stages and 2,000 agents. Prints one JSON line, times in milliseconds; nothing passes or fails.
//   coldPass: an idle fleet, every stage just added, the first pass.  warmPass…: every slot taken, 5,000 stages wait, then so many assignments end.
//   explainChanged: the reasons of one stage just after a change of the fleet; explainAll: of every waiting stage in turn, per stage.
//   Each warm time covers the ends told, the pass, and the attempts confirmed; the stages placed are replaced by new ones before the next measurement.

import type { AgentId, AttemptId, PipelineId, StageId } from "../src/domain/ids.js";
import { explain } from "../src/domain/placement/explain.js";
import type { AgentView, Placement, WaitingStage } from "../src/domain/placement/facts.js";
import { Fleet } from "../src/domain/placement/fleet.js";
import { place } from "../src/domain/placement/place.js";

const STAGES = 5_000, AGENTS = 2_000;
const QUEUES = ["training", "default", "evaluation", "preprocessing", "maintenance"];
let made = 0, now = 1_000_000;

function nextStage(): WaitingStage {
  const n = made++;
  const queue = QUEUES[n % QUEUES.length]!;
  const gpus = queue === "training" ? [1, 2, 4, 8][(n / 5) % 4 | 0]! : queue === "evaluation" ? (n / 5 | 0) % 2 : 0;
  return {
    pipelineId: `pip_${n % 500}` as PipelineId, stageId: `stg_${String(n).padStart(9, "0")}` as StageId, stage: `stage-${n}`, queue, capability: queue === "training" ? "train" : "command",
    priority: n % 3, queuedAt: now - (n % 1000), notBefore: null, paused: false, pinnedTo: null,
    resources: { gpus, nodes: queue === "training" && n % 50 === 0 ? 4 : 1, ...(n % 7 === 0 ? { labels: { zone: "eu" } } : {}), ...(gpus > 0 && n % 4 === 0 ? { gpuModel: "H100" } : {}) },
  };
}

function agentView(n: number): AgentView {
  return {
    id: `agt_${n}` as AgentId, name: `gpu-${String(n).padStart(4, "0")}`, status: "ONLINE", lastSeenAt: now,
    pools: [{ queues: ["training"], concurrency: 1 }, { queues: ["default", "evaluation", "preprocessing", "maintenance"], concurrency: 4 }],
    capabilities: ["train", "command"], labels: { zone: n % 2 === 0 ? "eu" : "us" },
    gpus: n % 4 === 3 ? [] : Array.from({ length: 8 }, (_, index) => ({ index, model: n % 4 === 0 ? "NVIDIA A100 80GB" : "NVIDIA H100 80GB", memoryTotalMiB: 81_559, memoryUsedMiB: 4, strangers: 0 })),
  };
}

function milliseconds(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** Ends `ends` random assignments and passes, many times over. */
function warm(fleet: Fleet, live: AttemptId[], ends: number, rounds: number) {
  const times: number[] = [];
  let placed = 0;
  for (let round = 0; round < rounds; round++) {
    const over = Array.from({ length: ends }, (_, i) => live.splice((round * 7919 + i * 104_729) % live.length, 1)[0]!);
    let placements: Placement[] = [];
    now += 5;
    times.push(milliseconds(() => {
      for (const attempt of over) fleet.release(attempt);
      placements = place(fleet, now);
      for (const { stageId } of placements) fleet.confirm(stageId, attemptOf(stageId));
    }));
    placed += placements.length;
    for (const { stageId } of placements) live.push(attemptOf(stageId));
    while (fleet.waitingCount < STAGES) fleet.addWaiting(nextStage());
  }
  return { ...quantiles(times), placedPerPass: round(placed / rounds) };
}

function attemptOf(stageId: StageId): AttemptId {
  return `att_${stageId}` as AttemptId;
}

function quantiles(times: number[]) {
  times.sort((a, b) => a - b);
  return { p50: round(times[times.length >> 1]!), p99: round(times[Math.floor(times.length * 0.99)]!), mean: round(times.reduce((a, b) => a + b, 0) / times.length) };
}

function round(number: number): number {
  return Math.round(number * 10_000) / 10_000;
}

function run() {
  const fleet = new Fleet();
  const views = Array.from({ length: AGENTS }, (_, n) => agentView(n));
  const addAgents = milliseconds(() => views.forEach((view) => fleet.upsertAgent(view)));
  const stages = Array.from({ length: STAGES }, nextStage);
  const addStages = milliseconds(() => stages.forEach((stage) => fleet.addWaiting(stage)));
  let placements: Placement[] = [];
  const coldPass = milliseconds(() => { placements = place(fleet, now); });
  const placedCold = placements.length;
  const live: AttemptId[] = [];
  // Until every slot is taken.
  while (placements.length > 0) {
    for (const { stageId } of placements) {
      fleet.confirm(stageId, attemptOf(stageId));
      live.push(attemptOf(stageId));
    }
    while (fleet.waitingCount < STAGES) fleet.addWaiting(nextStage());
    placements = place(fleet, now);
  }
  const assignments = live.length;
  const heartbeats = milliseconds(() => views.forEach((view) => fleet.upsertAgent({ ...view, lastSeenAt: now, gpus: view.gpus.map((gpu) => ({ ...gpu, memoryUsedMiB: 5 })) })));
  const warmPass1 = warm(fleet, live, 1, 2_000);
  const warmPass100 = warm(fleet, live, 100, 100);
  now += 120_000; // long enough that stages which need several things claim agents
  place(fleet, now);
  const warmPass1Claiming = warm(fleet, live, 1, 2_000);
  const unchangedPass = milliseconds(() => { for (let i = 0; i < 100_000; i++) place(fleet, now); }) / 100_000;
  const waiting = Array.from({ length: made }, (_, n) => `stg_${String(n).padStart(9, "0")}` as StageId).filter((id) => fleet.isWaiting(id));
  const explainChanged: number[] = [];
  for (const id of waiting.slice(0, 200)) {
    const [over] = live.splice(0, 1);
    fleet.release(over!);
    explainChanged.push(milliseconds(() => explain(fleet, id, now)));
  }
  const explainAll = milliseconds(() => waiting.forEach((id) => explain(fleet, id, now))) / waiting.length;
  return {
    bench: "placement", stages: STAGES, agents: AGENTS, assignments, addAgents: round(addAgents), addStages: round(addStages), coldPass: round(coldPass), placedCold, heartbeats: round(heartbeats),
    warmPass1, warmPass100, warmPass1Claiming, unchangedPass: round(unchangedPass), explainChanged: quantiles(explainChanged), explainAll: round(explainAll),
  };
}

console.log(JSON.stringify(run()));
