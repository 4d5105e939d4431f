// A world for one test: an own database, real actors over it, and scripted agents that speak the protocol through the gateway. Torn down by `stop`.

import { pino } from "pino";
import { startActors, type Actors, type ActorsOptions } from "../../src/actors/actors.js";
import { TOPICS, type Committed } from "../../src/actors/control-plane.js";
import { sealedSecrets } from "../../src/access/sealed-secrets.js";
import { createToken } from "../../src/access/tokens.js";
import { openDatabase, type OpenedDatabase } from "../../src/db/database.js";
import { loadPipeline } from "../../src/db/pipeline-store.js";
import { InvalidInputError } from "../../src/domain/errors.js";
import type { PipelineId, TokenId } from "../../src/domain/ids.js";
import type { PipelineStatus, PipelineState, StageState } from "../../src/domain/pipeline/state.js";
import { validateSpec } from "../../src/domain/pipeline/validate.js";
import { orderKey, type Assignment, type GpuReport, type HostDescription, type Order, type Pool, type Report, type ReportsAccepted, type SessionOpened } from "../../src/protocol/messages.js";
import { createTestDatabase } from "./postgres.js";

/** Sealed with a key of the tests. */
export const testSecrets = sealedSecrets({ value: "00".repeat(32), file: "/nonexistent" });

export const silent = pino({ level: process.env["TEST_LOG"] ?? "silent" });

export type Answer = Extract<Report, { type: "ended" }>["outcome"] | "hold";

export interface ScriptedAgentOptions {
  readonly name?: string;
  readonly pools?: readonly Pool[];
  readonly gpus?: readonly GpuReport[];
  readonly labels?: Record<string, string | number | boolean>;
  readonly capabilities?: readonly string[];
  /** What the program of an assignment does; "hold": runs until `end` is called or a stop comes. */
  readonly run?: (assignment: Assignment) => Answer | Promise<Answer>;
  /** Whether a stop order ends a held program; default true. */
  readonly obeys?: boolean;
}

type Body<T> = T extends unknown ? Omit<T, "n" | "at"> : never;

/** An agent without processes: it takes orders and reports what its script says. */
export class ScriptedAgent {
  readonly name: string;
  session!: SessionOpened;
  readonly started: Assignment[] = [];
  readonly stops: Extract<Order, { type: "stop" }>[] = [];
  readonly deletions: Extract<Order, { type: "delete-checkpoint" }>[] = [];
  readonly running = new Map<string, Assignment>();
  readonly #world: World;
  readonly #options: ScriptedAgentOptions;
  readonly #epoch = Math.random().toString(36).slice(2).padEnd(10, "0");
  readonly #received = new Set<string>();
  readonly #gone = new AbortController();
  #n = 0;
  #sending: Promise<unknown> = Promise.resolve();
  #loop: Promise<void> = Promise.resolve();
  #renewing: NodeJS.Timeout | null = null;

  constructor(world: World, options: ScriptedAgentOptions) {
    this.#world = world;
    this.#options = options;
    this.name = options.name ?? "a1";
  }

  get #principal() {
    return { tokenId: this.#world.agentToken, agentName: null };
  }

  held() {
    return [...this.running.values()].map(({ attemptId, fence }) => ({ attemptId, fence }));
  }

  async connect(): Promise<this> {
    this.session = await this.#world.actors.gateway.open(this.#principal, {
      protocol: 1, name: this.name, epoch: this.#epoch, instance: "instance-1", pools: [...(this.#options.pools ?? [{ queues: ["training"], concurrency: 1 }, { queues: ["default", "evaluation", "preprocessing", "maintenance"], concurrency: 4 }])],
      capabilities: [...(this.#options.capabilities ?? ["command", "evaluate", "cleanup"])], labels: this.#options.labels ?? {}, gpus: [...(this.#options.gpus ?? [])], versions: { agent: "test" }, runMode: "LOCAL", address: null, held: this.held(),
    });
    this.#renewing = setInterval(() => void this.renew().catch(() => undefined), this.session.renewEveryMs);
    this.#loop = this.#poll();
    return this;
  }

  /** `draining`: the agent's own word that it takes nothing new. `host`: what it has learnt of its host. */
  renew(draining = false, host?: HostDescription) {
    return this.#world.actors.gateway.renew(this.#principal, { sessionId: this.session.sessionId, held: this.held(), gpus: [...(this.#options.gpus ?? [])], draining, ...(host === undefined ? {} : { host }) });
  }

  /** Sends a report; numbers it. One after the other, as the real agent does: a later one that overtook would be a gap. */
  async report(...bodies: Body<Report>[]): Promise<ReportsAccepted> {
    const sent = this.#sending.then(() => this.send(bodies.map((body) => ({ ...body, n: ++this.#n, at: Date.now() }) as Report)));
    this.#sending = sent.catch(() => undefined);
    return sent;
  }

  /** Sends numbered reports as they are, e.g. a second time. */
  send(reports: readonly Report[]): Promise<ReportsAccepted> {
    return this.#world.actors.gateway.report(this.#principal, { sessionId: this.session.sessionId, epoch: this.#epoch, reports });
  }

  async end(assignment: Pick<Assignment, "attemptId" | "fence">, outcome: Exclude<Answer, "hold">): Promise<ReportsAccepted> {
    this.running.delete(assignment.attemptId);
    return this.report({ type: "ended", attemptId: assignment.attemptId, fence: assignment.fence, outcome });
  }

  /** Stops polling and renewing, as if the host had gone. */
  async vanish(): Promise<void> {
    this.#gone.abort();
    if (this.#renewing !== null) clearInterval(this.#renewing);
    await this.#loop;
  }

  async #poll(): Promise<void> {
    while (!this.#gone.signal.aborted) {
      const { orders } = await this.#world.actors.gateway.poll(this.#principal, { sessionId: this.session.sessionId, waitMs: 5_000, received: [...this.#received] }, this.#gone.signal).catch(() => ({ orders: [] as Order[] }));
      if (this.#gone.signal.aborted) return;
      for (const order of orders) {
        this.#received.add(orderKey(order));
        if (order.type === "assign") void this.#take(order.assignment);
        else if (order.type === "stop") void this.#stop(order);
        else if (order.type === "delete-checkpoint") this.deletions.push(order);
      }
      if (orders.length === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #take(assignment: Assignment): Promise<void> {
    this.started.push(assignment);
    this.running.set(assignment.attemptId, assignment);
    const { attemptId, fence } = assignment;
    const answer = (await this.#options.run?.(assignment)) ?? { kind: "COMPLETED" as const, outputs: {} };
    const started = { type: "started" as const, attemptId, fence, command: assignment.params["run"] as string[] ?? null };
    if (answer === "hold") return void (await this.report(started));
    this.running.delete(attemptId);
    await this.report(started, { type: "ended", attemptId, fence, outcome: answer });
  }

  async #stop(order: Extract<Order, { type: "stop" }>): Promise<void> {
    this.stops.push(order);
    const assignment = this.running.get(order.attemptId);
    if (assignment !== undefined && this.#options.obeys !== false) await this.end(assignment, { kind: "STOPPED" });
  }
}

export interface World {
  readonly databaseUrl: string;
  readonly database: OpenedDatabase;
  readonly actors: Actors;
  readonly agentToken: TokenId;
  agent(options?: ScriptedAgentOptions): Promise<ScriptedAgent>;
  /** Validates and submits; throws InvalidInputError with the problems. */
  submit(spec: unknown): Promise<PipelineId>;
  state(id: PipelineId): Promise<PipelineState>;
  stage(id: PipelineId, name: string): Promise<StageState>;
  /** Resolves when the condition holds on the stored state; rejects after `ms` naming what it saw. */
  until(id: PipelineId, holds: (state: PipelineState) => boolean, ms?: number): Promise<PipelineState>;
  ended(id: PipelineId, status: PipelineStatus, ms?: number): Promise<PipelineState>;
  eventTypes(id: PipelineId): Promise<string[]>;
  /** Another control plane on the same database. */
  second(options?: Partial<ActorsOptions>): Actors;
  stop(): Promise<void>;
}

export async function startWorld(options: Partial<ActorsOptions> = {}): Promise<World> {
  const testDatabase = await createTestDatabase();
  const database = openDatabase({ url: testDatabase.url, size: 12, log: silent });
  const base: ActorsOptions = {
    database, databaseUrl: testDatabase.url, redis: null, log: silent, leaseTtlMs: 600_000, renewEveryMs: 1_000, unresponsiveAfterMs: 45_000, startGraceMs: 0, republishAfterMs: 1_000, sweepEveryMs: 100,
    logLimitBytes: 1_073_741_824, sampleLimitBytes: 1_073_741_824, retention: { eventDays: 0, metricDays: 0, logDays: 0, sampleDays: 0, checkpointDays: 0 }, openSecret: testSecrets.open, ...options,
  };
  const { token } = await createToken(database.db, { name: "agents", role: "agent", agentName: null, expiresInDays: null, by: "test" });
  const all: Actors[] = [];
  const agents: ScriptedAgent[] = [];
  const start = (more: Partial<ActorsOptions>): Actors => {
    const actors = startActors({ ...base, ...more });
    all.push(actors);
    return actors;
  };
  const actors = start({});
  const world: World = {
    databaseUrl: testDatabase.url, database, actors, agentToken: token.id as TokenId,
    async agent(agentOptions = {}) {
      const agent = await new ScriptedAgent(world, agentOptions).connect();
      agents.push(agent);
      return agent;
    },
    async submit(input) {
      const { spec, problems } = validateSpec(input);
      if (spec === null) throw new InvalidInputError(problems.map((problem) => `${problem.path}: ${problem.message}`).join("\n"), problems);
      return (await actors.controlPlane.submit({ spec, by: "test", request: null }) satisfies Committed).pipelineId;
    },
    async state(id) {
      return (await loadPipeline(database.pool, id))!;
    },
    async stage(id, name) {
      const state = await world.state(id);
      return state.stages.at(state.dag.indexOf.get(name)!);
    },
    async until(id, holds, ms = 10_000) {
      const deadline = Date.now() + ms;
      for (;;) {
        let wake: () => void = () => undefined;
        const news = new Promise<void>((resolve) => { wake = resolve; });
        const stop = actors.wakeups.listen(TOPICS.events, wake);
        try {
          const state = await world.state(id);
          if (holds(state)) return state;
          if (Date.now() > deadline) throw new Error(`${id} did not get there in ${ms} ms: ${state.status}, ${state.dag.names.map((name, index) => `${name} ${state.stages.at(index).status}`).join(", ")}`);
          await Promise.race([news, new Promise((resolve) => setTimeout(resolve, 200))]);
        } finally {
          stop();
        }
      }
    },
    ended: (id, status, ms) => world.until(id, (state) => state.status === status, ms),
    async eventTypes(id) {
      return (await database.db.selectFrom("events").select("type").where("pipeline_id", "=", id).orderBy("seq").execute()).map((row) => row.type);
    },
    second: start,
    async stop() {
      await Promise.all(agents.map((agent) => agent.vanish()));
      await Promise.all(all.map((one) => one.stop()));
      await database.close();
      await testDatabase.drop();
    },
  };
  return world;
}
