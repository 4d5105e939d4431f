// Agents for all SSH hosts of a database in one process: one daemon for each, with a directory of its own and a place over SSH.
//   A1. Hosts that are added or removed are noticed within LOOK_MS. A host with an agent of its own (served_by) is left alone.
//   A2. Never two daemons for one host: the lock in Postgres (host-locks.ts), the lock of the directory, and the control plane, which refuses a second process of one name.
//   A3. A host whose credentials cannot be opened has its agent all the same: it says what is wrong, holds what it held, and starts anew when they can.
//   A4. A daemon that cannot start, or has ended, is tried again with waits that double, each with chance in it.
//   A5. What is here of a host that was removed goes with it; what is there stays.

import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { dividedVariables } from "../../access/host-settings.js";
import type { SshHostRow, SshHosts } from "../../access/ssh-hosts.js";
import { startAgent, type Agent, type StopMode } from "../../agent/daemon.js";
import { createSshPlace } from "../../agent/place/ssh-place.js";
import type { AgentConfig } from "../../config.js";
import { isId } from "../../domain/ids.js";
import { openHostLocks } from "./host-locks.js";

/** Interval of looking for hosts, in milliseconds. */
const LOOK_MS = 2_000;
const FIRST_AGAIN_MS = 1_000;
const LONGEST_AGAIN_MS = 60_000;

export interface SshAgentsOptions {
  readonly databaseUrl: string;
  readonly sshHosts: SshHosts;
  /** For every agent; what names one of them is replaced. */
  readonly config: AgentConfig;
  /** Below it each host's agent has its directory. */
  readonly directory: string;
  /** Attempt folders of other agents on this machine; those of the hosts' agents know each other. */
  readonly neighbours?: readonly string[];
  /** Secrets of stages are found there. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
}

export interface SshAgents {
  /** Names of the hosts that an agent acts for now. */
  hosts(): readonly string[];
  /** Ends all of them, as an agent's stop does. */
  stop(mode: StopMode): Promise<void>;
}

interface Acting { readonly row: SshHostRow; readonly agent: Agent; /** Null: its credentials could not be opened (A3). */ readonly opened: object | null }

export function startSshAgents(options: SshAgentsOptions): SshAgents {
  const { sshHosts, config, log } = options;
  const acting = new Map<string, Acting>();
  const again = new Map<string, { at: number; waitMs: number }>();
  const stopping = new AbortController();
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  const locks = openHostLocks(options.databaseUrl, () => log.warn("the connection that holds the hosts' locks was lost; they are asked for again"));

  const start = async (row: SshHostRow): Promise<void> => {
    const opened = await sshHosts.open(row.id).catch((error: unknown) => {
      log.warn({ err: error, host: row.name }, "the credentials of an SSH host cannot be used");
      return null;
    });
    const { settings, variables } = dividedVariables(opened?.environment ?? {});
    const sharedRoot = settings.TRAINYARD_AGENT_SHARED_DIR ?? config.TRAINYARD_AGENT_SHARED_DIR ?? null;
    const agent = await startAgent({
      config: {
        ...config, TRAINYARD_AGENT_NAME: row.name, TRAINYARD_AGENT_DIR: join(options.directory, row.id), TRAINYARD_AGENT_CPUS: undefined, TRAINYARD_AGENT_ADDRESS: settings.TRAINYARD_AGENT_ADDRESS ?? row.host, TRAINYARD_AGENT_SHARED_DIR: sharedRoot ?? undefined,
        TRAINYARD_AGENT_LABELS: [`host=${row.name}`, config.TRAINYARD_AGENT_LABELS].filter((text) => text !== "").join(","),
      },
      log, environment: options.environment,
      neighbours: () => [...(options.neighbours ?? []), ...readdirSync(options.directory).filter((name) => isId("ssh", name)).map((name) => join(options.directory, name, "attempts"))],
      openPlace: (around) => createSshPlace({
        name: row.name, workingDirectory: row.working_directory, pythonEnvironment: row.python_environment, commandPrefix: row.command_prefix, variables, sharedRoot, cpus: settings.TRAINYARD_AGENT_CPUS === undefined ? null : Number(settings.TRAINYARD_AGENT_CPUS),
        inherited: config.TRAINYARD_AGENT_ENV, nvidiaSmi: config.TRAINYARD_NVIDIA_SMI, directory: around.directory, attemptsRoot: around.attemptsRoot, ours: around.ours,
        access: async () => (await sshHosts.open(row.id)).access,
        alarmed: (error) => void sshHosts.noteAlarm(row.id, error).catch((failure: unknown) => log.error({ err: failure, host: row.name }, "the alarm of a changed host key could not be noted")),
      }),
    });
    acting.set(row.id, { row, agent, opened });
    log.info({ host: row.name }, "an agent acts for this host over SSH");
    const begun = performance.now();
    void agent.done.catch(() => undefined).then(async () => {
      if (acting.get(row.id)?.agent !== agent) return;
      acting.delete(row.id);
      if (performance.now() - begun > LONGEST_AGAIN_MS) again.delete(row.id); // it held out
      waitLonger(row.id);
      await locks.release(row.id);
    });
  };
  /** A4. */
  const waitLonger = (id: string): void => {
    const waitMs = Math.min(LONGEST_AGAIN_MS, (again.get(id)?.waitMs ?? FIRST_AGAIN_MS / 2) * 2);
    again.set(id, { at: performance.now() + waitMs * (0.5 + Math.random()), waitMs });
  };
  const end = async (id: string, mode: StopMode): Promise<void> => {
    const found = acting.get(id);
    if (found === undefined) return;
    acting.delete(id);
    await found.agent.stop(mode).catch((error: unknown) => log.error({ err: error, host: found.row.name }, "an agent could not end in order"));
    await locks.release(id);
  };

  const look = async (): Promise<void> => {
    const rows = (await sshHosts.list()).filter((row) => row.served_by === "ssh"); // A1
    const wanted = new Map(rows.map((row) => [row.id as string, row]));
    for (const [id, { row }] of [...acting]) {
      if (wanted.has(id)) continue;
      log.info({ host: row.name }, "this host was removed, or has an agent of its own now");
      await end(id, "detach");
    }
    for (const id of again.keys()) if (!wanted.has(id)) again.delete(id);
    for (const name of readdirSync(options.directory)) {
      if (isId("ssh", name) && !wanted.has(name) && (await sshHosts.find(name)) === null) rmSync(join(options.directory, name), { recursive: true, force: true }); // A5
    }
    const looked = await Promise.allSettled(rows.map(async (row) => { // the next look begins when all of this one are done: no agent is started twice
      if (stopping.signal.aborted) return;
      if (!(await locks.take(row.id))) return end(row.id, "detach"); // A2: another process acts for it
      const current = acting.get(row.id);
      if (current !== undefined) {
        if (current.opened === null && row.alarm_at === null && (await sshHosts.open(row.id).then(() => true, () => false))) await end(row.id, "detach"); // A3; the next look starts it
        return;
      }
      if ((again.get(row.id)?.at ?? 0) > performance.now()) return; // A4
      try {
        await start(row);
      } catch (error) {
        waitLonger(row.id);
        log.error({ err: error, host: row.name }, "the agent for an SSH host cannot start");
        await locks.release(row.id);
      }
    }));
    const failed = looked.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason as Error;
  };
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await look().catch((error: unknown) => log.warn({ err: error }, "the SSH hosts could not be looked up; what runs goes on"));
      await delay(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  })();

  let ended: Promise<void> | null = null;
  return {
    hosts: () => [...acting.values()].map(({ row }) => row.name),
    stop(mode) {
      stopping.abort();
      const all = [...acting.values()].map(({ agent }) => agent.stop(mode).catch(() => undefined)); // a harder mode takes effect at once
      ended ??= loop.then(async () => {
        await Promise.all(all);
        await Promise.all([...acting.keys()].map((id) => end(id, mode)));
        await locks.stop();
      });
      return ended;
    },
  };
}
