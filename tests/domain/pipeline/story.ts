// A pipeline's life in a test: commands go in, what followed comes out as short lines. Time moves only when the story says so.
//   S1. After each command the state equals the replay of all events so far, taken through JSON.
//   S2. A refused command leaves no trace.

import { expect } from "vitest";
import type { AgentId, AttemptId, PipelineId, StageId } from "../../../src/domain/ids.js";
import type { PipelineCommand } from "../../../src/domain/pipeline/commands.js";
import { decide, decideAndEvolve } from "../../../src/domain/pipeline/decide.js";
import type { EventOf, PipelineEvent, PipelineEventType } from "../../../src/domain/pipeline/events.js";
import { evolve } from "../../../src/domain/pipeline/evolve.js";
import type { PipelineSpec } from "../../../src/domain/pipeline/spec.js";
import { findStage, liveAttempt, type Failure, type LiveAttempt, type Member, type MemberOutcome, type Outputs, type PipelineState, type StageState } from "../../../src/domain/pipeline/state.js";
import { validateSpec } from "../../../src/domain/pipeline/validate.js";

export const START = Date.UTC(2026, 0, 1);
const PIPELINE = "pip_00000000000000000000000001" as PipelineId;

/** A command stage that runs nothing in particular. */
export function stage(name: string, dependsOn: readonly string[] = [], rest: Record<string, unknown> = {}): Record<string, unknown> {
  return { name, kind: "command", dependsOn, params: { run: ["true"] }, ...rest };
}

export function specOf(stages: readonly Record<string, unknown>[]): PipelineSpec {
  const { spec, problems } = validateSpec({ name: "story", stages });
  if (spec === null) throw new Error(problems.map((problem) => `${problem.path}: ${problem.message}`).join("\n"));
  return spec;
}

export function failure(code: Failure["code"] = "EXIT_NONZERO", rest: Partial<Failure> = {}): Failure {
  return { code, message: `it ended as ${code}`, hint: null, exitCode: 1, logTail: [], ...rest };
}
export const completed = (outputs: Outputs = {}): MemberOutcome => ({ kind: "COMPLETED", outputs });
export const failed = (code?: Failure["code"], rest?: Partial<Failure>): MemberOutcome => ({ kind: "FAILED", failure: failure(code, rest) });
export const STOPPED: MemberOutcome = { kind: "STOPPED" };
export const REFUSED: MemberOutcome = { kind: "REFUSED", reason: "a stranger holds GPU 0" };

export const agentId = (name: string) => `agt_${name}` as AgentId;
export const stageIds = (count: number) => Array.from({ length: count }, (_, index) => `stg_${index}` as StageId);

type Timeless<T> = T extends unknown ? Omit<T, "at"> : never;

export class Story {
  at = START;
  readonly events: PipelineEvent[] = [];
  #state: PipelineState | null = null;
  #attempts = 0;

  constructor(stages: readonly Record<string, unknown>[], options: { forkedFrom?: PipelineId; reuse?: Record<string, Outputs> } = {}) {
    const spec = specOf(stages);
    const reuse = new Map(Object.entries(options.reuse ?? {}).map(([name, outputs]) => [name, { fromStageId: `stg_parent_${name}` as StageId, outputs }]));
    this.when({ type: "SubmitPipeline", by: "ann", reason: "", pipelineId: PIPELINE, spec, stageIds: stageIds(spec.stages.length), forkedFrom: options.forkedFrom ?? null, reuse });
  }

  get state(): PipelineState {
    return this.#state!;
  }

  /** What followed from the command, as short lines. */
  when(command: Timeless<PipelineCommand>): string[] {
    const timed = { ...command, at: this.at } as PipelineCommand;
    const { events, state } = decideAndEvolve(this.#state, timed);
    this.events.push(...events);
    this.#state = state;
    expect(snapshot(replay(this.events))).toEqual(snapshot(state)); // S1
    return events.map(brief);
  }

  /** The typed error with which the command is refused. */
  refusal(command: Timeless<PipelineCommand>): { code: string; message: string } {
    const before = JSON.stringify(snapshot(this.state));
    try {
      decide(this.#state, { ...command, at: this.at } as PipelineCommand);
    } catch (error) {
      expect(JSON.stringify(snapshot(this.state))).toBe(before); // S2
      return error as { code: string; message: string };
    }
    throw new Error(`${command.type} was not refused`);
  }

  wait(seconds: number): this {
    this.at += seconds * 1000;
    return this;
  }

  cancel = () => this.when({ type: "CancelPipeline", by: "ann", reason: "enough" });
  pause = () => this.when({ type: "PausePipeline", by: "ann", reason: "maintenance" });
  resume = () => this.when({ type: "ResumePipeline", by: "ann", reason: "" });
  retry = () => this.when({ type: "RetryPipeline", by: "ann", reason: "" });
  retryStage = (name: string) => this.when({ type: "RetryStage", by: "ann", reason: "", stage: name });
  cancelStage = (name: string) => this.when({ type: "CancelStage", by: "ann", reason: "not this one", stage: name });
  approve = (name: string) => this.when({ type: "ApproveStage", by: "bob", reason: "looks good", stage: name });
  fireTimer = (name: string) => this.when({ type: "FireTimer", stage: name });

  offer(name: string, ...agents: string[]): string[] {
    return this.when(this.offerOf(name, ...agents));
  }
  offerOf(name: string, ...agents: string[]): Timeless<PipelineCommand> & { type: "OfferAttempt" } {
    const members = (agents.length === 0 ? ["one"] : agents).map((agent, rank) => ({ agentId: agentId(agent), agentName: agent, gpus: [], rank }));
    return { type: "OfferAttempt", stage: name, attemptId: `att_${++this.#attempts}` as AttemptId, members };
  }
  start(name: string, agent?: string): string[] {
    return this.when({ type: "StartMember", ...this.member(name, agent), command: ["true"] });
  }
  end(name: string, outcome: MemberOutcome, agent?: string): string[] {
    return this.when({ type: "EndMember", ...this.member(name, agent), outcome });
  }
  lose(name: string, agent?: string): string[] {
    return this.when({ type: "LoseMember", ...this.member(name, agent), reason: "no renewal for 600 s" });
  }
  silent(name: string, since: number): string[] {
    return this.when({ type: "StopSilentAttempt", stage: name, attemptId: this.live(name).id, silentSince: since });
  }
  /** Offered and started on one agent. */
  run(name: string): this {
    this.offer(name);
    this.start(name);
    return this;
  }
  /** Offered, started, completed; answers what followed from the last. */
  complete(name: string, outputs: Outputs = {}): string[] {
    return this.run(name).end(name, completed(outputs));
  }

  /** How an agent's reports name the live attempt of a stage. */
  member(name: string, agent?: string): { stage: string; attemptId: AttemptId; fence: number; agentId: AgentId } {
    const live = this.live(name);
    return { stage: name, attemptId: live.id, fence: live.number, agentId: agent === undefined ? live.members[0]!.agentId : agentId(agent) };
  }
  live(name: string): LiveAttempt {
    const live = liveAttempt(this.stage(name));
    if (live === null) throw new Error(`${name} has no live attempt, it is ${this.stage(name).status}`);
    return live;
  }
  stage(name: string): StageState {
    return findStage(this.state, name)!.stage;
  }
  statuses(): Record<string, string> {
    return Object.fromEntries(this.state.dag.names.map((name) => [name, this.stage(name).status]));
  }
  /** The newest event of a type. */
  last<T extends PipelineEventType>(type: T): EventOf<T> {
    const found = this.events.findLast((event) => event.type === type);
    if (found === undefined) throw new Error(`no ${type} yet`);
    return found as EventOf<T>;
  }
}

/** All events applied one after the other, each as it comes back from JSON. */
export function replay(events: readonly PipelineEvent[]): PipelineState {
  return (JSON.parse(JSON.stringify(events)) as PipelineEvent[]).reduce<PipelineState | null>(evolve, null)!;
}

/** What of a state is stored. */
export function snapshot(state: PipelineState): Record<string, unknown> {
  return { ...state, dag: undefined, stages: [...state.stages] };
}

/** An event in a line. */
export function brief(event: PipelineEvent): string {
  const where = "stage" in event ? ` ${event.stage}` : "";
  const fence = "attemptId" in event && event.attemptId !== null ? ` #${event.number}` : "";
  return `${event.type}${where}${fence}${detail(event)}`;
}

function detail(event: PipelineEvent): string {
  switch (event.type) {
    case "StageQueued": return ` ${event.cause}${event.notBefore === null ? "" : ` in ${(event.notBefore - event.at) / 1000} s`}`;
    case "StageFailed": case "AttemptFailed": return ` ${event.failure.code}${"counts" in event && !event.counts ? " (not counted)" : ""}`;
    case "AttemptStopRequested": return ` ${event.cause}`;
    case "MemberEnded": return ` ${event.agentId.slice(4)} ${event.outcome.kind}`;
    case "StageReset": return ` waits for ${event.waitingFor}`;
    case "PipelineRetried": return ` ${event.stages.join(" ")}`;
    default: return "";
  }
}

export function memberOf(name: string, rank = 0): Member {
  return { agentId: agentId(name), agentName: name, gpus: [], rank, status: "OFFERED", outcome: null };
}
