// Whether an agent can live on a host, and with which Node: judged from what the host says of itself, before anything is sent there.

import { DeployError } from "./deploy-error.js";
import { SshError } from "../ssh-error.js";

/** What the deploy program finds (`look`). */
export interface HostLook {
  readonly system: string;
  readonly machine: string;
  /** "glibc 2.36"; null for another C library. */
  readonly libc: string | null;
  /** The working directory, absolute and real. */
  readonly directory: string;
  readonly path: string;
  readonly user: string;
  readonly freeBytes: number;
  readonly nodes: readonly { readonly path: string; readonly version: string }[];
  readonly systemd: { readonly usable: boolean; readonly reason: string | null; readonly linger: boolean };
  readonly current: string | null;
  readonly running: RunningAgent;
  readonly tokenSha256: string | null;
  readonly configSha256: string | null;
}

export interface RunningAgent {
  readonly agent: { readonly pid: number; readonly startedAt: string; readonly release: string; readonly configSha256: string; readonly connectedAt: string | null } | null;
  readonly supervision: Supervision | null;
  readonly processes: readonly { readonly pid: number; readonly kind: "agent" | "supervisor" }[];
  /** Times that it was started since the order to start. */
  readonly starts: number;
}

export type Supervision = "SYSTEMD" | "SUPERVISED";

/** The system of a Node binary: that of this process, or of another in tests. */
export interface NodeSystem {
  readonly platform: string;
  readonly arch: string;
  /** "2.36"; null for musl. */
  readonly glibc: string | null;
}

const MACHINES: Readonly<Record<string, string>> = { x86_64: "x64", amd64: "x64", aarch64: "arm64", arm64: "arm64", ppc64le: "ppc64", s390x: "s390x" };
const SPARE_BYTES = 64 * 1024 * 1024;

export function ownNodeSystem(): NodeSystem {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return { platform: process.platform, arch: process.arch, glibc: header.glibcVersionRuntime ?? null };
}

/** Whether this version can run the agent: 20.19 or newer, but for lines that lack what 20.19 has. */
export function nodeSuffices(version: string): boolean {
  const [major, minor] = (/^v(\d+)\.(\d+)\./.exec(version) ?? []).slice(1).map(Number);
  if (major === undefined || minor === undefined) return false;
  return major === 20 ? minor >= 19 : major === 22 ? minor >= 12 : major > 22;
}

export interface NodeChoice {
  /** On the host; null: the control plane's own is sent. */
  readonly path: string | null;
  readonly version: string | null;
}

/** Throws DeployError when neither fits. `send`: never the host's own. */
export function chooseNode(name: string, look: HostLook, own: NodeSystem, send: boolean): NodeChoice {
  if (look.system !== "Linux") throw new DeployError("DEPLOY_HOST_UNFIT", name, `it runs ${look.system}; agents are deployed on Linux only.`);
  const theirs = look.nodes.find(({ version }) => nodeSuffices(version));
  if (theirs !== undefined && !send) return theirs;
  const seen = look.nodes.map(({ path, version }) => `${path} is ${version}`).join(", ");
  const install = `Install Node 20.19 or newer on it${seen === "" ? "" : ` (${seen})`}, on the PATH of ${look.user}, then deploy again.`;
  const arch = MACHINES[look.machine] ?? look.machine;
  if (own.platform !== "linux" || arch !== own.arch) throw new DeployError("DEPLOY_HOST_UNFIT", name, `the control plane's Node is for ${own.platform} ${own.arch}, and it is Linux ${look.machine}. ${install}`);
  if ((look.libc === null) !== (own.glibc === null)) throw new DeployError("DEPLOY_HOST_UNFIT", name, `the control plane's Node needs ${own.glibc === null ? "musl" : "glibc"}, and it has another C library. ${install}`);
  return { path: null, version: null };
}

/** Throws SshError when the disk has no room for so much. */
export function refuseLackOfRoom(name: string, look: HostLook, neededBytes: number): void {
  if (look.freeBytes >= neededBytes + SPARE_BYTES) return;
  const mib = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;
  throw new SshError("SSH_DISK_FULL", name, `${mib(neededBytes + SPARE_BYTES)} are needed in ${look.directory}, and ${mib(look.freeBytes)} are free. Free space, or name a working directory on a larger disk. Nothing was sent.`);
}
