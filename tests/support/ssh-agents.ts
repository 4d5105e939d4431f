// An agent for an SSH host in this process: the daemon, its place over a real sshd, and a control plane in memory.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { pino } from "pino";
import { startAgent, type Agent } from "../../src/agent/daemon.js";
import { createSshPlace, type SshPlace, type SshPlaceOptions } from "../../src/agent/place/ssh-place.js";
import type { HostAccess } from "../../src/hosts/host-access.js";
import type { SshError } from "../../src/hosts/ssh-error.js";
import { agentConfig, agentDirectory } from "./agents.js";
import { startPeer, type Peer } from "./control-plane-peer.js";
import { startSshd, type OwnSshd } from "./sshd.js";

export interface SshAgentWorld {
  readonly peer: Peer;
  readonly sshd: OwnSshd;
  readonly agent: Agent;
  /** Of the agent that runs now. */
  place(): SshPlace;
  /** Of the agent, here. */
  readonly directory: string;
  /** Working directory on the "host", which is this machine. */
  readonly there: string;
  readonly alarms: readonly SshError[];
  /** Directory of an attempt there. */
  attemptThere(assignment: { readonly pipelineId: string; readonly stage: string; readonly fence: number }): string;
  /** Ends the daemon as a restart does, and starts the next one on the same directory. */
  restart(): Promise<Agent>;
}

export interface SshAgentOptions {
  readonly sshd?: OwnSshd;
  readonly access?: (sshd: OwnSshd) => HostAccess;
  readonly place?: Partial<SshPlaceOptions>;
  /** What stands between the agent and its place. */
  readonly around?: (place: SshPlace) => Partial<SshPlace>;
  readonly settings?: Record<string, string>;
  /** Attempt folders of other agents here. */
  readonly neighbours?: readonly string[];
  /** Processors that the host is said to have: trainers count on more than a test machine may have. */
  readonly cpus?: number;
}

export async function sshdForTest(options: Parameters<typeof startSshd>[0] = {}): Promise<OwnSshd> {
  const sshd = await startSshd(options);
  onTestFinished(() => sshd.stop());
  return sshd;
}

export async function startSshAgentWorld(options: SshAgentOptions = {}): Promise<SshAgentWorld> {
  const sshd = options.sshd ?? (await sshdForTest());
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  const directory = agentDirectory();
  const there = join(sshd.folder, "work");
  const alarms: SshError[] = [];
  let place: SshPlace;
  const start = (): Promise<Agent> => startAgent({
    config: agentConfig(peer.url, directory, options.settings), log: pino({ level: process.env["TEST_LOG"] ?? "silent" }), environment: {}, neighbours: () => options.neighbours ?? [],
    openPlace({ directory: of, attemptsRoot, ours }) {
      const opened = createSshPlace({
        name: "gpu1", access: async () => options.access?.(sshd) ?? sshd.access(), workingDirectory: there, pythonEnvironment: null, commandPrefix: [], variables: {}, inherited: ["PATH", "HOME", "LANG"],
        nvidiaSmi: "/nonexistent/nvidia-smi", directory: of, attemptsRoot, ours, sharedRoot: options.settings?.["TRAINYARD_AGENT_SHARED_DIR"] ?? null, alarmed: (error) => alarms.push(error), ...options.place,
      });
      place = { ...opened, ...(options.cpus === undefined ? {} : { cpus: () => options.cpus! }), ...options.around?.(opened) };
      return place;
    },
  });
  let agent = await start();
  onTestFinished(() => agent.stop("now"));
  return {
    peer, sshd, directory, there, alarms, place: () => place,
    get agent() { return agent; },
    attemptThere: ({ pipelineId, stage, fence }) => join(there, "attempts", pipelineId, stage, String(fence)),
    async restart() {
      await agent.stop("detach");
      agent = await start();
      return agent;
    },
  };
}

export function makeFolder(path: string): string {
  if (!existsSync(path)) mkdirSync(path, { recursive: true });
  return path;
}
