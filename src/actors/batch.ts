// One batch of the engine: the transaction that decides and writes what arrived together, and how each item is answered.
//   B1. Locks are taken agents before pipelines, each in the order of ids: two processes never wait for each other in a circle.
//   B2. A refused command, or report, is answered with its error and leaves the rest of the batch as it is.
//   B3. Reports of an agent count only in the order of their numbers; what is at or below its watermark is absorbed, a gap ends the list.

import type pg from "pg";
import { append, loadPipelines, lockPipelines, type AuditRow } from "../db/pipeline-store.js";
import { enterNotices } from "../db/webhooks.js";
import { evaluationProblems, recordEvaluation } from "../db/telemetry/evaluations.js";
import { ingestTelemetry, type IngestOptions, type TelemetryItem } from "../db/telemetry/ingest.js";
import { InvalidInputError, NotFoundError, StaleLeaseError, TrainyardError } from "../domain/errors.js";
import type { AgentId, AttemptId, PipelineId, StageId } from "../domain/ids.js";
import type { PipelineCommand } from "../domain/pipeline/commands.js";
import { decideAndEvolve } from "../domain/pipeline/decide.js";
import { findStage, liveAttempt, type Failure, type MemberOutcome, type PipelineState } from "../domain/pipeline/state.js";
import { noticeOf, type Notice } from "../domain/webhooks/notice.js";
import { simulatedIn } from "../domain/pipeline/simulated.js";
import type { RefusedLease, Report, ReportsAccepted } from "../protocol/messages.js";
import type { Committed } from "./control-plane.js";
import { watchHealth, type WatchedItem } from "./health-watch.js";
import { Ledger, type AssignmentBuilder } from "./ledger.js";
import type { StateCache } from "./state-cache.js";

export type Claim = (client: pg.PoolClient) => Promise<PipelineId | null>;

export interface CommandItem {
  readonly kind: "command";
  readonly pipelineId: PipelineId;
  readonly command: PipelineCommand;
  /** Keeps the caller's request id, in the transaction; answers the pipeline that an earlier call under it made, or null when this is the first. */
  readonly claim?: Claim;
  /** Who ordered it, for the audit trail; `subject` is filled in. Written only when the command is accepted. */
  readonly audit?: AuditRow;
  readonly resolve: (committed: Committed) => void;
  readonly reject: (error: unknown) => void;
}
export interface ReportItem {
  readonly kind: "reports";
  readonly agentId: AgentId;
  readonly epoch: string;
  readonly reports: readonly Report[];
  readonly resolve: (accepted: ReportsAccepted) => void;
  readonly reject: (error: unknown) => void;
}
/** Lets the scheduler look: agents or waiting stages may have changed, here or in another process. */
export interface LookItem {
  readonly kind: "look";
  readonly pipelineIds: readonly PipelineId[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}
export type EngineItem = CommandItem | ReportItem | LookItem;

/** What a scheduler may use of an open transaction. */
export interface BatchTransaction {
  readonly client: pg.PoolClient;
  readonly ledger: Ledger;
  readonly at: number;
  /** States under lock, by id; `lockMore` adds those that are free. */
  readonly states: ReadonlyMap<PipelineId, PipelineState>;
  /** Pipelines whose state was not at hand: new here, or changed by another process. */
  readonly reread: ReadonlySet<PipelineId>;
  lockMore(ids: readonly PipelineId[]): Promise<void>;
  /** Decides a command on a locked pipeline and enters its events. Throws TrainyardError without effect. */
  decide(pipelineId: PipelineId, command: PipelineCommand, build?: AssignmentBuilder): void;
}

export interface KnownAttempt { readonly pipelineId: PipelineId; readonly stage: string; readonly stageId: StageId }
const KNOWN_ATTEMPTS = 50_000;

/** One transaction: what it locks, decides and writes, and how its items are answered. */
export class Batch implements BatchTransaction {
  readonly ledger = new Ledger();
  readonly at = Date.now();
  reportedAt: number | null = null;
  readonly touched = new Set<PipelineId>();
  readonly watermarks = new Map<AgentId, { epoch: string; watermark: number }>();
  readonly states = new Map<PipelineId, PipelineState>();
  /** Pipelines in whose trainings something was found wrong. */
  unhealthy: ReadonlySet<PipelineId> = new Set();
  readonly reread = new Set<PipelineId>();
  readonly #items: readonly EngineItem[];
  readonly #cache: StateCache;
  readonly #attempts: Map<AttemptId, KnownAttempt>;
  readonly #ingest: IngestOptions;
  readonly #telemetry: TelemetryItem[] = [];
  readonly #watched: WatchedItem[] = [];
  readonly #answers: ((position: number | null) => void)[] = [];
  readonly #evaluations: { state: PipelineState; stage: string; attemptId: AttemptId }[] = [];
  readonly #simulated = new Map<PipelineState, ReadonlySet<string>>();
  #client: pg.PoolClient | null = null;

  constructor(items: readonly EngineItem[], cache: StateCache, attempts: Map<AttemptId, KnownAttempt>, ingest: IngestOptions) {
    this.#items = items;
    this.#cache = cache;
    this.#attempts = attempts;
    this.#ingest = ingest;
  }

  get client(): pg.PoolClient {
    return this.#client!;
  }

  /** Takes the locks, agents before pipelines and each in the order of ids, so that two processes never wait for each other in a circle. */
  async open(client: pg.PoolClient): Promise<void> {
    this.#client = client;
    const agentIds = new Set<AgentId>();
    const pipelineIds = new Set<PipelineId>();
    const unknown = new Set<AttemptId>();
    for (const item of this.#items) {
      if (item.kind === "command") pipelineIds.add(item.pipelineId);
      else if (item.kind === "look") item.pipelineIds.forEach((id) => pipelineIds.add(id));
      else {
        agentIds.add(item.agentId);
        for (const report of item.reports) if (!this.#attempts.has(report.attemptId)) unknown.add(report.attemptId);
      }
    }
    if (unknown.size > 0) await this.#findAttempts([...unknown]);
    for (const item of this.#items) {
      if (item.kind === "reports") for (const report of item.reports) {
        const known = this.#attempts.get(report.attemptId);
        if (known !== undefined) pipelineIds.add(known.pipelineId);
      }
    }
    if (agentIds.size > 0) {
      const { rows } = await client.query<{ id: AgentId; epoch: string; watermark: number }>({ name: "lock-agents", text: "select id, epoch, watermark from agents where id = any($1::text[]) order by id for update", values: [[...agentIds]] });
      for (const row of rows) this.watermarks.set(row.id, { epoch: row.epoch, watermark: row.watermark });
    }
    await this.#lock([...pipelineIds], false);
  }

  lockMore(ids: readonly PipelineId[]): Promise<void> {
    return this.#lock(ids.filter((id) => !this.states.has(id)), true);
  }

  async #lock(ids: readonly PipelineId[], skipLocked: boolean): Promise<void> {
    const seqs = await lockPipelines(this.client, ids, skipLocked);
    const missing: PipelineId[] = [];
    for (const [id, seq] of seqs) {
      const cached = this.#cache.get(id);
      if (cached !== null && cached.seq === seq) this.states.set(id, cached);
      else missing.push(id);
    }
    for (const [id, state] of await loadPipelines(this.client, missing)) {
      this.states.set(id, state);
      this.reread.add(id);
    }
    for (const id of seqs.keys()) this.touched.add(id);
  }

  async #findAttempts(ids: readonly AttemptId[]): Promise<void> {
    const { rows } = await this.client.query<{ id: AttemptId; pipeline_id: PipelineId; stage_id: StageId; name: string }>(
      "select a.id, a.pipeline_id, a.stage_id, s.name from attempts a join stages s on s.id = a.stage_id where a.id = any($1::text[])", [ids]);
    for (const row of rows) this.#remember(row.id, { pipelineId: row.pipeline_id, stage: row.name, stageId: row.stage_id });
  }

  #remember(id: AttemptId, attempt: KnownAttempt): void {
    if (this.#attempts.size >= KNOWN_ATTEMPTS) this.#attempts.delete(this.#attempts.keys().next().value!);
    this.#attempts.set(id, attempt);
  }

  async decideAll(): Promise<void> {
    for (const item of this.#items) {
      if (item.kind === "command") await this.#decideCommand(item);
      else if (item.kind === "reports") this.#decideReports(item);
      else this.#answers.push(() => item.resolve());
    }
    if (this.#watched.length > 0) this.unhealthy = await watchHealth(this, this.#watched);
  }

  async #decideCommand(item: CommandItem): Promise<void> {
    let pipelineId = item.pipelineId;
    let seq: number;
    try {
      const earlier = await item.claim?.(this.client) ?? null;
      if (earlier === null && item.command.type !== "SubmitPipeline" && !this.states.has(pipelineId)) throw new NotFoundError("pipeline", pipelineId);
      if (earlier === null) this.decide(pipelineId, item.command);
      else pipelineId = earlier;
      seq = this.states.get(pipelineId)?.seq ?? await this.#seqOf(pipelineId);
      if (item.audit !== undefined) this.ledger.audit({ ...item.audit, subject: pipelineId });
    } catch (error) {
      if (!(error instanceof TrainyardError)) throw error;
      this.#answers.push(() => item.reject(error));
      return;
    }
    const made = item.command.type === "SubmitPipeline" && pipelineId === item.pipelineId ? this.states.get(pipelineId) : undefined;
    this.#answers.push((position) => item.resolve({ pipelineId, seq, position: position ?? 0, ...(made === undefined ? {} : { made }) }));
  }

  async #seqOf(id: PipelineId): Promise<number> {
    const { rows } = await this.client.query<{ seq: number }>("select seq from pipelines where id = $1", [id]);
    return rows[0]?.seq ?? 0;
  }

  decide(pipelineId: PipelineId, command: PipelineCommand, build?: AssignmentBuilder): void {
    const before = this.states.get(pipelineId) ?? null;
    if (before === null && command.type !== "SubmitPipeline") throw new NotFoundError("pipeline", pipelineId);
    const { events, state } = decideAndEvolve(before, command);
    this.touched.add(pipelineId);
    if (events.length === 0) return;
    this.states.set(pipelineId, state);
    this.ledger.enter(before, events, state, { ...("by" in command ? { by: command.by } : {}), ...(build === undefined ? {} : { build }) });
  }

  #decideReports(item: ReportItem): void {
    const refused = new Map<AttemptId, RefusedLease>();
    const inbox = this.watermarks.get(item.agentId);
    if (inbox === undefined || inbox.epoch !== item.epoch) {
      this.#answers.push(() => item.reject(new InvalidInputError("These reports belong to a journal that this control plane does not expect. Open the session again.", [], "UNKNOWN_EPOCH")));
      return;
    }
    for (const report of item.reports) {
      if (report.n <= inbox.watermark) continue;
      if (report.n > inbox.watermark + 1) break; // a gap: the agent resends from the watermark
      try {
        this.#apply(item.agentId, report);
      } catch (error) {
        if (!(error instanceof TrainyardError)) throw error;
        refused.set(report.attemptId, { attemptId: report.attemptId, fence: report.fence, message: error.message });
      }
      inbox.watermark = report.n;
      this.reportedAt = Math.min(this.reportedAt ?? report.at, report.at);
      this.ledger.advanceWatermark(item.agentId, report.n);
    }
    this.#answers.push(() => item.resolve({ watermark: inbox.watermark, refused: [...refused.values()] }));
  }

  #apply(agentId: AgentId, report: Report): void {
    const known = this.#attempts.get(report.attemptId);
    const state = known === undefined ? undefined : this.states.get(known.pipelineId);
    const found = state === undefined || known === undefined ? null : findStage(state, known.stage);
    if (known === undefined || state === undefined || found === null) throw new StaleLeaseError({ attemptId: report.attemptId, presented: report.fence, held: null });
    const member = { at: this.at, stage: known.stage, attemptId: report.attemptId, fence: report.fence, agentId };
    if (report.type === "started") return this.decide(known.pipelineId, { ...member, type: "StartMember", command: report.command });
    if (report.type === "ended") {
      const outcome = judge(state, known.stage, report.outcome);
      this.decide(known.pipelineId, { ...member, type: "EndMember", outcome });
      const after = this.states.get(known.pipelineId)!;
      const stage = findStage(after, known.stage)!;
      if (stage.spec.kind === "evaluate" && stage.stage.status === "COMPLETED") this.#evaluations.push({ state: after, stage: known.stage, attemptId: report.attemptId });
      return;
    }
    // Telemetry of the newest attempt counts, also when its end was decided meanwhile; an older fence is refused. Deletions answer orders for any attempt.
    if (report.type !== "checkpoint-deleted" && found.stage.attempts !== report.fence) throw new StaleLeaseError({ attemptId: report.attemptId, presented: report.fence, held: found.stage.attempts });
    const item: TelemetryItem = { stageId: known.stageId, pipelineId: known.pipelineId, attemptId: report.attemptId, attempt: report.fence, agentId, report };
    this.#telemetry.push(item);
    if (found.spec.kind === "train") this.#watched.push({ stage: known.stage, item });
  }

  async write(): Promise<{ position: number | null; stageIds: readonly StageId[]; points: number; logBytes: number }> {
    const telemetry = this.#telemetry.length === 0 ? { stageIds: [], points: 0 } : await ingestTelemetry(this.client, this.#telemetry, new Date(this.at), this.#ingest);
    const watched = this.#telemetry.filter((item) => item.report.type === "log" || item.report.type === "metrics" || item.report.type === "progress").map((item) => item.attemptId);
    if (watched.length > 0) await this.client.query({ name: "sign-of-life", text: "update assignments set active_at = now() where attempt_id = any($1::text[]) and silence_limit_seconds is not null", values: [[...new Set(watched)]] });
    for (const { state, stage, attemptId } of this.#evaluations) {
      const found = findStage(state, stage)!;
      if (found.stage.status === "COMPLETED") await recordEvaluation(this.client, { stageId: found.stage.id, pipelineId: state.id, attemptId, params: found.spec.params, outputs: found.stage.outputs, simulated: this.#simulatedIn(state).has(stage), resolve: state, now: new Date(this.at) });
    }
    await enterNotices(this.client, this.#notices(), new Date(this.at));
    const batch = this.ledger.toAppend();
    const position = batch.events.length + batch.watermarks.length + batch.audits.length === 0 ? null : await append(this.client, batch);
    return { position, ...telemetry, logBytes: this.#telemetry.reduce((sum, { report }) => sum + (report.type === "log" ? Buffer.byteLength(report.text) : 0), 0) };
  }

  /** What webhooks are to tell of this batch. */
  #notices(): Notice[] {
    return this.ledger.events.flatMap(({ pipelineId, seq, event }) => {
      const state = this.ledger.states.get(pipelineId)!;
      const notice = noticeOf(event, { pipelineId, seq, stageId: "stage" in event ? findStage(state, event.stage)!.stage.id : null });
      if (notice === null) return [];
      const simulated = this.#simulatedIn(state);
      return [{ ...notice, simulated: "stage" in event && event.type !== "StageWaitingApproval" ? simulated.has(event.stage) : simulated.size > 0 }];
    });
  }

  /** All stages of the pipeline are looked at: once, however many of them fail together. */
  #simulatedIn(state: PipelineState): ReadonlySet<string> {
    const known = this.#simulated.get(state) ?? simulatedIn(state);
    this.#simulated.set(state, known);
    return known;
  }

  settle(position: number | null): void {
    for (const [id, state] of this.states) this.#cache.put(id, state);
    for (const { pipelineId, event } of this.ledger.events) {
      if (event.type !== "AttemptOffered") continue;
      const state = this.states.get(pipelineId)!;
      this.#remember(event.attemptId, { pipelineId, stage: event.stage, stageId: findStage(state, event.stage)!.stage.id });
    }
    for (const answer of this.#answers) answer(position);
  }
}

/** An evaluate stage completes only with scores; anything else is its failure, said clearly. */
function judge(state: PipelineState, name: string, outcome: MemberOutcome): MemberOutcome {
  const found = findStage(state, name)!;
  if (outcome.kind !== "COMPLETED" || found.spec.kind !== "evaluate") return outcome;
  const head = liveAttempt(found.stage)?.members.length === 1;
  const problem = head ? evaluationProblems(outcome.outputs)[0] : undefined;
  if (problem === undefined) return outcome;
  const failure: Failure = { code: "INVALID_OUTPUTS", message: problem, hint: 'Write {"scores": {"<name>": <number>}, "sampleCount": <number>} to TRAINYARD_OUTPUTS_FILE.', exitCode: 0, logTail: [] };
  return { kind: "FAILED", failure };
}
