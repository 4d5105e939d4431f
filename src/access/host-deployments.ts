// Agents of their own on SSH hosts: orders to deploy or remove one, kept as rows and carried out by one control-plane process at a time.
//   D1. An order is a row before anything happens, and says at every moment how far it is. Whoever gave it may go away.
//   D2. One process carries it out; it says so every BEAT_MS. When it has fallen silent for SILENT_MS another one takes over, from what is found on the host.
//   D3. A removed agent's token is revoked, and the host is served over SSH again, in the transaction that says so.

import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Selectable } from "kysely";
import type { Logger } from "pino";
import type { Database } from "../db/tables.js";
import { NotFoundError, TrainyardError } from "../domain/errors.js";
import type { SshHostId } from "../domain/ids.js";
import { deployAgent } from "../hosts/deploy/deploy-agent.js";
import { DeployError } from "../hosts/deploy/deploy-error.js";
import { createDeployProgress } from "../hosts/deploy/deploy-progress.js";
import { openDeployer } from "../hosts/deploy/deployer.js";
import { removeAgent } from "../hosts/deploy/remove-agent.js";
import { openFileSync } from "../hosts/file-sync.js";
import { openHostLink } from "../hosts/host-link.js";
import { deployParts, revokeIdle } from "./deploy-parts.js";
import { agentConfiguration, asBefore, refuseUnusableDeployment, type DeploymentInput } from "./deployment-input.js";
import type { OpenedHost, SshHostRow, SshHosts } from "./ssh-hosts.js";
import { revokeToken, type AccessDb } from "./tokens.js";

export type HostDeploymentRow = Selectable<Database["host_deployments"]>;

type Outcome = Partial<Pick<HostDeploymentRow, "release" | "version" | "supervision" | "notes" | "running_since" | "token_id"> & { parameters: string }>;

export interface HostDeployments {
  /** Enters the order. Throws NotFoundError, InvalidInputError, and DeployError while another order is under way. */
  deploy(hostId: string, input: DeploymentInput, by: string, audit: (trx: AccessDb) => Promise<void>): Promise<SshHostRow>;
  /** `now`: what runs is stopped, also of a removal that waits. `forget`: the host is gone; only our side is cleaned up. */
  remove(hostId: string, options: { readonly now: boolean; readonly forget: boolean }, by: string, audit: (trx: AccessDb) => Promise<void>): Promise<SshHostRow>;
  /** Begins to carry orders out; before that they are only entered. */
  start(): void;
  /** Lets go of what is under way; another process, or the next start, goes on with it. */
  stop(): Promise<void>;
}

export interface HostDeploymentsOptions {
  readonly db: AccessDb;
  readonly sshHosts: SshHosts;
  readonly log: Logger;
  /** Where this installation lies, and where archives for hosts are kept. */
  readonly packageRoot: string;
  readonly archives: string;
  /** How agents reach this control plane, as far as it knows. */
  readonly publicUrl: () => string;
  /** No new work for an agent. */
  readonly drainAgent: (agentId: string, draining: boolean) => Promise<void>;
  readonly unresponsiveAfterMs: number;
  /** For tests. */
  readonly reportInMs?: number;
}

const BEAT_MS = 5_000;
const SILENT_MS = 30_000;
const SHOWN_EVERY_MS = 300;

/** Deployments by host, in no order. */
export function readDeployments(db: AccessDb, ids: readonly SshHostId[]): Promise<HostDeploymentRow[]> {
  return db.selectFrom("host_deployments").selectAll().where("host_id", "in", ids).execute();
}

export function createHostDeployments(options: HostDeploymentsOptions): HostDeployments {
  const { db, sshHosts, log } = options;
  const carrier = randomBytes(9).toString("base64url");
  const stopping = new AbortController();
  const carried = new Map<SshHostId, Promise<void>>();

  const found = async (hostId: string): Promise<SshHostRow> => {
    const host = await sshHosts.find(hostId);
    if (host === null) throw new NotFoundError("SSH host", hostId);
    return host;
  };
  /** With what the agent on the host was deployed; null when there is none. */
  const deployedOn = async (id: SshHostId): Promise<DeploymentInput | null> => ((await readDeployments(db, [id]))[0]?.parameters["deployed"] ?? null) as DeploymentInput | null;
  /** D1. */
  const order = async (host: SshHostRow, kind: HostDeploymentRow["kind"], parameters: Record<string, unknown>, by: string, audit: (trx: AccessDb) => Promise<void>): Promise<void> => {
    await db.transaction().execute(async (trx) => {
      await trx.selectFrom("ssh_hosts").select("id").where("id", "=", host.id).forUpdate().executeTakeFirstOrThrow();
      const before = await trx.selectFrom("host_deployments").selectAll().where("host_id", "=", host.id).executeTakeFirst();
      const hastened = kind === "REMOVE" && before?.kind === "REMOVE" && (parameters["now"] === true || parameters["forget"] === true);
      if (before?.state === "WORKING" && !hastened) {
        throw new DeployError("DEPLOY_BUSY", host.name, `an order of ${before.ordered_at.toISOString()} (${before.kind === "DEPLOY" ? "deploy" : "remove"}) is being carried out. Wait for its end: trainyard host ls`, { retryable: true });
      }
      const deployed = before?.parameters["deployed"] ?? null; // what runs there stays known, whatever comes of this order
      const goesOn = before?.state === "WORKING" && parameters["forget"] !== true; // whoever still tries to reach a host that is forgotten lets go of it, by D2
      const row = { kind, parameters: JSON.stringify({ ...parameters, deployed }), state: "WORKING" as const, ordered_by: by, ordered_at: new Date(), error: null, ...(goesOn ? {} : { steps: "[]", notes: [], carrier: null, carrier_seen_at: null }) };
      await trx.insertInto("host_deployments").values({ host_id: host.id, steps: "[]", ...row }).onConflict((conflict) => conflict.column("host_id").doUpdateSet(row)).execute();
      await audit(trx);
    });
    look();
  };

  /** D2. Takes up what nobody carries. */
  let looking: NodeJS.Timeout | undefined;
  const look = (): void => {
    if (looking === undefined || stopping.signal.aborted) return;
    void (async () => {
      const silent = new Date(Date.now() - SILENT_MS);
      const rows = await db.selectFrom("host_deployments").select("host_id").where("state", "=", "WORKING").where((eb) => eb.or([eb("carrier", "is", null), eb("carrier_seen_at", "<", silent)])).execute();
      for (const { host_id: id } of rows) {
        if (carried.has(id) || stopping.signal.aborted) continue;
        const mine = await db.updateTable("host_deployments").set({ carrier, carrier_seen_at: new Date() }).where("host_id", "=", id).where("state", "=", "WORKING")
          .where((eb) => eb.or([eb("carrier", "is", null), eb("carrier_seen_at", "<", silent)])).returningAll().executeTakeFirst();
        if (mine === undefined || carried.has(id)) continue;
        carried.set(id, carry(mine).catch((error: unknown) => log.error({ err: error, hostId: id }, "an order for a host could not be carried out")).finally(() => {
          carried.delete(id);
          look(); // given again meanwhile
        }));
      }
    })().catch((error: unknown) => log.debug({ err: error }, "orders for hosts could not be read"));
  };

  const carry = async (row: HostDeploymentRow): Promise<void> => {
    const { host_id: id } = row;
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, stopping.signal]);
    const ours = () => db.updateTable("host_deployments").where("host_id", "=", id).where("carrier", "=", carrier);
    let shown: Promise<unknown> = Promise.resolve();
    let showing: NodeJS.Timeout | undefined;
    const progress = createDeployProgress(() => { // many changes, few statements; the last one is always stored
      showing ??= setTimeout(() => {
        showing = undefined;
        const steps = JSON.stringify(progress.steps);
        shown = shown.then(() => ours().set({ steps }).execute()).catch((error: unknown) => log.debug({ err: error }, "the steps of an order were not stored"));
      }, SHOWN_EVERY_MS);
    });
    const settled = async (): Promise<void> => {
      clearTimeout(showing);
      await shown;
    };
    const beat = setInterval(() => void ours().set({ carrier_seen_at: new Date() }).executeTakeFirst().then((done) => {
      if (Number(done.numUpdatedRows) === 0) ended.abort(new Error("another process carries the order out")); // D2
    }, () => undefined), BEAT_MS);
    try {
      const end = row.kind === "DEPLOY" ? await carryDeploy(row, progress, signal) : await carryRemove(row, progress, signal);
      await settled();
      await ours().set({ ...end, state: "DONE", error: null, steps: JSON.stringify(progress.steps), carrier: null }).execute();
      log.info({ hostId: id, kind: row.kind }, "an order for an agent on a host was carried out");
    } catch (error) {
      await settled();
      if (signal.aborted) {
        await ours().set({ carrier: null }).execute().catch(() => undefined); // taken up again at once
        return;
      }
      await sshHosts.noteAlarm(id, error).catch(() => undefined);
      progress.failed();
      const known = error instanceof TrainyardError || (error as { code?: unknown }).code === "AGENT_PACKAGE_INCOMPLETE" ? (error as Error & { code: string }) : null;
      if (known === null) log.error({ err: error, hostId: id }, "an order for an agent on a host failed");
      await revokeIdle(db, id);
      await ours().set({ state: "FAILED", error: JSON.stringify({ code: known?.code ?? "DEPLOY_FAILED", message: known?.message ?? "An unexpected error; the control plane's log has it. Give the order again." }), steps: JSON.stringify(progress.steps), carrier: null }).execute();
    } finally {
      clearInterval(beat);
    }
  };

  const carryDeploy = async (row: HostDeploymentRow, progress: Parameters<typeof deployAgent>[3], signal: AbortSignal): Promise<Outcome> => {
    const opened = await sshHosts.open(row.host_id);
    const { deployed: _before, ...input } = row.parameters as unknown as DeploymentInput & { deployed: unknown };
    const { configuration, notes } = agentConfiguration(input, opened.row, opened.environment);
    return connected(opened, signal, async (deployer, link) => {
      const sync = openFileSync(link);
      try {
        const done = await deployAgent({
          name: opened.row.name, url: (input.url ?? options.publicUrl()).replace(/\/(graphql\/?)?$/, ""), caCertificate: input.caCertificate, configuration, sendNode: input.sendNode === true,
          pathFirst: opened.row.python_environment === null ? null : `${opened.row.python_environment}/bin`, ...(options.reportInMs === undefined ? {} : { reportInMs: options.reportInMs }),
        }, deployer, deployParts({ ...options, row, host: opened.row, send: async (file, moved) => (await sync.push({ path: file.path, sha256: file.sha256 }, { signal, progress: ({ phase, doneBytes }) => (phase === "sending" ? moved(doneBytes) : undefined) })).path }), progress, signal);
        const since = done.restarted || row.running_since === null ? new Date() : row.running_since;
        return { parameters: JSON.stringify({ ...input, deployed: input }), release: done.release, version: done.version, supervision: done.supervision, notes: [...done.notes, ...notes], running_since: since };
      } finally {
        sync.close();
      }
    });
  };

  const carryRemove = async (row: HostDeploymentRow, progress: Parameters<typeof removeAgent>[3], signal: AbortSignal): Promise<Outcome> => {
    const parameters = async () => (await db.selectFrom("host_deployments").select("parameters").where("host_id", "=", row.host_id).executeTakeFirstOrThrow()).parameters;
    let kept: readonly string[] = [];
    let notes: readonly string[] = [];
    if ((await parameters())["forget"] === true) {
      progress.begin("forget it here").done("nothing was done on the host");
      notes = ["The host was not asked: what lies there stays, and an agent that still runs there is refused by the control plane."];
    } else {
      const opened = await sshHosts.open(row.host_id);
      const { name } = opened.row;
      let isDraining = false;
      ({ kept } = await connected(opened, signal, (deployer) => removeAgent(name, deployer, {
        async drain() {
          const agent = await db.selectFrom("agents").select("id").where("name", "=", name).where("run_mode", "=", "LOCAL").executeTakeFirst();
          if (agent === undefined) return 0;
          if (!isDraining) await options.drainAgent(agent.id, true);
          isDraining = true;
          const { count } = await db.selectFrom("assignments").select((eb) => eb.fn.countAll<number>().as("count")).where("agent_id", "=", agent.id).executeTakeFirstOrThrow();
          return Number(count);
        },
        now: async () => (await parameters())["now"] === true,
      }, progress, signal)));
      if (kept.length > 0) notes = kept.slice(0, 50).map((folder) => `Stays on the host: ${folder}`);
    }
    await db.transaction().execute(async (trx) => {
      const { token_id: tokenId } = await trx.selectFrom("host_deployments").select("token_id").where("host_id", "=", row.host_id).forUpdate().executeTakeFirstOrThrow();
      const { name } = await trx.updateTable("ssh_hosts").set({ served_by: "ssh" }).where("id", "=", row.host_id).returning("name").executeTakeFirstOrThrow();
      if (tokenId === null) return;
      await revokeToken(trx, tokenId);
      // Its row becomes that of whoever acts for the host next, over SSH.
      await trx.updateTable("agents").set({ run_mode: "SSH", draining: false, session_id: null, closed_at: new Date() }).where("name", "=", name).where("token_id", "=", tokenId).execute();
    });
    return { parameters: "{}", release: null, version: null, supervision: null, running_since: null, token_id: null, notes: [...notes] };
  };

  const connected = async <T>({ row, access }: OpenedHost, signal: AbortSignal, work: (deployer: ReturnType<typeof openDeployer>, link: ReturnType<typeof openHostLink>) => Promise<T>): Promise<T> => {
    const at = { directory: row.working_directory, pythonEnvironment: row.python_environment };
    const deployer = openDeployer({ access, ...at, signal, trouble: (error) => (error === null ? undefined : log.info({ host: row.name, err: error }, "the connection to a host was lost while an order is carried out")) });
    let link: ReturnType<typeof openHostLink> | null = null;
    try {
      return await work(deployer, link = openHostLink({ name: row.name, access: () => Promise.resolve(access), ...at }));
    } finally {
      link?.close();
      deployer.close();
    }
  };

  return {
    async deploy(hostId, input, by, audit) {
      const host = await found(hostId);
      const whole = asBefore(input, await deployedOn(host.id));
      refuseUnusableDeployment({ ...whole, url: whole.url ?? options.publicUrl() }, host);
      await order(host, "DEPLOY", { ...whole }, by, audit);
      return host;
    },
    async remove(hostId, { now, forget }, by, audit) {
      const host = await found(hostId);
      const row = (await readDeployments(db, [host.id]))[0];
      if (row === undefined || (row.kind === "REMOVE" && row.state === "DONE")) throw new DeployError("DEPLOY_REFUSED", host.name, "no agent was deployed there.");
      await order(host, "REMOVE", { now, forget }, by, audit);
      return host;
    },
    start() {
      looking ??= setInterval(look, BEAT_MS).unref();
      look();
    },
    async stop() {
      stopping.abort(new Error("the control plane stops"));
      clearInterval(looking);
      await Promise.race([Promise.allSettled([...carried.values()]), delay(5_000, undefined, { ref: false })]);
    },
  };
}
