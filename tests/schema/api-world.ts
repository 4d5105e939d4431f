// The whole API over a real world: actors, database, HTTP and WebSocket on a free port, data directories, a token of each role.
import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { createClient, type Client, type SubscribePayload } from "graphql-ws";
import { inject } from "vitest";
import WebSocket from "ws";
import { createAuthenticator, type Authenticator } from "../../src/access/authenticator.js";
import { ROLES, type Role } from "../../src/access/roles.js";
import { sealedSecrets } from "../../src/access/sealed-secrets.js";
import { createHostDeployments, type HostDeployments, type HostDeploymentsOptions } from "../../src/access/host-deployments.js";
import { createSshHosts } from "../../src/access/ssh-hosts.js";
import { createToken } from "../../src/access/tokens.js";
import { packagePath } from "../../src/package-root.js";
import { createRegistry, type Registry } from "../../src/registry/registry.js";
import { createUploads, type Uploads } from "../../src/registry/uploads.js";
import { agentEndpoints } from "../../src/server/agent-endpoints.js";
import { checkpointEndpoint } from "../../src/server/checkpoint-endpoint.js";
import { createCheckpointFiles } from "../../src/server/checkpoints/checkpoint-files.js";
import { createHostLinks } from "../../src/server/checkpoints/host-links.js";
import { createAgentDatasets } from "../../src/server/agent-datasets.js";
import { createGraphql, type Graphql, type GraphqlDependencies } from "../../src/server/graphql.js";
import { createHttpServer, type HttpServer, type HttpServerOptions } from "../../src/server/http.js";
import { createMetrics } from "../../src/server/prometheus.js";
import { createReadiness } from "../../src/server/readiness.js";
import { uploadEndpoint } from "../../src/server/upload-endpoint.js";
import { silent, startWorld, testSecrets, type World } from "../support/world.js";

export interface Answer<Data = any> {
  readonly status: number;
  readonly data: Data;
  readonly errors?: readonly { readonly message: string; readonly path?: readonly (string | number)[]; readonly extensions?: Record<string, unknown> }[];
}

export interface Api {
  readonly world: World;
  readonly graphql: Graphql;
  readonly http: HttpServer;
  readonly authenticator: Authenticator;
  readonly registry: Registry;
  readonly hostDeployments: HostDeployments;
  readonly uploads: Uploads;
  /** Folder of its own; `data` in it is the one data directory, `uploads` holds uploads, `agent/attempts` what an agent here would make. */
  readonly folder: string;
  readonly url: string;
  readonly wsUrl: string;
  readonly tokens: Readonly<Record<Role, string>>;
  /** POSTs an operation; `who` null sends no token. */
  ask<Data = any>(who: Role | null, query: string, variables?: Record<string, unknown>): Promise<Answer<Data>>;
  /** Like `ask` as an admin; throws when there are errors. */
  data<Data = any>(query: string, variables?: Record<string, unknown>): Promise<Data>;
  /** A graphql-ws client; disposed of at the end. */
  client(who: Role | string, options?: { retryAttempts?: number }): Client;
  stop(): Promise<void>;
}

export interface ApiOptions extends Partial<Pick<GraphqlDependencies, "bookmarkEveryMs" | "tail" | "log" | "controlPlane">> {
  readonly cors?: string[];
  /** Given, orders for agents on hosts are carried out. */
  readonly deployments?: Partial<HostDeploymentsOptions>;
  readonly http?: Partial<Pick<HttpServerOptions, "webSocketLimits" | "stalledAfterMs" | "wholeRequestMs">> & { readonly uploadLimit?: number; readonly uploadsAtOnce?: number; readonly uploadReserve?: number } & { readonly bodyLimit?: number; readonly publicUrl?: string };
}

export async function startApi(options: ApiOptions = {}): Promise<Api> {
  const world = await startWorld();
  const { db } = world.database;
  const authenticator = createAuthenticator({ db, log: silent });
  const { bodyLimit, publicUrl, uploadLimit, uploadsAtOnce, uploadReserve, ...httpOptions } = options.http ?? {};
  const folder = mkdtempSync(join(inject("runFolder"), "api-"));
  for (const name of ["data", "uploads", "agent/attempts"]) mkdirSync(join(folder, name), { recursive: true });
  const uploads = createUploads({
    db, folder: join(folder, "uploads"), limitBytes: uploadLimit ?? 1_073_741_824,
    ...(uploadsAtOnce === undefined ? {} : { atOnce: uploadsAtOnce }), ...(uploadReserve === undefined ? {} : { reserveBytes: uploadReserve }),
  });
  const registry = createRegistry({ db, uploads, dataDirs: [join(folder, "data"), join(folder, "uploads")], shownDirs: [join(folder, "agent", "attempts")], patienceMs: 30_000 });
  const sshHosts = createSshHosts({ db, secrets: sealedSecrets({ value: undefined, file: join(folder, "secret-key") }), agentSocket: undefined, home: folder });
  let ownUrl = "";
  const hostDeployments = createHostDeployments({
    db, sshHosts, log: options.log ?? silent, packageRoot: packagePath(), archives: join(folder, "host-archives"), publicUrl: () => ownUrl,
    drainAgent: (id, draining) => world.actors.controlPlane.drainAgent(id, draining), unresponsiveAfterMs: 45_000, ...options.deployments,
  });
  const hostLinks = createHostLinks(sshHosts);
  const graphql = createGraphql({
    registry, sshHosts, hostDeployments, secrets: testSecrets, db, controlPlane: world.actors.controlPlane, wakeups: world.actors.wakeups, authenticator, log: silent,
    config: { TRAINYARD_UNRESPONSIVE_AFTER_MS: 45_000, TRAINYARD_LEASE_TTL_MS: 600_000, TRAINYARD_CORS_ORIGINS: options.cors ?? [] }, ...options,
  });
  const http = createHttpServer({
    graphql, readiness: createReadiness({ db }), metrics: createMetrics(), log: options.log ?? silent, ...httpOptions,
    uploads: uploadEndpoint({ db, uploads, authenticator, log: silent, ...(httpOptions.stalledAfterMs === undefined ? {} : { stalledAfterMs: httpOptions.stalledAfterMs }) }),
    checkpoints: checkpointEndpoint({ db, files: createCheckpointFiles({ db, links: hostLinks, ownDirs: [join(folder, "agent", "attempts")] }), authenticator, log: silent, ...(httpOptions.stalledAfterMs === undefined ? {} : { stalledAfterMs: httpOptions.stalledAfterMs }) }),
    agents: agentEndpoints({ gateway: world.actors.gateway, datasets: createAgentDatasets({ db, registry }), authenticator, log: silent }),
    config: { TRAINYARD_HOST: "127.0.0.1", TRAINYARD_PORT: 0, TRAINYARD_BODY_LIMIT_BYTES: bodyLimit ?? 1_048_576, TRAINYARD_PUBLIC_URL: publicUrl, TRAINYARD_TLS_CERT: undefined, TRAINYARD_TLS_KEY: undefined },
  });
  const { url, wsUrl } = await http.listen();
  ownUrl = url;
  if (options.deployments !== undefined) hostDeployments.start();
  const tokens = Object.fromEntries(await Promise.all(ROLES.map(async (role) =>
    [role, (await createToken(db, { name: `the ${role}`, role, agentName: null, expiresInDays: null, by: "test" })).secret] as const))) as Record<Role, string>;
  const clients: Client[] = [];

  const api: Api = {
    world, graphql, http, authenticator, registry, hostDeployments, uploads, folder, url, wsUrl, tokens,
    async ask(who, query, variables) {
      const response = await fetch(url, {
        method: "POST", body: JSON.stringify({ query, variables }),
        headers: { "content-type": "application/json", accept: "application/graphql-response+json", ...(who === null ? {} : { authorization: `Bearer ${tokens[who]}` }) },
      });
      return { status: response.status, ...(await response.json() as { data: never }) };
    },
    async data(query, variables) {
      const answer = await api.ask("admin", query, variables);
      if (answer.errors !== undefined) throw new Error(JSON.stringify(answer.errors));
      return answer.data;
    },
    client(who, { retryAttempts = 0 } = {}) {
      const client = createClient({ url: wsUrl, webSocketImpl: WebSocket, retryAttempts, connectionParams: { authorization: `Bearer ${who in tokens ? tokens[who as Role] : who}` } });
      clients.push(client);
      return client;
    },
    async stop() {
      for (const client of clients) await client.dispose();
      await hostDeployments.stop();
      await http.close();
      hostLinks.close();
      await registry.stop();
      authenticator.stop();
      await world.stop();
    },
  };
  return api;
}

/** Gathers what a subscription yields. `take` resolves with the next `count` items. */
export function listen<T = any>(client: Client, payload: SubscribePayload) {
  const iterator = client.iterate<T>(payload);
  return {
    async take(count: number): Promise<T[]> {
      const items: T[] = [];
      while (items.length < count) {
        const step = await iterator.next();
        if (step.done === true) break;
        if (step.value.errors !== undefined) throw Object.assign(new Error("subscription failed"), { errors: step.value.errors });
        items.push(step.value.data as T);
      }
      return items;
    },
    next: () => iterator.next(),
    async stop() { await iterator.return?.(); },
  };
}
