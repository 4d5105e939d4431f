// The agent daemon: one process per host that pulls attempts, runs them and tells what became of them. This file builds the parts and ends them in order.
//   D1. One process per directory: a second one is refused while the first lives.
//   D2. Three ways to stop. drain: take nothing new, wait for what runs. now: stop what runs. detach: leave it running for the next process to adopt.
//   D3. What an earlier process left is taken up before anything new: programs are adopted at once, what had not begun waits for a session.

import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, hostname } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import type { AgentConfig } from "../config.js";
import type { SessionId } from "../domain/ids.js";
import { packagePath } from "../package-root.js";
import { parseLabels, parsePools, parsePorts } from "../protocol/declaration.js";
import { PROTOCOL_VERSION, type Assignment, type HostDescription, type OpenSession, type Pool } from "../protocol/messages.js";
import { acquireDirectoryLock } from "../directory-lock.js";
import { attemptDirectory, ownerOf } from "./attempt/attempt-directory.js";
import type { AttemptHost } from "./attempt/attempt-host.js";
import type { InProcessRunner } from "./attempt/in-process-attempt.js";
import { capabilitiesOf, createAttempts } from "./attempts.js";
import { controlPlaneClient, type ControlPlaneClient } from "./control-plane-client.js";
import { removeOldDatasets, type DatasetSource } from "./data/dataset-fetch.js";
import { removeStaleNotes } from "./data/kept-results.js";
import { HOUSEKEEPING_EVERY_MS, removeOldAttempts } from "./host/housekeeping.js";
import { keepVersions, type HostVersions, type Versions } from "./host/versions.js";
import { openJournal, replayJournal, type Place } from "./journal/journal.js";
import { Ledger } from "./journal/ledger.js";
import { encodeRecord } from "./journal/records.js";
import { openReserve } from "./journal/reserve.js";
import { Spool } from "./journal/spool.js";
import { createLocalPlace } from "./place/local-place.js";
import type { Place as ProgramPlace } from "./place/place.js";
import { leaseTrust } from "./lease-trust.js";
import type { LinkKind } from "./link/agent-link.js";
import { createOrderInbox } from "./order-inbox.js";
import { keepSession } from "./session-keeper.js";
import { startShipper } from "./shipper.js";

export type StopMode = "drain" | "now" | "detach";

export interface Agent {
  /** As the control plane knows it. */
  readonly name: string;
  /**
   * Stops the daemon (D2); resolves when it has stopped. `drain` and `now` wait until the control plane has the last report, `now` at most FAREWELL_MS. A second call with a
   * harder mode (drain → now, anything → detach) takes effect.
   */
  stop(mode: StopMode): Promise<void>;
  /** Resolves when the daemon has stopped; rejects when its directory can no longer be written. */
  readonly done: Promise<void>;
  /** Resolves when the first session is open. */
  readonly connected: Promise<void>;
  /** The link in use, or null before the first. */
  link(): LinkKind | null;
  /** Attempts under way. */
  running(): number;
}

export interface AgentOptions {
  readonly config: AgentConfig;
  readonly log: Logger;
  /** Runs attempts inside this process; only benchmarks give one. */
  readonly runner?: InProcessRunner;
  /** The agent's own environment: what programs inherit by name, and secrets. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Attempt folders of other agents on this machine: what preprocess stages left there may be brought to the place. */
  readonly neighbours?: () => readonly string[];
  /** Opens where programs run, when that is another machine; the daemon closes it. */
  readonly openPlace?: (around: PlaceAround) => ProgramPlace & { close(): void };
}

/** What a place is told of its agent. */
export interface PlaceAround {
  /** Of the agent: absolute, real, kept between its processes. */
  readonly directory: string;
  readonly attemptsRoot: string;
  readonly log: Logger;
  /** Which of these processes there belong to attempts. */
  ours(pids: readonly number[]): Promise<ReadonlySet<number>>;
}

/** The agent cannot start; the message names the cause and what to do. */
export class AgentStartError extends Error {
  readonly code: "AGENT_DIRECTORY_IN_USE" | "AGENT_TOKEN_MISSING" | "AGENT_DIRECTORY_UNUSABLE";
  constructor(code: AgentStartError["code"], message: string) {
    super(message);
    this.name = "AgentStartError";
    this.code = code;
  }
}

/** How long `now` waits for the control plane to commit the last reports; they stay in the spool. Milliseconds. */
export const FAREWELL_MS = 10_000;

/** Starts the daemon. Resolves when what an earlier process left is taken up; the control plane may be away. Throws AgentStartError, DeclarationError, JournalDamagedError. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { config } = options;
  const name = config.TRAINYARD_AGENT_NAME ?? hostname();
  const log = options.log.child({ agent: name });
  const pools = parsePools(config.TRAINYARD_AGENT_POOLS);
  const labels = parseLabels(config.TRAINYARD_AGENT_LABELS);
  const ports = parsePorts(config.TRAINYARD_AGENT_PORTS);
  const client = controlPlaneClient({ url: config.TRAINYARD_URL, token: readToken(config), caFile: config.TRAINYARD_CA_FILE });
  const directory = openDirectory(config.TRAINYARD_AGENT_DIR);
  const lock = await acquireDirectoryLock(join(directory, "lock"));
  if (lock.kind === "refused") { // D1
    throw new AgentStartError("AGENT_DIRECTORY_IN_USE", `Another agent (pid ${lock.holder.pid}) uses ${directory}. Stop it, or give this one a directory of its own with TRAINYARD_AGENT_DIR.`);
  }
  try {
    return await runAgent({ ...options, name, log, pools, labels, ports, client, directory, release: () => lock.lock.release() });
  } catch (error) {
    lock.lock.release();
    throw error;
  }
}

interface RunOptions extends AgentOptions {
  readonly name: string;
  readonly pools: Pool[];
  readonly labels: Record<string, string | number | boolean>;
  readonly ports: AttemptHost["ports"];
  readonly client: ControlPlaneClient;
  /** Absolute, real, and locked by us. */
  readonly directory: string;
  /** Gives the directory back. */
  release(): void;
}

async function runAgent(options: RunOptions): Promise<Agent> {
  const { config, environment, name, log, pools, labels, ports, client, directory } = options;
  let fatalError: Error | null = null;
  let failDone: (error: Error) => void = () => undefined;
  const fatal = (error: Error): void => {
    if (fatalError !== null || stopping === "detach") return;
    fatalError = error;
    log.fatal({ err: error }, "the agent's directory can no longer be written; programs go on running");
    void stop("detach");
  };

  // ── what an earlier process left ──
  const journalDirectory = join(directory, "journal");
  const ledger = new Ledger();
  const replayed = new Map<number, Place>();
  replayJournal(journalDirectory, (record, place) => {
    ledger.apply(record);
    if (record.kind === "report") replayed.set(record.body.n, place);
  });
  const epoch = readEpoch(directory, ledger.lastReport > 0);
  const reserve = openReserve(join(directory, "reserve"));
  const journal = await openJournal({
    directory: journalDirectory,
    reserve,
    snapshot: () => encodeRecord("snapshot", JSON.stringify(ledger.snapshot())),
    beforeBatch: () => spool.beforeBatch(),
  });
  const spool: Spool = new Spool({
    journal, ledger, limitBytes: config.TRAINYARD_AGENT_SPOOL_LIMIT_BYTES,
    replayed: [...replayed].sort(([a], [b]) => a - b).map(([n, place]) => ({ n, place })),
    onDurable: () => shipper.wake(),
  });
  const shipper = startShipper({
    spool,
    log,
    refused: (leases) => attempts.disown(leases),
    trouble: (link, error) => {
      log.debug({ err: error, link: link.kind }, "reports could not be sent");
      link.close();
    },
    fatal,
  });

  // ── attempts ──
  const attemptsRoot = join(directory, "attempts");
  const datasetsRoot = join(directory, "datasets");
  let sessionId: SessionId | null = null;
  const registry: DatasetSource = {
    resolve: (ref, signal) => client.resolveDataset({ ref, ...(sessionId === null ? {} : { sessionId }) }, signal),
    content: (id, signal) => client.datasetContent(id, signal),
  };
  const sharedRoot = config.TRAINYARD_AGENT_SHARED_DIR === undefined ? null : resolve(config.TRAINYARD_AGENT_SHARED_DIR);
  const cpus = config.TRAINYARD_AGENT_CPUS ?? availableParallelism();
  const checkpointRoots = sharedRoot === null ? [attemptsRoot] : [attemptsRoot, sharedRoot];
  const here = createLocalPlace({ environment, inherited: config.TRAINYARD_AGENT_ENV, checkpointRoots, nvidiaSmi: config.TRAINYARD_NVIDIA_SMI, cpus, ours: (pids) => attempts.ours(pids) });
  const remote = options.openPlace?.({ directory, attemptsRoot, ours: (pids) => attempts.ours(pids), log }) ?? null;
  const home = remote === null ? here : { ...here, gpus: remote.gpus };
  const place: ProgramPlace = remote ?? home;
  const host: AttemptHost = {
    journal, spool, log, attemptsRoot, dataDirectories: config.TRAINYARD_DATA_DIRS.map((path) => resolve(path)), datasetsRoot, registry, environment, place, home, secretsFile: config.TRAINYARD_AGENT_SECRETS_FILE, python: config.TRAINYARD_AGENT_PYTHON, get cpus() { return place.cpus(); },
    neighbours: options.neighbours ?? (() => []), sharedRoot, ports, leasesTrusted: () => trust.trusted(), fatal,
  };
  const attempts = createAttempts(host, ledger, options.runner ?? null);
  const trust = leaseTrust(join(directory, "lease.json"), (silentMs) => {
    if (attempts.size === 0) return;
    log.warn({ attempts: attempts.size }, "the control plane was not reached for too long; programs are stopped before their leases end");
    const message = `No renewal reached the control plane for ${Math.round(silentMs / 1_000)} s; the agent stopped the program before its lease ended.`;
    void attempts.stopAll({ kind: "FAILED", failure: { code: "AGENT_LOST", message, hint: "Check the network between this host and the control plane.", exitCode: null, logTail: [] } }, trust.longestGraceMs());
  });
  let stopping: StopMode | null = null;
  const inbox = createOrderInbox({
    journal, ledger, spool, attempts, deleteCheckpoint: (path) => place.deleteArtifact(path), epoch, log, fatal,
    refuses: () => (stopping !== null ? "This agent is stopping." : null),
    committed: (watermark) => shipper.committed(watermark),
  });
  for (const held of ledger.unfinished()) {
    if (held.program !== null || hasBegun(place, attemptsRoot, held.assignment)) attempts.begin(held); // D3
  }

  // ── the control plane ──
  const ended = new AbortController();
  const instance = randomBytes(12).toString("hex");
  const hostListeners = new Set<() => void>();
  const versions = keepVersions({
    agent: ownVersion(), place, diskPath: attemptsRoot, nvidiaSmi: config.TRAINYARD_NVIDIA_SMI, python: config.TRAINYARD_AGENT_PYTHON, cacheFile: join(directory, "versions.json"), environment: remote === null ? environment : {},
    answered: () => { for (const look of hostListeners) look(); },
  });
  const hostDescription = describedBy(versions, place, capabilitiesOf);
  const unlisten = place.onChange(() => { for (const look of hostListeners) look(); });
  let link: LinkKind | null = null;
  let sayConnected: () => void = () => undefined;
  const connected = new Promise<void>((done) => { sayConnected = done; });
  const describe = async (): Promise<OpenSession> => ({
    protocol: PROTOCOL_VERSION, name, epoch, instance, pools, labels, gpus: [...(await place.gpus.report())], ...hostDescription(),
    runMode: remote === null ? "LOCAL" : "SSH", address: config.TRAINYARD_AGENT_ADDRESS ?? null, held: ledger.held(),
  });
  const session = keepSession({
    client, log, signal: ended.signal, describe,
    links: { epoch, mode: config.TRAINYARD_AGENT_LINK, inbox, shipper, changed: (kind) => { link = kind; } },
    leases: { held: () => ledger.held(), gpus: place.gpus.report, draining: () => stopping === "drain" || stopping === "now", host: hostDescription, onHostChange: (listener) => {
      hostListeners.add(listener);
      return () => hostListeners.delete(listener);
    } },
    async opened(opened, sentAt) {
      sessionId = opened.sessionId;
      trust.renewed(sentAt, opened.leaseTtlMs);
      if (opened.watermark < spool.watermark) {
        log.error({ theirs: opened.watermark, ours: spool.watermark }, "the control plane has forgotten reports that it had committed; was its database restored from a backup? Those are gone here too; later ones follow");
        spool.regress(opened.watermark);
      }
      shipper.committed(opened.watermark);
      attempts.disown(opened.refused);
      await inbox.take(opened.orders);
      if (stopping === null) inbox.resume(); // D3
      sayConnected();
    },
    renewed(answer, opened, sentAt) {
      trust.renewed(sentAt, opened.leaseTtlMs);
      shipper.committed(answer.watermark);
      attempts.disown(answer.refused);
    },
  }).catch(fatal);
  const housekeeping = setInterval(() => tidyOnce(), HOUSEKEEPING_EVERY_MS);
  housekeeping.unref();
  let tidying: Promise<void> | null = null;
  const tidyOnce = (): void => { tidying ??= tidy().finally(() => { tidying = null; }); }; // a host that is away may hold one up
  void connected.then(tidyOnce); // an agent may never run for as long as HOUSEKEEPING_EVERY_MS
  const tidy = async (): Promise<void> => {
    const held = new Set(ledger.held().flatMap(({ attemptId }) => {
      const assignment = ledger.attempts.get(attemptId)?.assignment;
      return assignment === undefined ? [] : [attemptDirectory(attemptsRoot, assignment).root];
    }));
    const removed = await removeOldAttempts({ place, attemptsRoot, keepDays: config.TRAINYARD_AGENT_KEEP_DAYS, now: Date.now(), isHeld: (path) => held.has(path) }).catch((error: unknown) => {
      log.warn({ err: error }, "old attempts could not be removed");
      return [];
    });
    if (removed.length > 0) log.info({ removed: removed.length }, "directories of old attempts removed");
    const fetched = await removeOldDatasets({ datasetsRoot, keepDays: config.TRAINYARD_AGENT_KEEP_DAYS, now: Date.now() }).then(async (gone) => {
      await removeStaleNotes({ datasetsRoot, attemptsRoot });
      return gone;
    }).catch((error: unknown) => {
      log.warn({ err: error }, "fetched data sets could not be removed");
      return [];
    });
    if (fetched.length > 0) log.info({ removed: fetched.length }, "data sets that nothing used removed");
    const unused = await place.removeUnused(config.TRAINYARD_AGENT_KEEP_DAYS, () => ledger.held().map(({ attemptId }) => attemptId)).catch((error: unknown) => {
      if (!ended.signal.aborted) log.warn({ err: error }, "files that nothing used could not be removed from the host");
      return 0;
    });
    if (unused > 0) log.info({ removed: unused }, "files that nothing used removed from the host");
  };

  // ── the end ──
  let finished: Promise<void> | null = null;
  let detach: () => void = () => undefined;
  const detached = new Promise<void>((done) => { detach = done; });
  const finish = async (): Promise<void> => {
    if (stopping === "drain") await Promise.race([attempts.idle().then(() => shipper.drained()), nowOrDetached, detached]);
    if (stopping === "now") {
      await Promise.race([attempts.stopAll({ kind: "STOPPED" }), detached]);
      await Promise.race([shipper.drained(), delay(FAREWELL_MS, undefined, { ref: false }), detached]);
    }
    await attempts.leaveAll();
    ended.abort();
    await session;
    await shipper.stop();
    trust.close();
    clearInterval(housekeeping);
    versions.close();
    unlisten();
    remote?.close();
    client.destroy();
    await journal.close();
    options.release();
    log.info({ mode: stopping }, "agent stopped");
    if (fatalError !== null) failDone(fatalError);
  };
  let harder: () => void = () => undefined;
  const nowOrDetached = new Promise<void>((done) => { harder = done; });
  let sayDone: () => void = () => undefined;
  const done = new Promise<void>((yes, no) => { sayDone = yes; failDone = no; });
  done.catch(() => undefined); // whoever does not ask has read the log
  const rank: Record<StopMode, number> = { drain: 0, now: 1, detach: 2 };
  const stop = (mode: StopMode): Promise<void> => {
    if (stopping === null || rank[mode] > rank[stopping]) stopping = mode;
    if (mode !== "drain") harder();
    if (mode === "detach") detach();
    finished ??= finish().then(sayDone, failDone);
    return finished;
  };
  return { name, stop, done, connected, link: () => link, running: () => attempts.size };
}

/** What there is to say of the host: the same object while nothing new is known. A place in trouble can run nothing new, and says why. */
function describedBy(versions: HostVersions, place: ProgramPlace, capabilities: (found: Versions) => readonly string[]): () => HostDescription {
  let of: Versions | null = null;
  let trouble: string | null = null;
  let cpus = place.cpus();
  let said: HostDescription = { capabilities: [], versions: {} };
  return () => {
    const current = versions.current();
    if (current === of && place.trouble() === trouble && place.cpus() === cpus) return said;
    [of, trouble, cpus] = [current, place.trouble(), place.cpus()];
    const known = { ...current, hostCpus: String(cpus) };
    said = trouble === null ? { capabilities: [...capabilities(current)], versions: known } : { capabilities: [], versions: { ...known, problem: trouble.slice(0, 2_000) } };
    return said;
  };
}

function hasBegun(place: ProgramPlace, attemptsRoot: string, assignment: Assignment): boolean {
  try {
    const directory = attemptDirectory(attemptsRoot, assignment);
    return place.mayHaveBegun(directory) && (ownerOf(directory) ?? assignment.attemptId) === assignment.attemptId;
  } catch {
    return false; // names that make no path: it ends as soon as it is begun
  }
}

function openDirectory(path: string): string {
  try {
    mkdirSync(join(resolve(path), "attempts"), { recursive: true, mode: 0o700 });
    return realpathSync(path);
  } catch (error) {
    throw new AgentStartError("AGENT_DIRECTORY_UNUSABLE", `The agent's directory ${resolve(path)} cannot be used: ${(error as Error).message}. Set TRAINYARD_AGENT_DIR to one that this user may write.`);
  }
}

function readToken(config: AgentConfig): string {
  if (config.TRAINYARD_AGENT_TOKEN !== undefined) return config.TRAINYARD_AGENT_TOKEN;
  const file = config.TRAINYARD_AGENT_TOKEN_FILE;
  if (file === undefined) throw new AgentStartError("AGENT_TOKEN_MISSING", "This agent has no token. Make one with `trainyard token create --role agent` and set TRAINYARD_AGENT_TOKEN or TRAINYARD_AGENT_TOKEN_FILE.");
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new AgentStartError("AGENT_TOKEN_MISSING", `The token file ${file} cannot be read: ${(error as Error).message}. Check TRAINYARD_AGENT_TOKEN_FILE.`);
  }
}

/** Names the journal. A journal without its name gets a new one only while it is empty. */
function readEpoch(directory: string, journalHasReports: boolean): string {
  const file = join(directory, "epoch");
  try {
    const epoch = readFileSync(file, "utf8").trim();
    if (/^[0-9a-f]{24}$/.test(epoch)) return epoch;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  if (journalHasReports) throw new AgentStartError("AGENT_DIRECTORY_UNUSABLE", `The file ${file} is missing or damaged although the journal holds reports. Restore it, or move the whole directory aside and start afresh.`);
  const epoch = randomBytes(12).toString("hex");
  writeFileSync(`${file}.new`, `${epoch}\n`, { mode: 0o600, flush: true });
  renameSync(`${file}.new`, file);
  rmSync(`${file}.new`, { force: true });
  return epoch;
}

function ownVersion(): string {
  return (JSON.parse(readFileSync(packagePath("package.json"), "utf8")) as { version: string }).version;
}
