// What a resolver has at hand: who asks, the parts of the server it may ask, and loaders that live as long as one operation (or one event of a subscription).

import type { Logger } from "pino";
import type { SealedSecrets } from "../access/sealed-secrets.js";
import type { HostDeployments } from "../access/host-deployments.js";
import type { SshHosts } from "../access/ssh-hosts.js";
import type { Authenticator, Principal } from "../access/authenticator.js";
import type { ControlPlane, Wakeups } from "../actors/control-plane.js";
import type { ServerConfig } from "../config.js";
import type { Db } from "../db/database.js";
import type { Registry } from "../registry/registry.js";
import { createLoaders, type Loaders } from "./loaders.js";
import type { EventTail } from "./streams/event-tail.js";

/** Parts of the server that the API translates to. */
export interface SchemaDependencies {
  readonly db: Db;
  readonly controlPlane: ControlPlane;
  readonly wakeups: Wakeups;
  readonly authenticator: Authenticator;
  readonly registry: Registry;
  readonly sshHosts: SshHosts;
  readonly hostDeployments: HostDeployments;
  /** Seals what must be used again, with a key that is not in the database. */
  readonly secrets: SealedSecrets;
  /** The one reader of new events in this process. */
  readonly tail: EventTail;
  readonly log: Logger;
  readonly config: Pick<ServerConfig, "TRAINYARD_UNRESPONSIVE_AFTER_MS" | "TRAINYARD_LEASE_TTL_MS">;
  /** A Bookmark goes out when a stream was quiet for this long, in milliseconds. */
  readonly bookmarkEveryMs: number;
}

/** Facts of one request or socket. */
export interface Caller {
  /** Null: no token was presented. A token that is not valid never gets here. */
  readonly principal: Principal | null;
  /** Named in masked errors, log lines and audit rows. */
  readonly requestId: string;
  /** Remote address. */
  readonly address: string | null;
}

export interface Context extends Caller {
  readonly deps: SchemaDependencies;
  readonly loaders: Loaders;
}

/** A context for one operation. */
export function createContext(deps: SchemaDependencies, caller: Caller): Context {
  return { ...caller, deps, loaders: createLoaders(deps) };
}
