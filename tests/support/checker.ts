// Judges what a chaos run left behind against the promises of the product. Each invariant is one function over plain evidence and says in words what it found.
//   C1. Separate code: no query, no parser and no type of the product, except `evolve` for the one invariant that is about it (13).
//   C2. It sees histories, not only ends: a wrong moment that was put right later is still found.
// Invariant 19 is all of these after a FLUSHALL (nemesis.ts), invariant 20 a search of its own (checker-canaries.ts).
// tests/chaos/planted-bugs.test.ts proves that each of them goes off.

import { buildDag } from "../../src/domain/pipeline/dag.js";
import type { PipelineEvent } from "../../src/domain/pipeline/events.js";
import { evolve } from "../../src/domain/pipeline/evolve.js";
import type { PipelineState } from "../../src/domain/pipeline/state.js";
import type { EventRow, Evidence, StageRow } from "./checker-evidence.js";
import { groupBy } from "./checker-groups.js";
import { readersMissNothingUndeclared, telemetryIsWhole } from "./checker-telemetry.js";

export interface CheckOptions {
  /** Seconds after the waking of an agent that was frozen past its lease in which its program may still work beside the new one. Two programs never overlap otherwise. */
  readonly zombieSeconds?: number;
  /** Whether attempts may be lost: only where leases ran out on purpose. */
  readonly lossAllowed?: boolean;
  /** Seconds after an answered cancel in which the last program may still do something. */
  readonly cancelGraceSeconds?: number;
  /** Expected end by the pipeline's name. */
  readonly expected?: Readonly<Record<string, string>>;
}

/** What was found, each beginning with the number of the invariant; empty when all is well. */
export function check(evidence: Evidence, options: CheckOptions = {}): string[] {
  return INVARIANTS.flatMap(({ number, judge }) => judge(evidence, options).map((found) => `${number}: ${found}`));
}

/** The user's order behind an event. */
const ACTION_OF: Readonly<Record<string, string>> = { PipelineSubmitted: "submitPipeline", PipelineCancelRequested: "cancelPipeline", PipelinePaused: "pausePipeline", PipelineResumed: "resumePipeline" };

type Judge = (evidence: Evidence, options: CheckOptions) => string[];
const ATTEMPT_ENDS: Readonly<Record<string, string>> = { StageCompleted: "COMPLETED", AttemptFailed: "FAILED", AttemptLost: "LOST", AttemptCancelled: "CANCELLED" };
const PIPELINE_ENDS: Readonly<Record<string, string>> = { PipelineCompleted: "COMPLETED", PipelineFailed: "FAILED", PipelineCancelled: "CANCELLED" };

export const INVARIANTS: readonly { readonly number: number; readonly judge: Judge }[] = [
  { number: 1, judge: oneLiveAttempt },
  { number: 2, judge: fencesRise },
  { number: 3, judge: programsDoNotOverlap },
  { number: 4, judge: oldFencesAreRefused },
  { number: 5, judge: endsAreFinal },
  { number: 6, judge: acknowledgedReportsAreThere },
  { number: 7, judge: effectsHappenOnce },
  { number: 8, judge: reportsAreDense },
  { number: 9, judge: everythingEnds },
  { number: 10, judge: ({ orphans }) => orphans },
  { number: 11, judge: needsComeFirst },
  { number: 12, judge: numbersAreDense },
  { number: 13, judge: historyGivesTheState },
  { number: 14, judge: subscriberMissesNothing },
  { number: 15, judge: telemetryIsWhole },
  { number: 15, judge: readersMissNothingUndeclared },
  { number: 16, judge: mutationsAreAccountedFor },
  { number: 17, judge: capacityIsKept },
  { number: 18, judge: cancelIsFinal },
];

function oneLiveAttempt({ events }: Evidence): string[] {
  const live = new Map<string, string>();
  return events.flatMap((event) => {
    const stage = stageKey(event);
    if (event.type === "AttemptOffered") {
      const other = live.get(stage);
      live.set(stage, attemptOf(event));
      return other === undefined ? [] : [`${stage}: ${attemptOf(event)} was offered while ${other} lived (position ${event.position})`];
    }
    if (ATTEMPT_ENDS[event.type] !== undefined && live.get(stage) === attemptOf(event)) live.delete(stage);
    return [];
  });
}

function fencesRise({ events, attempts }: Evidence): string[] {
  const newest = new Map<string, number>();
  const used = new Set<string>();
  const found: string[] = [];
  for (const event of events) {
    if (event.type !== "AttemptOffered") continue;
    const number = event.payload["number"] as number;
    if (number !== (newest.get(stageKey(event)) ?? 0) + 1) found.push(`${stageKey(event)}: fence ${number} follows ${newest.get(stageKey(event)) ?? 0}`);
    if (used.has(attemptOf(event))) found.push(`${attemptOf(event)} was offered twice`);
    used.add(attemptOf(event));
    newest.set(stageKey(event), number);
  }
  for (const row of attempts) if (!used.has(row.id)) found.push(`attempt row ${row.id} was never offered`);
  if (used.size !== attempts.length) found.push(`${used.size} attempts were offered, ${attempts.length} rows stand for them`);
  return found;
}

/**
 * The bound of invariant 3: an agent that can act stops its program before its lease is over, so that programs of two attempts never overlap, on one host or two. Only a frozen agent cannot; its program
 * may go on until it wakes, and as long after that as a stop takes.
 */
function programsDoNotOverlap({ deeds, files, frozen }: Evidence, { zombieSeconds = 3 }: CheckOptions): string[] {
  const runs = new Map<string, { key: string; stage: string; attempt: number; pid: number; from: number; to: number }>();
  for (const { pipelineId, stage, attempt, pid, at } of deeds) {
    const key = `${pipelineId}/${stage} ${attempt} ${pid}`;
    const run = runs.get(key);
    if (run === undefined) runs.set(key, { key: `${pipelineId}/${stage} ${attempt}`, stage: `${pipelineId}/${stage}`, attempt, pid, from: at, to: at });
    else run.to = Math.max(run.to, at);
  }
  const agentOf = new Map(files.map((file) => [`${file.pipelineId}/${file.stage} ${file.attempt}`, file.agent]));
  const found: string[] = [];
  for (const list of groupBy(runs.values(), (run) => run.stage).values()) {
    list.sort((a, b) => a.from - b.from || a.attempt - b.attempt);
    list.forEach((run, index) => {
      const before = list[index - 1];
      if (before === undefined) return;
      if (before.attempt === run.attempt) found.push(`attempt ${run.attempt} of ${run.stage} ran twice (pids ${before.pid} and ${run.pid})`);
      if (before.attempt > run.attempt) found.push(`the program of attempt ${run.attempt} of ${run.stage} was started after that of attempt ${before.attempt}`);
    });
    for (const run of list) for (const before of list) {
      if (before.attempt >= run.attempt || before.to <= run.from) continue;
      const spell = frozen.find(({ name, from, to }) => name === agentOf.get(before.key) && from <= run.from && run.from <= to);
      const until = spell === undefined ? run.from : spell.to + zombieSeconds;
      if (before.to > until) found.push(`two programs of ${run.stage} ran at once for ${(before.to - run.from).toFixed(2)} s (attempts ${before.attempt} and ${run.attempt})${spell === undefined ? "" : `, ${(before.to - spell.to).toFixed(2)} s of it after agent ${spell.name} awoke`}`);
    }
  }
  return found;
}

function oldFencesAreRefused({ events, stages, files }: Evidence): string[] {
  const fence = new Map<string, number>();
  const found: string[] = [];
  for (const event of events) {
    const number = event.payload["number"] as number | undefined;
    if (event.type === "AttemptOffered") fence.set(stageKey(event), number!);
    else if (number !== undefined && (event.payload["attemptId"] ?? null) !== null && number !== fence.get(stageKey(event))) found.push(`${event.type} of fence ${number} was accepted for ${stageKey(event)}, whose fence was ${fence.get(stageKey(event))}`);
  }
  // The outputs of a stage are those that the program of its newest attempt left on disk.
  const completed = new Map(events.filter((event) => event.type === "StageCompleted").map((event) => [stageKey(event), event]));
  for (const stage of stages) {
    const event = completed.get(`${stage.pipelineId}/${stage.name}`);
    if (stage.status !== "COMPLETED" || event === undefined) continue;
    const left = files.filter((one) => one.pipelineId === stage.pipelineId && one.stage === stage.name && one.attempt === event.payload["number"]);
    if (!left.some((one) => same(one.outputs, stage.phase["outputs"]))) found.push(`${stage.pipelineId}/${stage.name} has outputs ${JSON.stringify(stage.phase["outputs"])}, its program of attempt ${String(event.payload["number"])} left ${JSON.stringify(left.map((one) => one.outputs))}`);
  }
  return found;
}

function endsAreFinal({ events, tampered, attempts }: Evidence, { lossAllowed = false }: CheckOptions): string[] {
  const over = new Map<string, EventRow>();
  const found = [...tampered];
  for (const event of events) {
    for (const thing of [event.pipelineId, event.payload["attemptId"] as string | undefined]) {
      const end = thing === undefined ? undefined : over.get(thing);
      if (end !== undefined) found.push(`${event.type} at position ${event.position} although ${thing} had ended with ${end.type} at ${end.position}`);
    }
    if (ATTEMPT_ENDS[event.type] !== undefined && typeof event.payload["attemptId"] === "string") over.set(attemptOf(event), event);
    if (PIPELINE_ENDS[event.type] !== undefined) over.set(event.pipelineId, event);
    if (event.type === "AttemptLost" && !lossAllowed) found.push(`${attemptOf(event)} of ${stageKey(event)} was lost: ${JSON.stringify(event.payload["failure"])}`);
  }
  for (const { id, status } of attempts) {
    const end = over.get(id);
    if (end !== undefined && ATTEMPT_ENDS[end.type] !== status) found.push(`attempt ${id} is stored as ${status}, its history ended with ${end.type}`);
  }
  return found;
}

function acknowledgedReportsAreThere({ journals, agents, events }: Evidence): string[] {
  const startsOf = groupBy(events.filter((event) => event.type === "AttemptStarted"), attemptOf);
  const ends = new Map(events.filter((event) => ATTEMPT_ENDS[event.type] !== undefined).map((event) => [attemptOf(event), event]));
  return Object.entries(journals).flatMap(([name, { epoch, reports }]) => {
    const agent = agents.find((row) => row.name === name);
    if (agent === undefined && reports.length === 0) return []; // it never had a session, so nothing was promised to it
    if (agent === undefined || agent.epoch !== epoch) return [`agent ${name} writes the journal ${epoch}, the control plane expects ${agent?.epoch ?? "none"}`];
    const last = reports.at(-1)?.n ?? 0;
    const found = agent.watermark === last ? [] : [`agent ${name} journalled ${last} reports, ${agent.watermark} are committed`];
    for (const report of reports) {
      if (report.n > agent.watermark) break;
      const end = ends.get(report.attemptId);
      const overEarly = end?.type === "AttemptLost" || end?.type === "AttemptCancelled";
      if (report.type === "started" && !startsOf.has(report.attemptId) && !overEarly) found.push(`report ${report.n} of ${name} (${report.attemptId} started) was acknowledged and left no trace`);
      if (report.type === "ended" && end === undefined) found.push(`report ${report.n} of ${name} (${report.attemptId} ended) was acknowledged and left no trace`);
      if (report.type === "ended" && report.outcome?.kind === "COMPLETED" && end !== undefined && end.type !== "StageCompleted" && !overEarly) found.push(`${report.attemptId} was reported COMPLETED and stored as ${end.type}`);
      if (report.type === "ended" && end?.type === "StageCompleted" && !same(report.outcome?.outputs, end.payload["outputs"])) found.push(`${report.attemptId} reported other outputs than were stored`);
    }
    return found;
  });
}

function effectsHappenOnce({ events, deeds }: Evidence): string[] {
  const found: string[] = [];
  const once = (what: string, list: readonly EventRow[]): void => {
    for (const [key, same] of groupBy(list, (event) => `${attemptOf(event)} ${String(event.payload["agentId"] ?? "")}`)) if (same.length > 1) found.push(`${what} of ${key} happened ${same.length} times (positions ${same.map((event) => event.position).join(", ")})`);
  };
  once("the start", events.filter((event) => event.type === "AttemptStarted"));
  once("the end of a part", events.filter((event) => event.type === "MemberEnded"));
  once("the end", events.filter((event) => ATTEMPT_ENDS[event.type] !== undefined).map((event) => ({ ...event, payload: { attemptId: event.payload["attemptId"] } })));
  for (const [key, same] of groupBy(deeds.filter((deed) => deed.deed === "start"), (deed) => `${deed.pipelineId}/${deed.stage} attempt ${deed.attempt}`)) if (same.length > 1) found.push(`the program of ${key} was started ${same.length} times`);
  // What ended as COMPLETED did its work.
  const ended = new Set(deeds.filter((deed) => deed.deed === "end").map((deed) => `${deed.pipelineId}/${deed.stage} ${deed.attempt}`));
  for (const event of events) if (event.type === "StageCompleted" && event.payload["attemptId"] !== null && !ended.has(`${stageKey(event)} ${String(event.payload["number"])}`)) found.push(`${stageKey(event)} is COMPLETED by an attempt whose program did not come to its end`);
  return found;
}

function reportsAreDense({ journals }: Evidence): string[] {
  return Object.entries(journals).flatMap(([name, { reports }]) => reports.flatMap((report, index) => (report.n === index + 1 ? [] : [`report ${index + 1} in the journal of ${name} carries the number ${report.n}`])).slice(0, 3));
}

function everythingEnds({ pipelines, stages }: Evidence, { expected = {} }: CheckOptions): string[] {
  const found = pipelines.filter((row) => !Object.values(PIPELINE_ENDS).includes(row.status)).map((row) => `${row.name} ${row.id} is ${row.status}`);
  for (const row of pipelines) {
    const wanted = expected[row.name];
    if (wanted !== undefined && row.status !== wanted) found.push(`${row.name} ${row.id} ended ${row.status} instead of ${wanted}: ${JSON.stringify(stages.filter((stage) => stage.pipelineId === row.id && stage.status !== "COMPLETED").map((stage) => stage.phase))}`);
  }
  return found;
}

function needsComeFirst({ events, pipelines }: Evidence): string[] {
  const needs = new Map<string, string[]>(pipelines.flatMap((row) => row.spec.stages.map((stage) => [`${row.id}/${stage.name}`, stage.dependsOn.map((need) => `${row.id}/${need}`)] as const)));
  const completed = new Set<string>();
  return events.flatMap((event) => {
    if (event.type === "StageCompleted" || event.type === "StageReused") completed.add(stageKey(event));
    if (event.type !== "AttemptOffered") return [];
    return (needs.get(stageKey(event)) ?? ["?"]).filter((need) => !completed.has(need)).map((need) => `${stageKey(event)} was offered before ${need} was COMPLETED (position ${event.position})`);
  });
}

function numbersAreDense({ events, lastPosition, pipelines }: Evidence): string[] {
  const found: string[] = [];
  const seqs = new Map<string, number>();
  events.forEach((event, index) => {
    if (event.position !== index + 1 && found.length < 3) found.push(`position ${index + 1} is missing; ${event.position} stands in its place`);
    const seq = (seqs.get(event.pipelineId) ?? 0) + 1;
    if (event.seq !== seq && found.length < 6) found.push(`${event.pipelineId}: seq ${event.seq} stands where ${seq} belongs (position ${event.position})`);
    seqs.set(event.pipelineId, event.seq);
  });
  if (lastPosition !== events.length) found.push(`the counter stands at ${lastPosition}, there are ${events.length} events`);
  for (const row of pipelines) if (row.seq !== seqs.get(row.id)) found.push(`${row.id} is stored at seq ${row.seq}, its history has ${seqs.get(row.id) ?? 0}`);
  return found;
}

function historyGivesTheState({ pipelines, stages, events }: Evidence): string[] {
  const eventsOf = groupBy(events, (event) => event.pipelineId);
  const stagesOf = groupBy(stages, (stage) => stage.pipelineId);
  return pipelines.flatMap((row) => {
    const stored = stagesOf.get(row.id) ?? [];
    try {
      const state = (eventsOf.get(row.id) ?? []).reduce<PipelineState | null>((before, event) => {
        const first = event.type === "PipelineSubmitted" ? { spec: row.spec, stageIds: stored.map((stage) => stage.id), forkedFrom: row.forkedFrom, by: row.createdBy } : {};
        return evolve(before, { ...event.payload, type: event.type, at: Math.round(event.atMs), ...(event.stage === null ? {} : { stage: event.stage }), ...first } as unknown as PipelineEvent);
      }, null)!;
      const found = state.status === row.status && same(state.cancelling, row.cancelling) && state.error === row.error ? [] : [`${row.id} is stored as ${row.status}, its history says ${state.status}`];
      const needs = buildDag(state.spec.stages).needs;
      stored.forEach((stage, index) => {
        const told = derived(state.stages.at(index) as unknown as StageRow["phase"], stored, needs[index]!);
        if (!same(told, derived(stage.phase, stored, needs[index]!)) || told["status"] !== stage.status) found.push(`${row.id}/${stage.name} is stored as ${JSON.stringify(stage.phase)}, its history says ${JSON.stringify(told)}`);
      });
      return found;
    } catch (error) {
      return [`the history of ${row.id} cannot be replayed: ${(error as Error).message}`];
    }
  });
}

/** How many needs are open is derived when a state is read, not stored. */
function derived(phase: StageRow["phase"], stages: readonly StageRow[], needs: readonly number[]): StageRow["phase"] {
  return phase["status"] === "PENDING" ? { ...phase, waitingFor: needs.filter((need) => stages[need]!.status !== "COMPLETED").length } : phase;
}

function subscriberMissesNothing({ told, events }: Evidence): string[] {
  const line = (event: { pipelineId: string; seq: number; type: string } | undefined) => (event === undefined ? "nothing" : `${event.pipelineId} ${event.seq} ${event.type}`);
  const at = Array.from({ length: Math.max(told.length, events.length) }).findIndex((_, index) => line(told[index]) !== line(events[index]));
  return at < 0 ? [] : [`the subscriber was told ${line(told[at])} where the log has ${line(events[at])} (number ${at + 1} of ${events.length}; ${told.length} were told)`];
}

function mutationsAreAccountedFor({ submitted, requests, pipelines, events, audit }: Evidence): string[] {
  const found: string[] = [];
  for (const { requestId, pipelineId } of submitted) {
    const kept = requests.filter((row) => row.requestId === requestId);
    if (kept.length !== 1 || kept[0]!.pipelineId !== pipelineId) found.push(`request ${requestId} was answered with ${pipelineId}, kept is ${JSON.stringify(kept)}`);
  }
  const answered = new Set(requests.map((row) => row.pipelineId));
  for (const { id } of pipelines) if (!answered.has(id)) found.push(`pipeline ${id} stands for no request`);
  if (pipelines.length !== requests.length) found.push(`${requests.length} requests made ${pipelines.length} pipelines`);
  const rows = groupBy(audit.filter((row) => row.outcome === "ACCEPTED"), (row) => `${row.action} of ${row.subject ?? ""}`);
  const orders = groupBy(events.filter((event) => ACTION_OF[event.type] !== undefined), (event) => `${ACTION_OF[event.type]!} of ${event.pipelineId}`);
  for (const [order, effects] of orders) if ((rows.get(order)?.length ?? 0) < effects.length) found.push(`${order} took effect ${effects.length} times, ${rows.get(order)?.length ?? 0} audit rows tell of it`);
  return found;
}

function capacityIsKept({ events, agents, pipelines }: Evidence): string[] {
  const specs = new Map<string, Evidence["pipelines"][number]["spec"]["stages"][number]>(pipelines.flatMap((row) => row.spec.stages.map((stage) => [`${row.id}/${stage.name}`, stage] as const)));
  const poolsOf = new Map(agents.map((agent) => [agent.id, agent.pools]));
  const held = new Map<string, { agentId: string; queue: string; gpus: number[] }>();
  const found: string[] = [];
  for (const event of events) {
    if (event.type === "AttemptOffered") {
      const spec = specs.get(stageKey(event))!;
      for (const member of event.payload["members"] as { agentId: string; gpus: number[] }[]) {
        const others = [...held.values()].filter((one) => one.agentId === member.agentId);
        if (member.gpus.length !== spec.resources.gpus) found.push(`${attemptOf(event)} got ${member.gpus.length} GPUs and asked for ${spec.resources.gpus}`);
        for (const gpu of member.gpus) if (others.some((one) => one.gpus.includes(gpu))) found.push(`GPU ${gpu} of ${member.agentId} was given to ${attemptOf(event)} while another attempt held it (position ${event.position})`);
        const queue = spec.queue ?? ({ train: "training", evaluate: "evaluation", preprocess: "preprocessing", cleanup: "maintenance" }[spec.kind] ?? "default");
        held.set(`${attemptOf(event)} ${member.agentId}`, { agentId: member.agentId, queue, gpus: member.gpus });
        const pool = poolsOf.get(member.agentId)?.find((one) => one.queues.includes(queue));
        const taken = [...held.values()].filter((one) => one.agentId === member.agentId && pool?.queues.includes(one.queue)).length;
        if (pool === undefined || taken > pool.concurrency) found.push(`agent ${member.agentId} held ${taken} attempts of a pool for ${pool?.concurrency ?? 0} (position ${event.position})`);
      }
    }
    if (event.type === "MemberEnded") held.delete(`${attemptOf(event)} ${String(event.payload["agentId"])}`);
    if (ATTEMPT_ENDS[event.type] !== undefined) for (const key of [...held.keys()].filter((one) => one.startsWith(`${attemptOf(event)} `))) held.delete(key);
  }
  return found;
}

function cancelIsFinal({ events, cancelled, deeds }: Evidence, { cancelGraceSeconds = 15 }: CheckOptions): string[] {
  const found: string[] = [];
  const requested = new Set<string>();
  for (const event of events) {
    if (event.type === "PipelineCancelRequested") requested.add(event.pipelineId);
    else if (event.type === "AttemptOffered" && (requested.has(event.pipelineId) || cancelled.some((one) => one.pipelineId === event.pipelineId && event.position > one.position))) found.push(`${attemptOf(event)} of ${event.pipelineId} was offered after the cancel (position ${event.position})`);
  }
  for (const { pipelineId, at } of cancelled) {
    if (!requested.has(pipelineId)) found.push(`the cancel of ${pipelineId} was answered and is nowhere in its history`);
    const late = deeds.find((deed) => deed.pipelineId === pipelineId && deed.at > at + cancelGraceSeconds);
    if (late !== undefined) found.push(`a program of ${pipelineId} still worked ${(late.at - at).toFixed(1)} s after the cancel was answered`);
  }
  return found;
}

function stageKey(event: { pipelineId: string; stage: string | null }): string {
  return `${event.pipelineId}/${event.stage ?? ""}`;
}

function attemptOf(event: EventRow): string {
  return String(event.payload["attemptId"]);
}

function same(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => (item !== null && typeof item === "object" && !Array.isArray(item) ? Object.fromEntries(Object.entries(item).sort(([x], [y]) => (x < y ? -1 : 1))) : item)) ?? "undefined";
}
