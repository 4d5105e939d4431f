// One control-plane process: the actors, GraphQL, the agents' endpoints and the figures for Prometheus over one database, behind one HTTP server.

import { join, resolve } from "node:path";
import type { Logger } from "pino";
import { sealedSecrets, secretKeySource } from "../access/sealed-secrets.js";
import { createAuthenticator } from "../access/authenticator.js";
import { createHostDeployments } from "../access/host-deployments.js";
import { createSshHosts } from "../access/ssh-hosts.js";
import { startActors } from "../actors/actors.js";
import type { CommittedBatch } from "../actors/engine.js";
import type { ServerConfig } from "../config.js";
import { openDatabase, type Db } from "../db/database.js";
import { queueOf } from "../domain/pipeline/spec.js";
import { packageRoot } from "../package-root.js";
import { createRegistry } from "../registry/registry.js";
import { createUploads, type Uploads } from "../registry/uploads.js";
import { createAgentDatasets } from "./agent-datasets.js";
import { agentEndpoints } from "./agent-endpoints.js";
import { checkpointEndpoint } from "./checkpoint-endpoint.js";
import { createCheckpointFiles } from "./checkpoints/checkpoint-files.js";
import { createHostLinks } from "./checkpoints/host-links.js";
import { createGraphql } from "./graphql.js";
import { createHttpServer } from "./http.js";
import { createMetrics, type Metrics } from "./prometheus.js";
import { createReadiness } from "./readiness.js";
import { uploadEndpoint } from "./upload-endpoint.js";

export interface ControlPlaneServer {
  /** The GraphQL endpoint. */
  readonly url: string;
  readonly wsUrl: string;
  readonly port: number;
  /** Ends streams, finishes what was taken, closes the database. May be called twice. */
  close(): Promise<void>;
}

const QUEUES_EVERY_MS = 5_000;
const SWEEP_UPLOADS_EVERY_MS = 3_600_000;

/** Starts on a migrated database; `config.DATABASE_URL` must be set. */
export async function startControlPlaneServer({ config, log }: { config: ServerConfig; log: Logger }): Promise<ControlPlaneServer> {
  const databaseUrl = config.DATABASE_URL;
  if (databaseUrl === undefined) throw new Error("startControlPlaneServer needs DATABASE_URL");
  const database = openDatabase({ url: databaseUrl, size: config.TRAINYARD_POOL_SIZE, log });
  const metrics = createMetrics();
  const secrets = sealedSecrets(secretKeySource(config));
  const actors = startActors({
    database, databaseUrl, log, openSecret: secrets.open,
    redis: config.REDIS_URL === undefined ? null : { address: { url: config.REDIS_URL, username: null, password: null }, agentUrl: withoutCredentials(config.TRAINYARD_AGENT_REDIS_URL ?? config.REDIS_URL), prefix: config.TRAINYARD_REDIS_PREFIX },
    leaseTtlMs: config.TRAINYARD_LEASE_TTL_MS, renewEveryMs: config.TRAINYARD_RENEW_EVERY_MS, unresponsiveAfterMs: config.TRAINYARD_UNRESPONSIVE_AFTER_MS, startGraceMs: config.TRAINYARD_START_GRACE_MS,
    republishAfterMs: config.TRAINYARD_REPUBLISH_AFTER_MS, sweepEveryMs: config.TRAINYARD_SWEEP_EVERY_MS, logLimitBytes: config.TRAINYARD_LOG_LIMIT_BYTES, sampleLimitBytes: config.TRAINYARD_SAMPLE_LIMIT_BYTES,
    retention: { eventDays: config.TRAINYARD_EVENT_RETENTION_DAYS, metricDays: config.TRAINYARD_METRIC_RETENTION_DAYS, logDays: config.TRAINYARD_LOG_RETENTION_DAYS, sampleDays: config.TRAINYARD_SAMPLE_RETENTION_DAYS, checkpointDays: config.TRAINYARD_CHECKPOINT_RETENTION_DAYS },
    observe: (batch) => record(metrics, batch),
  });
  const authenticator = createAuthenticator({ db: database.db, log });
  const dataDir = resolve(config.TRAINYARD_DATA_DIR);
  const uploadsDir = join(dataDir, "uploads");
  const uploads = createUploads({ db: database.db, folder: uploadsDir, limitBytes: config.TRAINYARD_UPLOAD_LIMIT_BYTES });
  // What the embedded agent's stages make lies here too: its rows can be shown, but it is registered by the stage alone.
  const registry = createRegistry({ db: database.db, uploads, dataDirs: [...new Set([...config.TRAINYARD_DATA_DIRS, uploadsDir])], shownDirs: [join(dataDir, "agent", "attempts")] });
  const sshHosts = createSshHosts({ db: database.db, secrets, agentSocket: config.SSH_AUTH_SOCK });
  let ownUrl = "";
  const hostDeployments = createHostDeployments({
    db: database.db, sshHosts, log, packageRoot: packageRoot(), archives: join(dataDir, "host-archives"), publicUrl: () => config.TRAINYARD_PUBLIC_URL ?? ownUrl,
    drainAgent: (agentId, draining) => actors.controlPlane.drainAgent(agentId, draining), unresponsiveAfterMs: config.TRAINYARD_UNRESPONSIVE_AFTER_MS,
  });
  const hostLinks = createHostLinks(sshHosts);
  const checkpointFiles = createCheckpointFiles({ db: database.db, links: hostLinks, ownDirs: [join(dataDir, "agent", "attempts")] });
  const graphql = createGraphql({ db: database.db, controlPlane: actors.controlPlane, wakeups: actors.wakeups, authenticator, registry, sshHosts, hostDeployments, secrets, log, config });
  const http = createHttpServer({
    graphql, metrics, config, log, readiness: createReadiness({ db: database.db }), uploads: uploadEndpoint({ db: database.db, uploads, authenticator, log }),
    checkpoints: checkpointEndpoint({ db: database.db, files: checkpointFiles, authenticator, log }),
    agents: agentEndpoints({ gateway: actors.gateway, datasets: createAgentDatasets({ db: database.db, registry }), authenticator, log }),
  });
  const depths = setInterval(() => void readQueues(database.db).then((queues) => metrics.queues(queues)).catch((error: unknown) => log.debug({ err: error }, "queue depths could not be read")), QUEUES_EVERY_MS);

  const sweeping = setInterval(() => void sweep(uploads, log), SWEEP_UPLOADS_EVERY_MS).unref();

  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => closing ??= (async () => {
    clearInterval(depths);
    clearInterval(sweeping);
    await hostDeployments.stop();
    await http.close();
    hostLinks.close();
    await registry.stop();
    await actors.stop();
    authenticator.stop();
    await database.close();
  })();
  try {
    await sweep(uploads, log);
    const { url, wsUrl, port } = await http.listen();
    ownUrl = url.replace(/\/graphql$/, "");
    hostDeployments.start();
    if (!isLoopback(config.TRAINYARD_HOST) && config.TRAINYARD_TLS_CERT === undefined) {
      log.warn({ host: config.TRAINYARD_HOST }, "listening beyond loopback without TLS: tokens travel readable unless a proxy in front ends TLS; set TRAINYARD_TLS_CERT and TRAINYARD_TLS_KEY otherwise");
    }
    log.info({ url, redis: config.REDIS_URL !== undefined }, "the control plane is ready");
    return { url, wsUrl, port, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Removes what broken uploads left. Never fails: without its folder the server can do everything but take uploads, and each of those says why. */
async function sweep(uploads: Uploads, log: Logger): Promise<void> {
  await uploads.sweep().then((removed) => { if (removed > 0) log.info({ removed }, "leftovers of broken uploads were removed"); },
    (error: unknown) => log.warn({ err: error }, "the folder of uploads could not be looked through"));
}

function record(metrics: Metrics, batch: CommittedBatch): void {
  const { events, states } = batch.ledger;
  if (events.length > 0) metrics.eventsCommitted(events.length);
  if (batch.points > 0) metrics.pointsIngested(batch.points);
  if (batch.logBytes > 0) metrics.logBytesIngested(batch.logBytes);
  if (batch.reportedAt !== null) metrics.ingestLag((Date.now() - batch.reportedAt) / 1_000);
  for (const { pipelineId, event } of events) {
    if (!("stage" in event)) continue;
    const status = STATUS_AFTER[event.type];
    const state = states.get(pipelineId)!;
    const index = state.dag.indexOf.get(event.stage)!;
    if (status !== undefined) metrics.stageTransition(state.spec.stages[index]!.kind, status);
    const stage = state.stages.at(index);
    if (event.type === "AttemptOffered" && stage.status === "QUEUED") metrics.waited(queueOf(state.spec.stages[index]!), (event.at - stage.queuedAt) / 1_000);
  }
}

const STATUS_AFTER: Readonly<Record<string, string>> = {
  StageQueued: "QUEUED", AttemptStarted: "RUNNING", StageCompleted: "COMPLETED", StageReused: "COMPLETED", StageFailed: "FAILED", StageCancelled: "CANCELLED", StageSkipped: "SKIPPED", StagePaused: "PAUSED",
  StageWaitingApproval: "WAITING_APPROVAL", StageReset: "PENDING",
};

async function readQueues(db: Db): Promise<{ queue: string; waiting: number; running: number }[]> {
  const rows = await db.selectFrom("pipelines as p").innerJoin("stages as s", "s.pipeline_id", "p.id").where("p.status", "in", ["PENDING", "RUNNING", "PAUSED"]).where("s.status", "in", ["QUEUED", "RUNNING"])
    .select(["s.queue", "s.status"]).select((eb) => eb.fn.countAll<number>().as("count")).groupBy(["s.queue", "s.status"]).execute();
  const queues = new Map<string, { queue: string; waiting: number; running: number }>();
  for (const row of rows) {
    const queue = queues.get(row.queue) ?? { queue: row.queue, waiting: 0, running: 0 };
    queues.set(row.queue, queue);
    if (row.status === "QUEUED") queue.waiting = Number(row.count);
    else queue.running = Number(row.count);
  }
  return [...queues.values()];
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

/** Agents get users of their own: the control plane's password never reaches them. */
function withoutCredentials(url: string): string {
  const bare = new URL(url);
  bare.username = "";
  bare.password = "";
  return bare.href;
}
