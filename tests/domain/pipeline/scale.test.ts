// Ten thousand stages. What is asserted is counted, not timed: how many stages a command looks at. The times are printed for whoever reads along.

import { afterEach, describe, expect, test } from "vitest";
import type { AttemptId, PipelineId } from "../../../src/domain/ids.js";
import type { PipelineCommand } from "../../../src/domain/pipeline/commands.js";
import { decideAndEvolve } from "../../../src/domain/pipeline/decide.js";
import type { PipelineSpec } from "../../../src/domain/pipeline/spec.js";
import { StageTable } from "../../../src/domain/pipeline/stage-table.js";
import type { PipelineState } from "../../../src/domain/pipeline/state.js";
import { validateSpec } from "../../../src/domain/pipeline/validate.js";
import { START, agentId, completed, failed, stage, stageIds } from "./story.js";

const COUNT = 10_000;
const user = { by: "ann", reason: "" };

const names = Array.from({ length: COUNT }, (_, index) => `s${index}`);
const reading = (...stages: string[]) => ({ params: { run: ["x", ...stages.map((name) => `\${stages.${name}.outputs.n}`)] } });
/** A small generator with a seed, so that the layered graph is the same in every run. */
function* chances(seed: number): Generator<number> {
  for (let state = seed; ; ) yield (state = (state * 48_271) % 2_147_483_647);
}

const SHAPES: Record<string, () => Record<string, unknown>[]> = {
  // Every stage reads the first one: upstream of it, but never a direct need.
  chain: () => names.map((name, index) => (index === 0 ? stage(name) : stage(name, [names[index - 1]!], reading(names[index - 1]!, names[0]!)))),
  "fan-out": () => names.map((name, index) => (index === 0 ? stage(name) : index < COUNT - 1 ? stage(name, [names[0]!], reading(names[0]!)) : stage(name, names.slice(1, -1), reading(names[1]!, names[0]!)))),
  "layered random": () => {
    const chance = chances(7);
    const one = (from: number, to: number) => from + (chance.next().value as number) % (to - from);
    return names.map((name, index) => {
      const layer = Math.floor(index / 100);
      if (layer === 0) return stage(name);
      const needs = [...new Set([0, 1, 2].map(() => names[one((layer - 1) * 100, layer * 100)]!))];
      return stage(name, needs, reading(needs[0]!));
    });
  },
};

let looks = 0;
const plain = { at: StageTable.prototype.at, iterate: StageTable.prototype[Symbol.iterator] };
afterEach(() => void Object.assign(StageTable.prototype, { at: plain.at, [Symbol.iterator]: plain.iterate }));

/** The state, in which every look at one stage is counted: at its state, its specification or its name. */
function counted(state: PipelineState): PipelineState {
  StageTable.prototype.at = function (this: StageTable<unknown>, index) { looks++; return plain.at.call(this, index); };
  StageTable.prototype[Symbol.iterator] = function* (this: StageTable<unknown>) { for (const item of { [Symbol.iterator]: () => plain.iterate.call(this) }) { looks++; yield item; } };
  const watch = <T extends object>(list: T): T => new Proxy(list, { get: (target, key) => { if (typeof key === "string" && /^\d+$/.test(key)) looks++; return Reflect.get(target, key) as unknown; } });
  return { ...state, spec: { ...state.spec, stages: watch(state.spec.stages) }, dag: { ...state.dag, names: watch(state.dag.names) } };
}

function submit(stages: readonly unknown[], label: string): PipelineState {
  const begin = performance.now();
  const { spec, problems } = validateSpec({ name: "large", stages });
  const validated = performance.now();
  expect(problems).toEqual([]);
  const { state } = decideAndEvolve(null, { type: "SubmitPipeline", at: START, ...user, pipelineId: "pip_large" as PipelineId, spec: spec as PipelineSpec, stageIds: stageIds(COUNT), forkedFrom: null, reuse: new Map() });
  console.info(`${label}: ${COUNT} stages validated in ${Math.round(validated - begin)} ms, submitted in ${Math.round(performance.now() - validated)} ms`);
  return state;
}

describe.each(Object.entries(SHAPES))("a pipeline of 10,000 stages, %s", (label, stages) => {
  test("is driven to its end, and each command looks only at the stages it names, changes or feeds", () => {
    let state = counted(submit(stages(), label));
    const begin = performance.now();
    let commands = 0, most = 0;
    const give = (command: PipelineCommand, feeds = 0) => {
      looks = 0;
      const { events, state: after } = decideAndEvolve(state, command);
      const used = looks;
      if (used > 12 + 10 * (events.length + feeds)) throw new Error(`${command.type} looked ${used} times: ${events.length} events, ${feeds} dependents`);
      if (feeds < 10) most = Math.max(most, used);
      commands++;
      state = after;
      return events;
    };
    const ready = [...names.keys()].filter((index) => state.dag.needs[index]!.length === 0);
    for (let next = 0; next < ready.length; next++) {
      const index = ready[next]!;
      const report = { at: START, stage: names[index]!, attemptId: `att_${index}` as AttemptId, fence: 1, agentId: agentId("one") };
      give({ type: "OfferAttempt", ...report, members: [{ agentId: report.agentId, agentName: "one", gpus: [], rank: 0 }] });
      give({ type: "StartMember", ...report, command: null });
      for (const event of give({ type: "EndMember", ...report, outcome: completed({ n: index }) }, state.dag.feeds[index]!.length)) if (event.type === "StageQueued") ready.push(state.dag.indexOf.get(event.stage)!);
    }
    console.info(`${label}: ${commands} commands, ${state.seq} events in ${Math.round(performance.now() - begin)} ms; most looks of a command without a fan-out: ${most}`);
    expect(state).toMatchObject({ status: "COMPLETED", counts: { COMPLETED: COUNT } });
    expect(most).toBeLessThan(100);
  });

  test("a first failure skips what hangs on it, and retry, cancel, pause and resume touch every stage once", () => {
    let state = submit(stages(), label);
    const give = (command: PipelineCommand) => ({ state } = decideAndEvolve(state, command));
    const at = START;
    const report = { at, stage: names[0]!, attemptId: "att_0" as AttemptId, fence: 1, agentId: agentId("one") };
    give({ type: "OfferAttempt", ...report, members: [{ agentId: report.agentId, agentName: "one", gpus: [], rank: 0 }] });
    give({ type: "EndMember", ...report, outcome: failed() });
    const { FAILED, SKIPPED, QUEUED, PENDING } = state.counts;
    expect(FAILED).toBe(1);
    expect(SKIPPED).toBe(label === "layered random" ? COUNT - 1 - QUEUED - PENDING : COUNT - 1);
    const { seq } = state;
    give({ type: "RetryStage", at, ...user, stage: names[0]! });
    expect(state.counts).toMatchObject({ FAILED: 0, SKIPPED: 0 });
    expect(state.seq - seq).toBe(1 + 1 + SKIPPED + 1);
    give({ type: "PausePipeline", at, ...user });
    give({ type: "ResumePipeline", at, ...user });
    give({ type: "CancelPipeline", at, ...user });
    expect(state).toMatchObject({ status: "CANCELLED", counts: { CANCELLED: COUNT } });
    give({ type: "RetryPipeline", at, ...user });
    expect(state.counts.QUEUED).toBe(label === "layered random" ? 100 : 1);
  });
});
