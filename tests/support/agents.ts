// Agents for tests: in this process, or in one of their own that can be killed.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { pino } from "pino";
import { inject, onTestFinished } from "vitest";
import { startAgent, type Agent, type AgentOptions } from "../../src/agent/daemon.js";
import { createLocalPlace } from "../../src/agent/place/local-place.js";
import { agentConfigSchema, readConfig, type AgentConfig } from "../../src/config.js";
import { packagePath } from "../../src/package-root.js";
import { PEER_TOKEN, startPeer, type Peer, type PeerOptions } from "./control-plane-peer.js";

/** This machine as a place, of no agent. */
export const testPlace = createLocalPlace({ environment: {}, inherited: [], checkpointRoots: [], nvidiaSmi: "/nonexistent/nvidia-smi", cpus: 4, ours: async () => new Set() });

export function agentDirectory(): string {
  return mkdtempSync(join(inject("runFolder"), "agent-"));
}

export function agentEnvironment(url: string, directory: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    TRAINYARD_URL: url, TRAINYARD_AGENT_TOKEN: PEER_TOKEN, TRAINYARD_AGENT_NAME: "test", TRAINYARD_AGENT_DIR: directory,
    TRAINYARD_NVIDIA_SMI: "/nonexistent/nvidia-smi", TRAINYARD_LOG_LEVEL: "silent", ...more,
  };
}

export function agentConfig(url: string, directory: string, more: Record<string, string> = {}): AgentConfig {
  return readConfig(agentConfigSchema, agentEnvironment(url, directory, more));
}

/** As a reboot leaves it: the journal of an agent that does not run names a boot that is over. */
export function ageJournal(directory: string): void {
  const journals = join(directory, "journal");
  for (const name of readdirSync(journals)) {
    const lines = readFileSync(join(journals, name), "utf8").split("\n").map((line) => {
      if (!line.includes("\tprogram\t")) return line;
      const content = line.slice(9).replace(/"realm":"[^"]*"/, '"realm":"another boot"');
      return `${crc32(content).toString(16).padStart(8, "0")}\t${content}`;
    });
    writeFileSync(join(journals, name), lines.join("\n"));
  }
}

/** An agent in this process; ended with its programs when the test is over. */
export async function startTestAgent(url: string, directory: string, options: { settings?: Record<string, string>; environment?: Record<string, string> } & Pick<AgentOptions, "runner"> = {}): Promise<Agent> {
  const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  const agent = await startAgent({
    config: agentConfig(url, directory, options.settings), log, environment: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.environment },
    ...(options.runner === undefined ? {} : { runner: options.runner }),
  });
  onTestFinished(async () => {
    await agent.stop("now");
  });
  return agent;
}

export interface World { readonly peer: Peer; readonly agent: Agent; readonly directory: string }

/** A peer and an agent that is connected to it. */
export async function startAgentWorld(options: { peer?: PeerOptions; settings?: Record<string, string>; environment?: Record<string, string> } & Pick<AgentOptions, "runner"> = {}): Promise<World> {
  const directory = agentDirectory();
  const peer = await startPeer(options.peer);
  onTestFinished(() => peer.stop());
  const agent = await startTestAgent(peer.url, directory, options);
  await agent.connected;
  return { peer, agent, directory };
}

export interface AgentProcess {
  readonly child: ChildProcess;
  /** Resolves with the signal or code it ended with. */
  readonly ended: Promise<number | NodeJS.Signals>;
  /** Resolves when it has started. */
  readonly started: Promise<void>;
  kill(signal?: NodeJS.Signals): Promise<void>;
}

/** An agent in a process of its own; killed when the test is over. `entry`: its program in tests/support. */
export function startAgentProcess(url: string, directory: string, more: Record<string, string> = {}, entry = "agent-entry.ts"): AgentProcess {
  const child = spawn(process.execPath, ["--import", "tsx", packagePath("tests", "support", entry)], {
    cwd: packagePath(), env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...agentEnvironment(url, directory, more) }, stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<number | NodeJS.Signals>((done) => child.once("exit", (code, signal) => done(signal ?? code ?? 0)));
  const started = new Promise<void>((ready, failed) => {
    child.stdout?.once("data", () => ready());
    void ended.then((how) => failed(new Error(`the agent process ended with ${how} before it had started`)));
  });
  started.catch(() => undefined);
  const kill = async (signal: NodeJS.Signals = "SIGKILL"): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  onTestFinished(() => kill());
  return { child, ended, started, kill };
}
