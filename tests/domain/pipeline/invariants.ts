// What holds after every command, whatever happened: written from the outside, knowing statuses and events but nothing of how they are decided.
//   I1. At most one attempt of a stage is open; fences rise by one; an attempt that is over is never heard of again.
//   I2. A stage is past PENDING, or COMPLETED, only when all its needs are COMPLETED.
//   I3. Final states stay final but for a retry; COMPLETED stays for ever.
//   I4. Once a cancel is accepted nothing is queued or offered until a retry.
//   I5. Counts are true; the state is the fold of the events, each as it comes back from JSON; stages survive JSON.
//   I6. Tries are counted: after maxAttempts of them the stage is over. Nothing is offered before its back-off ends or while paused.
//   I7. No orphan: whatever is not over has something to wait for. A pipeline is over exactly when all of its stages are.

import assert from "node:assert/strict";
import type { PipelineEvent } from "../../../src/domain/pipeline/events.js";
import { evolve } from "../../../src/domain/pipeline/evolve.js";
import { STAGE_STATUSES, TERMINAL_PIPELINE, TERMINAL_STAGE, liveAttempt, type PipelineState, type StageState } from "../../../src/domain/pipeline/state.js";

const NEEDS_DONE = new Set(["QUEUED", "RUNNING", "PAUSED", "WAITING_APPROVAL", "COMPLETED"]);
const BAD_END = new Set(["FAILED", "CANCELLED", "SKIPPED"]);

export class Invariants {
  readonly #fences = new Map<string, number>();
  readonly #open = new Map<string, string>();
  readonly #tries = new Map<string, number>();
  #replayed: PipelineState | null = null;

  check(before: PipelineState | null, events: readonly PipelineEvent[], after: PipelineState): void {
    let cancelling = before?.cancelling != null;
    for (const event of events) {
      this.#attempt(event);
      this.#try(event, after);
      if (event.type === "PipelineCancelRequested") cancelling = true;
      if (event.type === "PipelineRetried") cancelling = false;
      assert(!cancelling || (event.type !== "StageQueued" && event.type !== "AttemptOffered" && event.type !== "StageWaitingApproval"), `I4: ${event.type} while cancelling`);
      this.#replayed = evolve(this.#replayed, JSON.parse(JSON.stringify(event)) as PipelineEvent);
    }
    if (before !== null) this.#finals(before, events, after);
    this.#fold(before, after);
    const { dag, stages } = after;
    const counted = Object.fromEntries(STAGE_STATUSES.map((status) => [status, 0])) as Record<StageState["status"], number>;
    for (const [index, stage] of [...stages].entries()) {
      counted[stage.status]++;
      const needs = dag.needs[index]!.map((need) => stages.at(need).status);
      if (NEEDS_DONE.has(stage.status) && needs.some((status) => status !== "COMPLETED")) assert.fail(`I2: ${dag.names[index]} is ${stage.status} with needs ${needs.join(" ")}`);
      if ((this.#open.get(dag.names[index]!) ?? null) !== (liveAttempt(stage)?.id ?? null)) assert.fail("I1: the live attempt is another one");
      if (stage.status === "PAUSED" && after.status !== "PAUSED") assert.fail("I7: nobody could resume a paused stage");
      if (stage.status !== "PENDING") continue;
      if (stage.waitingFor !== needs.filter((status) => status !== "COMPLETED").length) assert.fail(`I5: ${dag.names[index]} waits for ${stage.waitingFor}, not ${needs.join(" ")}`);
      if (stage.waitingFor === 0 || needs.some((status) => BAD_END.has(status))) assert.fail(`I7: ${dag.names[index]} waits for ${needs.join(" ")}`);
    }
    assert.deepEqual(after.counts, counted, "I5");
    const over = [...stages].every((stage) => TERMINAL_STAGE.has(stage.status));
    assert.equal(TERMINAL_PIPELINE.has(after.status), over, "I7");
    if (over) assert.equal(after.status, endOf(after), "I7: the end status");
    assert.equal(after.finishedAt !== null, over, "I7");
    if (after.status === "RUNNING") assert.notEqual(after.startedAt, null);
    if (after.status === "PENDING") assert.equal(after.startedAt, null);
  }

  #attempt(event: PipelineEvent): void {
    if (!("attemptId" in event) || event.attemptId === null) return;
    const open = this.#open.get(event.stage);
    if (event.type === "AttemptOffered") {
      assert.equal(open, undefined, "I1: two live attempts");
      assert.equal(event.number, (this.#fences.get(event.stage) ?? 0) + 1, "I1: the fence");
      this.#fences.set(event.stage, event.number);
      this.#open.set(event.stage, event.attemptId);
      return;
    }
    assert.equal(event.attemptId, open, "I1: an attempt that is over");
    assert.equal(event.number, this.#fences.get(event.stage), "I1: the fence");
    if (event.type === "StageCompleted" || event.type === "AttemptFailed" || event.type === "AttemptLost" || event.type === "AttemptCancelled") this.#open.delete(event.stage);
  }

  #try(event: PipelineEvent, { spec, dag }: PipelineState): void {
    if (event.type === "StageReset") this.#tries.delete(event.stage);
    if (event.type === "AttemptOffered") {
      const { status, stages } = this.#replayed!;
      const stage = stages.at(dag.indexOf.get(event.stage)!);
      assert(status !== "PAUSED" && stage.status === "QUEUED" && (stage.notBefore ?? 0) <= event.at, `I6: ${event.stage} is offered too early`);
    }
    if (event.type !== "AttemptLost" && !(event.type === "AttemptFailed" && event.counts)) return;
    const tries = (this.#tries.get(event.stage) ?? 0) + 1;
    this.#tries.set(event.stage, tries);
    assert(tries <= spec.stages[dag.indexOf.get(event.stage)!]!.retry.maxAttempts, `I6: try ${tries} of ${event.stage}`);
  }

  #finals(before: PipelineState, events: readonly PipelineEvent[], after: PipelineState): void {
    const reset = new Set(events.flatMap((event) => (event.type === "StageReset" ? [event.stage] : [])));
    for (const [index, name] of before.dag.names.entries()) {
      const was = before.stages.at(index);
      const stays = was.status === "COMPLETED" || (TERMINAL_STAGE.has(was.status) && !reset.has(name));
      if (stays && after.stages.at(index) !== was) assert.fail(`I3: ${name} was ${was.status}`);
    }
    if (TERMINAL_PIPELINE.has(before.status) && events.length > 0) assert.equal(events[0]!.type, "PipelineRetried", "I3");
    assert.equal(after.seq, before.seq + events.length);
  }

  /** Only what changed is compared: the rest was before. */
  #fold(before: PipelineState | null, after: PipelineState): void {
    const replayed = this.#replayed!;
    const whole = (state: PipelineState) => JSON.stringify({ ...state, dag: null, spec: null, stages: null });
    assert.equal(whole(replayed), whole(after), "I5: replay");
    for (const [index, stage] of [...after.stages].entries()) {
      if (before !== null && before.stages.at(index) === stage) continue;
      assert.equal(JSON.stringify(replayed.stages.at(index)), JSON.stringify(stage), "I5: replay");
      assert.deepEqual(JSON.parse(JSON.stringify(stage)), stage, "I5: JSON");
    }
  }
}

/** The status a pipeline of which every stage is over must have. */
function endOf({ counts, cancelling }: PipelineState): string {
  if (cancelling !== null) return "CANCELLED";
  return counts.FAILED > 0 ? "FAILED" : counts.CANCELLED > 0 ? "CANCELLED" : "COMPLETED";
}
