// Builds the actors: engine, dispatcher's post, caretaker, agents' gateway, wake-ups and the fast link, and stops them in the right order.

import { hostname } from "node:os";
import type { Logger } from "pino";
import type { OpenedDatabase } from "../db/database.js";
import type { RedisAddress } from "../bus/connection.js";
import type { CheckpointId, StageId } from "../domain/ids.js";
import { AgentGateway } from "./agent-gateway.js";
import { Caretaker, type Chore } from "./caretaker/caretaker.js";
import { sweepTrainingSilence } from "./caretaker/training-silence.js";
import { scanFailures } from "./caretaker/diagnosis.js";
import { runRetention, type RetentionDeps } from "./caretaker/retention.js";
import { TOPICS, type ControlPlane, type Wakeups } from "./control-plane.js";
import { Dispatch } from "./dispatch.js";
import { Dispatcher } from "./dispatcher.js";
import { Engine, type CommittedBatch } from "./engine.js";
import { forgetDeliveries } from "../db/webhooks.js";
import { createControlPlane } from "./pipelines.js";
import { RedisHub, type AgentSession } from "./redis-hub.js";
import { startWakeups } from "./wakeups.js";
import { deliverDue } from "./webhooks/deliver.js";

export interface ActorsOptions {
  readonly database: OpenedDatabase;
  readonly databaseUrl: string;
  /** Null: agents use HTTPS only. */
  readonly redis: { readonly address: RedisAddress; readonly agentUrl: string; readonly prefix: string } | null;
  readonly log: Logger;
  readonly leaseTtlMs: number;
  readonly renewEveryMs: number;
  readonly unresponsiveAfterMs: number;
  readonly startGraceMs: number;
  readonly republishAfterMs: number;
  readonly sweepEveryMs: number;
  readonly logLimitBytes: number;
  readonly sampleLimitBytes: number;
  readonly retention: Pick<RetentionDeps, "eventDays" | "metricDays" | "logDays" | "sampleDays" | "checkpointDays">;
  /** Opens what was sealed for a context (src/access/sealed-secrets.ts). Throws TrainyardError. */
  readonly openSecret: (sealed: string, context: string) => string;
  /** Told of each committed batch, for counters. */
  readonly observe?: (batch: CommittedBatch) => void;
}

export interface Actors {
  readonly engine: Engine;
  readonly gateway: AgentGateway;
  readonly controlPlane: ControlPlane;
  readonly wakeups: Wakeups;
  /** Whether this process places stages at present. */
  readonly dispatching: boolean;
  readonly redisConnected: boolean | null;
  stop(): Promise<void>;
}

const RETENTION_EVERY_MS = 15 * 60_000;
const WEBHOOKS_EVERY_MS = 1_000;
/** For which deliveries that are over can be looked at. */
const DELIVERY_DAYS = 30;
const DIAGNOSIS_EVERY_MS = 5_000;
const TRAINING_SILENCE_EVERY_MS = 30_000;

export function startActors(options: ActorsOptions): Actors {
  const { database, databaseUrl, log } = options;
  const self = `${hostname()}:${process.pid}:${Math.random().toString(36).slice(2, 8)}`;
  const startedAt = Date.now();
  const wakeups = startWakeups({ databaseUrl, pool: database.pool, log, self });

  const engine = new Engine({
    pool: database.pool, log, logLimitBytes: options.logLimitBytes, sampleLimitBytes: options.sampleLimitBytes,
    onCommit: (batch) => {
      hub?.publish(batch.ledger.orders);
      dispatch.committed(batch);
      wakeups.wake([
        ...(batch.position === null ? [] : [TOPICS.events]),
        ...batch.telemetryStages.map(TOPICS.telemetry),
        ...[...batch.unhealthy].map(TOPICS.anomalies),
        ...[...batch.ledger.orders.keys()].map(TOPICS.orders),
      ]);
      options.observe?.(batch);
    },
  });
  const hub = options.redis === null ? null : new RedisHub({
    ...options.redis, log,
    sessions: async (agentId) => (await database.pool.query<AgentSession>({
      name: "redis-users", values: [agentId],
      text: `select a.id as "agentId", encode(sha256(convert_to(t.hash || ':' || a.session_id, 'UTF8')), 'hex') as password from agents a join tokens t on t.id = a.token_id
        where a.session_id is not null and t.revoked_at is null and ($1::text is null or a.id = $1)`,
    })).rows,
    report: (agentId, epoch, reports) => engine.report(agentId, epoch, reports),
    onReady: () => void dispatch.republish().catch((error: unknown) => log.warn({ err: error }, "publishing outstanding orders failed; the dispatcher repeats it")),
  });
  const dispatch: Dispatch = new Dispatch({
    pool: database.pool, databaseUrl, engine, wakeups, hub, log, self,
    unresponsiveAfterMs: options.unresponsiveAfterMs, leaseTtlMs: options.leaseTtlMs, republishAfterMs: options.republishAfterMs,
  });
  const agentsChanged = (): void => {
    dispatch.agentsChanged();
    wakeups.wake([TOPICS.events]);
  };
  const gateway = new AgentGateway({
    pool: database.pool, engine, wakeups, log, leaseTtlMs: options.leaseTtlMs, renewEveryMs: options.renewEveryMs, unresponsiveAfterMs: options.unresponsiveAfterMs, agentsChanged,
    fastLink: (agentId) => hub?.fastLink(agentId) ?? Promise.resolve(null),
  });
  const controlPlane = createControlPlane({
    pool: database.pool, db: database.db, engine, wakeups, agentsChanged, explain,
    publish: (orders) => hub?.publish(orders),
  });
  const chores: Chore[] = [
    { name: "webhooks", everyMs: WEBHOOKS_EVERY_MS, run: async () => void (await deliverDue({ db: database.db, log, open: options.openSecret })) },
    { name: "old webhook deliveries", everyMs: RETENTION_EVERY_MS, run: async () => void (await forgetDeliveries(database.db, DELIVERY_DAYS)) },
    {
      name: "retention", everyMs: RETENTION_EVERY_MS,
      run: async () => void (await runRetention({ db: database.db, log, deleteCheckpoint: (id: CheckpointId) => controlPlane.deleteCheckpoint(id), ...options.retention }, new Date())),
    },
    { name: "diagnosis of failed attempts", everyMs: DIAGNOSIS_EVERY_MS, run: async () => void (await scanFailures({ db: database.db, log }, new Date())) },
    {
      // What agents have kept while this control plane was away comes first.
      name: "silent trainings", everyMs: TRAINING_SILENCE_EVERY_MS,
      run: async () => void (Date.now() - startedAt < options.startGraceMs ? 0 : await sweepTrainingSilence({ pool: database.pool, wakeups }, Date.now())),
    },
  ];
  const caretaker = new Caretaker({ pool: database.pool, databaseUrl, engine, log, self, leaseTtlMs: options.leaseTtlMs, startGraceMs: options.startGraceMs, sweepEveryMs: options.sweepEveryMs, chores });

  let stopping: Promise<void> | null = null;
  return {
    engine, gateway, controlPlane, wakeups,
    get dispatching() { return dispatch.dispatcher !== null; },
    get redisConnected() { return hub === null ? null : hub.connected; },
    stop: () => stopping ??= (async () => {
      await caretaker.stop();
      await dispatch.stop();
      await hub?.close();
      await engine.close();
      await wakeups.stop();
    })(),
  };

  /** The scheduler here knows; where another process schedules, a passing look at the same facts tells the same. */
  async function explain(stageId: StageId): Promise<readonly string[] | null> {
    if (dispatch.dispatcher !== null) return dispatch.dispatcher.explain(stageId);
    return Dispatcher.explainFrom(database.pool, stageId, { log, unresponsiveAfterMs: options.unresponsiveAfterMs, leaseTtlMs: options.leaseTtlMs });
  }
}
