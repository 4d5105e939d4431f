// What the server tells Prometheus. One registry per server, recorders for whoever has something to record; names and units as Prometheus likes them.

import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

export interface Metrics {
  /** Stages waiting and running now; queues that are missing are forgotten. */
  queues(queues: readonly { readonly queue: string; readonly waiting: number; readonly running: number }[]): void;
  /** A stage of the queue began: how long it had been QUEUED, in seconds. */
  waited(queue: string, seconds: number): void;
  /** A stage of the kind (train, command, …) came into the status. */
  stageTransition(kind: string, status: string, count?: number): void;
  /** From a report's time on the agent to its commit here, in seconds. */
  ingestLag(seconds: number): void;
  pointsIngested(count: number): void;
  logBytesIngested(count: number): void;
  eventsCommitted(count: number): void;
  /** Operations under way over a transport now. */
  subscriptions(transport: "websocket" | "sse", open: number): void;
  /** `route` is one of a few names, never a path as sent. */
  httpRequest(route: string, status: number, seconds: number): void;
  /** Everything in Prometheus' text format. */
  text(): Promise<string>;
  readonly contentType: string;
  readonly registry: Registry;
}

const WAIT_BUCKETS = [0.005, 0.025, 0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 3_600, 14_400, 86_400];
const LAG_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const HTTP_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];

/** A registry of its own, with the process's own figures in it. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "trainyard_" });
  const queueDepth = new Gauge({ name: "trainyard_queue_depth", help: "Stages that wait in a queue.", labelNames: ["queue"], registers });
  const queueRunning = new Gauge({ name: "trainyard_queue_running", help: "Stages of a queue that run.", labelNames: ["queue"], registers });
  const waiting = new Histogram({ name: "trainyard_stage_wait_seconds", help: "From QUEUED to the start of an attempt.", labelNames: ["queue"], buckets: WAIT_BUCKETS, registers });
  const transitions = new Counter({ name: "trainyard_stage_transitions_total", help: "Stages that came into a status.", labelNames: ["kind", "status"], registers });
  const lag = new Histogram({ name: "trainyard_ingest_lag_seconds", help: "From a report's making on the agent to its commit.", buckets: LAG_BUCKETS, registers });
  const points = new Counter({ name: "trainyard_metric_points_total", help: "Metric points accepted.", registers });
  const logBytes = new Counter({ name: "trainyard_log_bytes_total", help: "Log bytes accepted.", registers });
  const events = new Counter({ name: "trainyard_events_total", help: "State events committed.", registers });
  const subscriptions = new Gauge({ name: "trainyard_open_subscriptions", help: "GraphQL operations under way that stream.", labelNames: ["transport"], registers });
  const http = new Histogram({ name: "trainyard_http_request_seconds", help: "HTTP requests.", labelNames: ["route", "status"], buckets: HTTP_BUCKETS, registers });

  return {
    registry,
    contentType: registry.contentType,
    queues(queues) {
      queueDepth.reset();
      queueRunning.reset();
      for (const { queue, waiting: depth, running } of queues) {
        queueDepth.set({ queue }, depth);
        queueRunning.set({ queue }, running);
      }
    },
    waited: (queue, seconds) => waiting.observe({ queue }, Math.max(0, seconds)),
    stageTransition: (kind, status, count = 1) => transitions.inc({ kind, status }, count),
    ingestLag: (seconds) => lag.observe(Math.max(0, seconds)),
    pointsIngested: (count) => points.inc(count),
    logBytesIngested: (count) => logBytes.inc(count),
    eventsCommitted: (count) => events.inc(count),
    subscriptions: (transport, open) => subscriptions.set({ transport }, open),
    httpRequest: (route, status, seconds) => http.observe({ route, status: String(status) }, seconds),
    text: () => registry.metrics(),
  };
}
