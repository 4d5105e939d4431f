// Brings an agent of its own onto a host, or a new release in the place of the one there, without stopping what it runs.
//   A1. Everything that can be refused is refused before anything is sent: the host's system, Node, room, rights, the way from there to the control plane.
//   A2. The new release stands whole beside the old one before the old agent is asked to let go; it leaves its programs running, and the new one adopts them.
//   A3. A new agent that does not report in is taken back by itself: the release and the configuration before run again.
//   A4. What is there already is found there: the same order given again does only what is missing.

import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { AgentPackage, PackedFile, PackedNode } from "./agent-package.js";
import { DeployError } from "./deploy-error.js";
import type { DeployProgress } from "./deploy-progress.js";
import { DeployRefusal, type Deployer } from "./deployer.js";
import { chooseNode, ownNodeSystem, refuseLackOfRoom, type HostLook, type RunningAgent, type Supervision } from "./host-fitness.js";

/** How long a new agent may take to report in, in milliseconds. */
const REPORT_IN_MS = 120_000;
/** So many starts without reporting in are enough. */
const STARTS = 4;
const LOOK_MS = 500;
const DETACH_MS = 60_000;

export interface DeployOrder {
  /** Of the host, and of its agent. */
  readonly name: string;
  readonly url: string;
  /** PEM; null: the authorities that Node knows. */
  readonly caCertificate: string | null;
  /** The agent's configuration, but for what follows from where it lies. */
  readonly configuration: Readonly<Record<string, string>>;
  /** Stands first in PATH; null: nothing. */
  readonly pathFirst: string | null;
  readonly sendNode: boolean;
  /** For tests: REPORT_IN_MS. */
  readonly reportInMs?: number;
}

/** What the control plane knows and does while an order is carried out. */
export interface DeployParts {
  packAgent(): Promise<AgentPackage>;
  packNode(): Promise<PackedNode>;
  /** Brings the file to the host and resolves with its path there. */
  send(file: PackedFile, moved: (bytes: number) => void): Promise<string>;
  /** A token for the agent; null: the one on the host, of this sha256, is right. */
  token(onHostSha256: string | null): Promise<string | null>;
  /** Throws when somebody else works under the host's name, or acts for it. Changes nothing. */
  refuseClash(): Promise<void>;
  /** From now on the host is its own agent's; false: it was before. Throws as refuseClash. */
  takeOver(): Promise<boolean>;
  /** Nothing of ours runs there after all. */
  giveBack(): Promise<void>;
  /** Whether the agent is connected now. */
  isOnline(): Promise<boolean>;
}

export interface Deployed {
  readonly release: string;
  readonly version: string;
  readonly supervision: Supervision;
  /** What the operator should know, in words. */
  readonly notes: readonly string[];
  /** Whether anything was started anew. */
  readonly restarted: boolean;
}

/** The name of the unit of a host's agent. */
export function unitOf(name: string): string {
  return `trainyard-agent-${name}.service`;
}

/** Throws SshError, DeployError, AgentPackageError, and what the parts throw. */
export async function deployAgent(order: DeployOrder, deployer: Deployer, parts: DeployParts, progress: DeployProgress, signal: AbortSignal): Promise<Deployed> {
  const { name } = order;
  const unit = unitOf(name);

  // ── A1 ──
  let step = progress.begin("look at the host");
  await parts.refuseClash();
  const look = await deployer.ask<HostLook>("look", { unit });
  const choice = chooseNode(name, look, ownNodeSystem(), order.sendNode);
  step.done(`${look.system} ${look.machine}, ${choice.path === null ? "no Node of its own is used" : `Node ${choice.version} (${choice.path})`}${look.current === null ? "" : "; an agent was deployed before"}`);

  step = progress.begin("reach the control plane from there");
  const token = await parts.token(look.tokenSha256);
  await refuseUnreachable(order, deployer, token);
  step.done(order.url);

  step = progress.begin("pack the agent");
  const packed = await parts.packAgent();
  const node = choice.path === null ? await parts.packNode() : null;
  const nodeThere = node !== null && (await deployer.ask<{ there: boolean }>("has-node", { sha256: node.sha256 })).there;
  const release = createHash("sha256").update(`${packed.hash} ${node === null ? `${choice.path} ${choice.version}` : node.sha256}`).digest("hex").slice(0, 40);
  const wanted = { release, packageHash: packed.hash, node: node === null ? { path: choice.path } : { sha256: node.sha256 } };
  const { whole } = await deployer.ask<{ whole: boolean }>("installed", wanted);
  const files = whole ? [] : [packed.archive, ...(node === null || nodeThere ? [] : [node.archive])];
  refuseLackOfRoom(name, look, whole ? 0 : packed.unpackedBytes + (node === null || nodeThere ? 0 : node.unpackedBytes) + files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  step.done(`trainyard ${packed.version}, release ${release.slice(0, 12)}`);

  // ── A2 ──
  if (!whole) {
    step = progress.begin(files.length > 1 ? "send the agent and Node" : "send the agent");
    const total = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    let before = 0;
    const sent: string[] = [];
    for (const file of files) {
      sent.push(await parts.send(file, (bytes) => step.moved(before + bytes, total)));
      before += file.sizeBytes;
      step.moved(before, total);
    }
    step.done();
    step = progress.begin("unpack and try it");
    await deployer.ask("install", { ...wanted, archive: sent[0], node: node === null ? wanted.node : { sha256: node.sha256, archive: sent[1] ?? null } }, 600_000);
    step.done();
  }

  step = progress.begin("start the agent");
  const { supervision, notes } = await superviseBy(deployer, look);
  const config = configOf(order, look);
  const configSha256 = createHash("sha256").update(config).digest("hex");
  const { running } = look;
  const restarted = token !== null || running.agent?.release !== release || running.agent.configSha256 !== configSha256 || running.supervision !== supervision || look.configSha256 !== configSha256;
  if (restarted) {
    const isNew = (await parts.takeOver()) || look.current === null;
    try {
      await deployer.ask("activate", { release, config, token, ca: order.caCertificate });
      await deployer.ask("stop", { unit, mode: "detach", patienceMs: DETACH_MS }, DETACH_MS + 60_000);
    } catch (error) {
      if (isNew && !signal.aborted) await parts.giveBack();
      throw error;
    }
    const trouble = await deployer.ask("start", { unit, name, supervision }).then(() => reportsIn(order, deployer, parts, release, signal), refusalOf);
    if (trouble !== null) {
      step.detail("it does not report in");
      throw await takenBack({ order, deployer, parts, supervision: running.supervision ?? supervision, trouble, signal });
    }
    step.done(supervision === "SYSTEMD" ? `as the systemd user unit ${unit}` : "kept running by a supervising process");
  } else {
    const trouble = await reportsIn(order, deployer, parts, release, signal);
    if (trouble !== null) throw new DeployError("DEPLOY_START_FAILED", name, trouble);
    step.done("it runs already, as ordered");
  }

  step = progress.begin("tidy up");
  await deployer.ask("tidy", { sent: files.map(({ sha256 }) => sha256) });
  step.done();
  return { release, version: packed.version, supervision, notes, restarted };
}

/** A1. Throws DeployError. */
async function refuseUnreachable({ name, url, caCertificate }: DeployOrder, deployer: Deployer, token: string | null): Promise<void> {
  const endpoint = `${url.replace(/\/(graphql\/?)?$/, "")}/agent/v1/poll`;
  const { status, error, code } = await deployer.ask<{ status: number | null; error: string | null; code?: string | null }>("reach", { url: endpoint, token: token ?? "none", ca: caCertificate });
  const step = "Give the address under which that host reaches the control plane: trainyard host deploy NAME --agent-url https://…";
  if (status === null) throw new DeployError("DEPLOY_URL_UNREACHABLE", name, `it does not reach the control plane at ${url}: ${error ?? "no answer"}. ${/certificate/i.test(error ?? "") ? "Give the authority that signed the certificate with --ca FILE. " : ""}${step}`);
  if (token === null ? status === 401 && code === "UNAUTHENTICATED" : status === 400 && code === "INVALID_INPUT") return;
  if (status === 401) throw new DeployError("DEPLOY_URL_UNREACHABLE", name, `another control plane answers it at ${url}: one that does not know the token that was just made. ${step}`);
  throw new DeployError("DEPLOY_URL_UNREACHABLE", name, `what answers it at ${url} is no control plane (HTTP ${status}). ${step}`);
}

/** A systemd user unit where one holds; a supervising process otherwise, and why. */
async function superviseBy(deployer: Deployer, { systemd, user }: HostLook): Promise<{ readonly supervision: Supervision; readonly notes: string[] }> {
  if (!systemd.usable) return { supervision: "SUPERVISED", notes: [`There is no systemd for this user there (${systemd.reason ?? "unknown reason"}): a supervising process keeps the agent running. It does not come back after a reboot of the host; give the order again then.`] };
  if (systemd.linger || (await deployer.ask<{ linger: boolean }>("linger")).linger) return { supervision: "SYSTEMD", notes: [] };
  return { supervision: "SUPERVISED", notes: [`systemd would end a unit of ${user} at logout: a supervising process keeps the agent running instead, and does not come back after a reboot. For a unit run on the host: sudo loginctl enable-linger ${user}; then give the order again.`] };
}

function configOf(order: DeployOrder, { directory, path }: HostLook): string {
  const environment: Record<string, string> = {
    ...order.configuration,
    TRAINYARD_URL: order.url, TRAINYARD_AGENT_NAME: order.name, TRAINYARD_AGENT_DIR: `${directory}/agent/state`, TRAINYARD_AGENT_TOKEN_FILE: `${directory}/agent/token`,
    ...(order.caCertificate === null ? {} : { TRAINYARD_CA_FILE: `${directory}/agent/ca.pem` }),
    PATH: order.pathFirst === null ? path : `${order.pathFirst}:${path}`,
  };
  return `${JSON.stringify({ environment: Object.fromEntries(Object.entries(environment).sort(([a], [b]) => (a < b ? -1 : 1))) }, null, 1)}\n`;
}

/** Null when the agent of that release is connected; otherwise what is known of why not. */
async function reportsIn(order: DeployOrder, deployer: Deployer, parts: DeployParts, release: string | null, signal: AbortSignal): Promise<string | null> {
  const patienceMs = order.reportInMs ?? REPORT_IN_MS;
  const until = performance.now() + patienceMs;
  for (;;) {
    const state = await deployer.ask<RunningAgent>("state", { unit: unitOf(order.name) });
    if (state.agent !== null && (release === null || state.agent.release === release) && state.agent.connectedAt !== null && (await parts.isOnline())) return null;
    const crashes = state.starts >= STARTS && state.agent?.connectedAt == null;
    if (crashes || performance.now() > until) {
      const { lines } = await deployer.ask<{ lines: string[] }>("log", { unit: unitOf(order.name), lines: 20 });
      return `${crashes ? `its agent ended ${state.starts - 1} times without reporting in` : `its agent did not report in within ${Math.round(patienceMs / 1_000)} s`}. ${causeIn(lines)}`;
    }
    await delay(LOOK_MS, undefined, { signal });
  }
}

/** What the host said to the order to start; nobody is left then. Throws what is no answer of the host's: how far it came is not known. */
function refusalOf(error: unknown): string {
  const { cause } = error as Error;
  if (cause instanceof DeployRefusal && cause.code !== "BUSY") return `its agent could not be started: ${cause.message}.`;
  throw error;
}

/** The last lines of the log that say something, for people. */
function causeIn(lines: readonly string[]): string {
  const said = lines.flatMap((line) => {
    if (!line.startsWith("{")) return /\S/.test(line) ? [line.trim()] : [];
    try {
      const { level, msg, err } = JSON.parse(line) as { level?: number; msg?: string; err?: { message?: string } };
      return (level ?? 0) < 40 ? [] : [`${msg ?? ""}${err?.message === undefined ? "" : ` (${err.message})`}`];
    } catch {
      return [];
    }
  });
  return said.length === 0 ? "Its log says nothing of why; look at agent/logs in the working directory." : `Its log ends: ${[...new Set(said)].slice(-4).join(" | ").slice(0, 2_000)}`;
}

/** A3. Resolves with the error to throw. */
async function takenBack({ order, deployer, parts, supervision, trouble, signal }: { order: DeployOrder; deployer: Deployer; parts: DeployParts; supervision: Supervision; trouble: string; signal: AbortSignal }): Promise<DeployError> {
  const unit = unitOf(order.name);
  await deployer.ask("stop", { unit, mode: "detach", patienceMs: DETACH_MS }, DETACH_MS + 60_000);
  const { release } = await deployer.ask<{ release: string | null }>("revert");
  if (release === null) {
    await parts.giveBack();
    return new DeployError("DEPLOY_START_FAILED", order.name, `${trouble} Nothing runs there now. Mend the cause, then deploy again.`);
  }
  const still = await deployer.ask("start", { unit, name: order.name, supervision }).then(() => reportsIn(order, deployer, parts, release, signal), refusalOf);
  return new DeployError("DEPLOY_START_FAILED", order.name, `${trouble} ${still === null ? "The release before runs again." : `The release before was started again, but: ${still}`}`);
}
