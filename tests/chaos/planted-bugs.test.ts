// The checker is worth what it catches: one healthy run of real processes, then copies of what it left behind, each with a bug planted, and each must be found.
import { afterAll, beforeAll, expect, test } from "vitest";
import { check } from "../support/checker.js";
import { gatherEvidence, type Evidence, type EventRow } from "../support/checker-evidence.js";
import { EXPECTED, submitMix, submitTelemetry } from "../support/processes-world-load.js";
import { judged } from "../support/nemesis.js";
import { startProcessesWorld, type ProcessesWorld } from "../support/processes-world.js";
import "../support/built-cli.js"; // has the command line built before the workers start

let world: ProcessesWorld;
let healthy: Evidence;

beforeAll(async () => {
  world = await startProcessesWorld({ link: "https" });
  const server = world.startServer();
  world.startAgent();
  await world.ready(server);
  await Promise.all([submitMix(world), submitTelemetry(world)]);
  await world.settled();
  await judged(world);
  healthy = await gatherEvidence(world);
}, 60_000);
afterAll(() => world.stop());

function found(evidence: Evidence): string[] {
  return check(evidence, { expected: EXPECTED });
}

const pipeline = (evidence: Evidence, name: string) => evidence.pipelines.find((row) => row.name === name)!;
const event = (evidence: Evidence, type: string, name: string, stage: string, nth = 0): EventRow => evidence.events.filter((row) => row.type === type && row.pipelineId === pipeline(evidence, name).id && row.stage === stage).at(nth)!;
/** Puts an event in after another and numbers all anew, as a product with that bug would have done. */
function insertAfter(evidence: Evidence, place: EventRow, added: EventRow): void {
  evidence.events.splice(evidence.events.indexOf(place) + 1, 0, structuredClone(added));
  renumber(evidence);
}
function renumber(evidence: Evidence): void {
  const seqs = new Map<string, number>();
  evidence.events.forEach((row, index) => {
    row.position = index + 1;
    row.seq = (seqs.get(row.pipelineId) ?? 0) + 1;
    seqs.set(row.pipelineId, row.seq);
  });
  for (const row of evidence.pipelines) row.seq = seqs.get(row.id)!;
  Object.assign(evidence, { lastPosition: evidence.events.length });
}

test("nothing is found in a healthy run", () => {
  expect(found(healthy)).toEqual([]);
});

/** The program of the first attempt of "flaky" goes on beside that of the second, for so many seconds. Answers that time. */
function overlap(evidence: Evidence, seconds: number): { from: number; to: number } {
  const deeds = (attempt: number) => evidence.deeds.filter((deed) => deed.stage === "flaky" && deed.attempt === attempt);
  const from = deeds(2)[0]!.at;
  evidence.deeds.push({ ...deeds(1).at(-1)!, deed: "step", at: from + seconds });
  return { from, to: from + seconds };
}

test("the program of an agent that was frozen may go on until it wakes, and as long as a stop takes", () => {
  const doctored = structuredClone(healthy);
  const { from, to } = overlap(doctored, 30);
  doctored.frozen.push({ name: "agent", from: from - 1, to: to - 2 });
  expect(found(doctored)).toEqual([]);
});

test("what a reader was not told and the stream declared as dropped is no gap", () => {
  const doctored = structuredClone(healthy);
  doctored.followed[0]!.points.splice(10, 4);
  doctored.followed[0]!.dropped += 4;
  expect(found(doctored)).toEqual([]);
});

test("an agent that never had a session and journalled nothing was promised nothing", () => {
  const doctored = structuredClone(healthy);
  doctored.journals["unlucky"] = { epoch: "348820b8158fd438bcb384a9", reports: [] };
  expect(found(doctored)).toEqual([]);
});

test("the reader of the healthy run had to begin anew, more than once", () => {
  expect(healthy.followed[0]!.torn).toBeGreaterThanOrEqual(2);
});

const PLANTED: readonly (readonly [bug: string, invariant: number, plant: (evidence: Evidence) => void])[] = [
  ["a stage is offered a second time while its first attempt lives", 1, (e) => insertAfter(e, event(e, "AttemptStarted", "retries", "flaky"), event(e, "AttemptOffered", "retries", "flaky", 1))],
  ["a fence is used for two attempts", 2, (e) => { event(e, "AttemptOffered", "retries", "flaky", 1).payload["number"] = 1; }],
  ["an attempt has no row", 2, (e) => { e.attempts.pop(); }],
  ["two programs of a stage run at once", 3, (e) => { e.deeds.push({ ...e.deeds.findLast((deed) => deed.stage === "flaky" && deed.attempt === 2)!, attempt: 1, pid: e.deeds.find((deed) => deed.stage === "flaky" && deed.attempt === 1)!.pid, at: Number.MAX_VALUE }); }],
  ["an old attempt's program is started after the new one's", 3, (e) => { for (const deed of e.deeds) if (deed.stage === "flaky" && deed.attempt === 2) deed.at -= 60; }],
  ["a program is started twice for one attempt", 3, (e) => { e.deeds.push(...e.deeds.filter((deed) => deed.stage === "d").map((deed) => ({ ...deed, pid: 1, at: deed.at + 1 }))); }],
  ["two agents on one host run a stage at once, neither of them frozen", 3, (e) => { overlap(e, 1); }],
  ["a zombie works on long after it awoke", 3, (e) => { const { from, to } = overlap(e, 60); e.frozen.push({ name: "agent", from: from - 1, to: to - 30 }); }],
  ["another agent was frozen, not the one whose program works on", 3, (e) => { const { from, to } = overlap(e, 2); e.frozen.push({ name: "other", from: from - 1, to }); }],
  ["the fence is not tested: an old attempt's end is accepted", 4, (e) => insertAfter(e, event(e, "AttemptStarted", "retries", "flaky", 1), event(e, "AttemptFailed", "retries", "flaky", 0))],
  ["the fence is not tested: an old attempt's outputs are stored", 4, (e) => { e.stages.find((row) => row.name === "flaky")!.phase["outputs"] = { attempt: 1 }; }],
  ["a finished pipeline goes on", 5, (e) => insertAfter(e, e.events.find((row) => row.type === "PipelineCompleted" && row.pipelineId === pipeline(e, "diamond").id)!, event(e, "StageCompleted", "diamond", "d"))],
  ["a finished attempt is stored as something else", 5, (e) => { e.attempts.find((row) => row.status === "COMPLETED")!.status = "FAILED"; }],
  ["an attempt is lost without a lost lease", 5, (e) => { event(e, "AttemptFailed", "retries", "flaky").type = "AttemptLost"; }],
  ["a report is acknowledged before it is stored", 6, (e) => { e.events.splice(e.events.indexOf(event(e, "AttemptStarted", "diamond", "b")), 1); renumber(e); }],
  ["the last reports never arrive", 6, (e) => { e.agents[0]!.watermark -= 1; }],
  ["an agent with reports is forgotten", 6, (e) => { e.agents.shift(); }],
  ["a report sent twice takes effect twice", 7, (e) => insertAfter(e, event(e, "AttemptStarted", "line", "two"), event(e, "AttemptStarted", "line", "two"))],
  ["an assignment delivered twice is run twice", 7, (e) => { e.deeds.push({ ...e.deeds.find((deed) => deed.deed === "start")!, pid: 1 }); }],
  ["a stage is COMPLETED although its program was killed", 7, (e) => { e.deeds.splice(e.deeds.findIndex((deed) => deed.deed === "end"), 1); }],
  ["an agent leaves a number out", 8, (e) => { e.journals["agent"]!.reports.splice(3, 1); }],
  ["a pipeline never ends", 9, (e) => { pipeline(e, "gpus").status = "RUNNING"; }],
  ["a cancelled pipeline ends as a success", 9, (e) => { pipeline(e, "cancelled").status = "COMPLETED"; }],
  ["a stage starts before what it needs", 11, (e) => { const early = event(e, "AttemptOffered", "diamond", "d"); e.events.splice(e.events.indexOf(early), 1); insertAfter(e, event(e, "AttemptStarted", "diamond", "b"), early); }],
  ["an event is missing in the middle of a history", 12, (e) => { e.events.splice(20, 1); }],
  ["two writers take the same number", 12, (e) => { e.events[21]!.seq = e.events[20]!.seq; e.events[21]!.pipelineId = e.events[20]!.pipelineId; }],
  ["the counter runs ahead of the log", 12, (e) => { Object.assign(e, { lastPosition: e.lastPosition + 1 }); }],
  ["the stored state differs from its history", 13, (e) => { e.stages.find((row) => row.name === "after")!.phase["attempts"] = 2; }],
  ["an event that its state does not allow was stored", 13, (e) => { event(e, "StageQueued", "line", "three").type = "StageReset"; }],
  ["a subscriber misses an event over a reconnect", 14, (e) => { e.told.splice(10, 1); }],
  ["a subscriber is told an event twice", 14, (e) => { e.told.splice(10, 0, e.told[10]!); }],
  ["log bytes are lost in silence", 15, (e) => { const chunk = e.logs.find((row) => row.text.length > 40)!; chunk.text = chunk.text.slice(20); }],
  ["a log chunk is lost and nobody says so", 15, (e) => { const of = e.logs.filter((row) => row.stageId === e.stages.find((one) => one.name === "curve")!.id); e.logs.splice(e.logs.indexOf(of[0]!), 1); }],
  ["a log chunk is stored twice", 15, (e) => { e.logs.splice(1, 0, e.logs[0]!); }],
  ["a metric point is lost", 15, (e) => { e.points.pop(); }],
  ["a metric point changes its value", 15, (e) => { e.points[0]!.value += 1; }],
  ["a reader comes back and points before its place were never told", 15, (e) => { e.followed[0]!.points.splice(10, 4); }],
  ["a reader is told another value than is stored", 15, (e) => { e.followed[0]!.points[5] = { ...e.followed[0]!.points[5]!, value: 77 }; }],
  ["a reader's stream ends before the last points", 15, (e) => { e.followed[0]!.points.splice(-2); }],
  ["a reader comes back and bytes before its place were never told", 15, (e) => { const { chunks } = e.followed[0]!; chunks.splice(Math.floor(chunks.length / 2), 1); }],
  ["a reader is told bytes that are not in the log", 15, (e) => { const chunk = e.followed[0]!.chunks[0]!; e.followed[0]!.chunks[0] = { ...chunk, text: chunk.text.replace("step", "STEP") }; }],
  ["an order takes effect without an audit row", 16, (e) => { e.audit.splice(e.audit.findIndex((row) => row.action === "cancelPipeline"), 1); }],
  ["a repeated request makes a second pipeline", 16, (e) => { e.pipelines.push({ ...e.pipelines[0]!, id: "pip_second" }); }],
  ["a GPU is given to two attempts", 17, (e) => { for (const row of e.events) for (const member of (row.type === "AttemptOffered" ? row.payload["members"] : []) as { gpus: number[] }[]) if (member.gpus.length > 0) member.gpus = [0]; }],
  ["a pool is over-committed", 17, (e) => { e.agents[0]!.pools.find((pool) => pool.queues.includes("default"))!.concurrency = 1; }],
  ["a cancelled pipeline starts another attempt", 18, (e) => insertAfter(e, e.events.find((row) => row.type === "PipelineCancelRequested")!, event(e, "AttemptOffered", "cancelled", "long"))],
  ["a program goes on after the cancel", 18, (e) => { const { pipelineId, at } = e.cancelled[0]!; e.deeds.push({ deed: "step", pipelineId, stage: "long", attempt: 1, pid: 1, at: at + 60 }); }],
];

test.each(PLANTED)("%s: invariant %i is seen to be broken", (_, invariant, plant) => {
  const doctored = structuredClone(healthy);
  plant(doctored);
  expect(found(doctored).filter((one) => one.startsWith(`${invariant}:`)), found(doctored).join("\n")).not.toEqual([]);
});

const PLANTED_IN_TABLES: readonly (readonly [bug: string, invariant: number, sql: string])[] = [
  ["a terminal attempt is changed and changed back", 5, "update attempts set status = 'LOST' where status = 'COMPLETED'; update attempts set status = 'COMPLETED' where status = 'LOST'"],
  ["an event is rewritten", 5, "update events set payload = payload || '{\"n\": 1}' where position = 5"],
  ["a watermark falls for a moment", 5, "update agents set watermark = watermark - 1; update agents set watermark = watermark + 1"],
  ["a running stage has no lease", 10, "update pipelines set status = 'RUNNING' where name = 'line'; update stages set status = 'RUNNING', phase = '{\"live\": {\"id\": \"att_x\", \"number\": 1, \"members\": [{\"agentId\": \"agt_x\", \"status\": \"RUNNING\"}]}}' where name = 'three'"],
  ["a stage waits for nothing", 10, "update pipelines set status = 'RUNNING' where name = 'line'; update stages set status = 'PENDING' where name = 'three'"],
  ["a stage is left open in a pipeline that is over", 10, "update stages set status = 'QUEUED' where name = 'three'"],
  ["a pipeline with nothing left to do stays open", 10, "update pipelines set status = 'RUNNING' where name = 'line'"],
  ["an offer is forgotten", 10, "update pipelines set status = 'RUNNING' where name = 'line'; update stages set status = 'QUEUED', phase = '{\"live\": {\"id\": \"att_x\", \"number\": 1, \"members\": [{\"agentId\": \"agt_x\", \"status\": \"OFFERED\"}]}}' where name = 'three'"],
];

test.each(PLANTED_IN_TABLES)("%s: invariant %i is seen to be broken in the tables", async (_, invariant, sql) => {
  await world.db.query("begin");
  try {
    await world.db.query(sql);
    expect(found(await gatherEvidence(world)).filter((one) => one.startsWith(`${invariant}:`))).not.toEqual([]);
  } finally {
    await world.db.query("rollback");
  }
});
