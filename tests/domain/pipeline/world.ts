// A pipeline among random users, agents and a random scheduler, all of whom may do anything at any moment; reports arrive late, twice and in any order.
// Each decision is a number, so that a failing run shrinks. What must hold after every command stands in invariants.ts.

import { TrainyardError } from "../../../src/domain/errors.js";
import type { AgentId, AttemptId, PipelineId } from "../../../src/domain/ids.js";
import type { PipelineCommand } from "../../../src/domain/pipeline/commands.js";
import { decideAndEvolve } from "../../../src/domain/pipeline/decide.js";
import type { PipelineEvent } from "../../../src/domain/pipeline/events.js";
import { TERMINAL_PIPELINE, isPlaceable, liveAttempt, type MemberOutcome, type Outputs, type PipelineState } from "../../../src/domain/pipeline/state.js";
import { Invariants } from "./invariants.js";
import { REFUSED, START, STOPPED, agentId, failed, specOf, stageIds, type Story } from "./story.js";

type Timeless<T> = T extends unknown ? Omit<T, "at"> : never;
type Command = Timeless<PipelineCommand>;

/** An agent's part of an attempt, as the agent sees it. */
interface Program {
  readonly report: ReturnType<Story["member"]>;
  phase: "offered" | "running" | "ended";
}

const CAUSES = ["EXIT_NONZERO", "GPU_OUT_OF_MEMORY", "NETWORK", "MODULE_NOT_FOUND"] as const;
const user = { by: "ann", reason: "because" };

export class World {
  state: PipelineState;
  at = START;
  readonly events: PipelineEvent[] = [];
  readonly #invariants = new Invariants();
  readonly #programs: Program[] = [];
  /** Reports on their way. */
  readonly #wire: Command[] = [];
  #attempts = 0;

  constructor(stages: readonly Record<string, unknown>[]) {
    const spec = specOf(stages);
    const first = decideAndEvolve(null, { type: "SubmitPipeline", at: this.at, ...user, pipelineId: "pip_world" as PipelineId, spec, stageIds: stageIds(spec.stages.length), forkedFrom: null, reuse: new Map() });
    this.state = first.state;
    this.events.push(...first.events);
    this.#invariants.check(null, first.events, first.state);
  }

  get over(): boolean {
    return TERMINAL_PIPELINE.has(this.state.status);
  }

  /** One thing happens, chosen by two numbers, the first below `World.KINDS`. */
  static readonly KINDS = 24;
  step(what: number, which: number): void {
    const name = this.state.dag.names[which % this.state.dag.names.length]!;
    switch (what) {
      case 0: case 1: case 2: case 3: case 4: case 5: return this.#offerOne(which);
      case 6: case 7: case 8: return this.#act(which, "start");
      case 9: case 10: case 11: return this.#act(which, "end");
      case 12: case 13: case 14: case 15: case 16: case 17: return this.#deliver(which, which % 3 === 0);
      case 18: this.at += (which % 40) * 1000; return;
      case 19: return this.give({ type: "FireTimer", stage: name });
      case 20: return this.#watch(name, which);
      case 21: return this.give({ type: "ApproveStage", ...user, stage: name });
      case 22: return this.#lose(which);
      default: return this.#order(which, name);
    }
  }

  /** A command as the shell would give it: refusals are typed and change nothing, anything else thrown is a bug. */
  give(command: Command): void {
    const before = this.state;
    try {
      const { events, state } = decideAndEvolve(before, { ...command, at: this.at } as PipelineCommand);
      this.#invariants.check(before, events, state);
      this.state = state;
      this.events.push(...events);
    } catch (error) {
      if (!(error instanceof TrainyardError)) throw error;
    }
  }

  /** Faults stop: users let it go on, agents obey and finish, every report arrives. Answers how many rounds it took. */
  settle(): number {
    for (let round = 1; round <= 20 * (this.state.stages.length + 2); round++) {
      if (this.over) return round;
      if (this.state.status === "PAUSED" && this.state.cancelling === null) this.give({ type: "ResumePipeline", ...user });
      this.state.dag.names.forEach((name, index) => {
        const stage = this.state.stages.at(index);
        if (stage.status === "WAITING_APPROVAL") this.give({ type: "ApproveStage", ...user, stage: name });
        if (stage.status === "QUEUED" && stage.live === null && stage.notBefore !== null) this.at = Math.max(this.at, stage.notBefore);
        if (isPlaceable(this.state, this.state.stages.at(index), this.at)) this.#offer(index);
      });
      for (const program of this.#programs) {
        if (program.phase === "ended") continue;
        const stopping = this.#live(program)?.stopping ?? null;
        if (program.phase === "offered" && stopping === null) this.#wire.push({ type: "StartMember", ...program.report, command: null });
        this.#end(program, stopping === null ? { kind: "COMPLETED", outputs: { n: 1 } } : STOPPED);
      }
      while (this.#wire.length > 0) this.give(this.#wire.shift()!);
    }
    throw new Error(`still ${this.state.status} when nothing is left to happen: ${JSON.stringify([...this.state.stages])}`);
  }

  // ── the scheduler ─────────────────────────────────────────────────────────────────────────────────

  /** Mostly a stage that may be placed; sometimes any. */
  #offerOne(which: number): void {
    const waiting = this.state.dag.names.flatMap((_, index) => (isPlaceable(this.state, this.state.stages.at(index), this.at) ? [index] : []));
    this.#offer(waiting.length === 0 || which % 7 === 0 ? which % this.state.dag.names.length : waiting[which % waiting.length]!);
  }

  #offer(index: number): void {
    const spec = this.state.spec.stages[index]!;
    const attemptId = `att_${++this.#attempts}` as AttemptId;
    const members = Array.from({ length: spec.resources.nodes }, (_, rank) => ({ agentId: agentId(`${rank}`), agentName: `${rank}`, gpus: [], rank }));
    this.give({ type: "OfferAttempt", stage: spec.name, attemptId, members });
    const live = liveAttempt(this.state.stages.at(index));
    if (live?.id !== attemptId) return;
    for (const member of members) this.#programs.push({ report: { stage: spec.name, attemptId, fence: live.number, agentId: member.agentId as AgentId }, phase: "offered" });
  }

  // ── agents ────────────────────────────────────────────────────────────────────────────────────────

  #act(which: number, what: "start" | "end"): void {
    const open = this.#programs.filter((program) => program.phase === "offered" || (what === "end" && program.phase === "running"));
    const program = open[which % open.length];
    if (program === undefined) return;
    if (what === "end") return this.#end(program, this.#outcome(program, which));
    program.phase = "running";
    this.#wire.push({ type: "StartMember", ...program.report, command: ["x"] });
  }

  #end(program: Program, outcome: MemberOutcome): void {
    program.phase = "ended";
    this.#wire.push({ type: "EndMember", ...program.report, outcome });
  }

  #outcome(program: Program, which: number): MemberOutcome {
    const outputs: Outputs = which % 11 === 0 ? {} : { n: which % 4 };
    if (program.phase === "offered" && which % 2 === 0) return REFUSED;
    if (this.#live(program)?.stopping != null && which % 3 !== 0) return STOPPED;
    if (which % 5 === 0) return failed(CAUSES[which % CAUSES.length]);
    return which % 13 === 0 ? STOPPED : { kind: "COMPLETED", outputs };
  }

  #live(program: Program): ReturnType<typeof liveAttempt> {
    const live = liveAttempt(this.state.stages.at(this.state.dag.indexOf.get(program.report.stage)!));
    return live?.id === program.report.attemptId ? live : null;
  }

  #deliver(which: number, again: boolean): void {
    const report = this.#wire[which % this.#wire.length];
    if (report === undefined) return;
    if (!again) this.#wire.splice(which % this.#wire.length, 1);
    if (which % 17 === 0) this.#forge(report, which);
    this.give(report);
  }

  /** The same report under another fence, or from an agent without a part in it: whatever it says is refused. */
  #forge(report: Command, which: number): void {
    const before = this.state;
    if (report.type === "EndMember") this.give(which % 2 === 0 ? { ...report, fence: report.fence + 1 } : { ...report, agentId: agentId("stranger") });
    if (this.state !== before) throw new Error(`a forged report was accepted: ${JSON.stringify(report)}`);
  }

  // ── the control plane's own observations ──────────────────────────────────────────────────────────

  #lose(which: number): void {
    const program = this.#programs[which % this.#programs.length];
    if (program === undefined) return;
    // The program may be healthy, and its reports may still come: they are refused.
    this.give({ type: "LoseMember", ...program.report, reason: "no renewal" });
  }

  #watch(name: string, which: number): void {
    const live = liveAttempt(this.state.stages.at(this.state.dag.indexOf.get(name)!));
    if (live !== null) this.give({ type: "StopSilentAttempt", stage: name, attemptId: live.id, silentSince: this.at - (which % 100) * 1000 });
  }

  // ── users ─────────────────────────────────────────────────────────────────────────────────────────

  #order(which: number, stage: string): void {
    switch (Math.floor(which / 97) % 13) {
      case 0: return this.give({ type: "CancelPipeline", ...user });
      case 1: case 2: return this.give({ type: "PausePipeline", ...user });
      case 3: case 4: case 5: return this.give({ type: "ResumePipeline", ...user });
      case 6: case 7: case 8: return this.give({ type: "RetryPipeline", ...user });
      case 9: case 10: return this.give({ type: "RetryStage", ...user, stage });
      default: return this.give({ type: "CancelStage", ...user, stage });
    }
  }
}
