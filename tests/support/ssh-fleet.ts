// A real control plane, SSH hosts that were added to it, and the process that acts for all of them, in this process.
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { onTestFinished } from "vitest";
import { sealedSecrets } from "../../src/access/sealed-secrets.js";
import { createSshHosts, type NewSshHost, type SshHosts } from "../../src/access/ssh-hosts.js";
import { startSshAgents, type SshAgents } from "../../src/cli/ssh-agents/ssh-agents.js";
import { startPipelineWorld, type PipelineWorld } from "../simulation/pipeline-world.js";
import { agentConfig, agentDirectory } from "./agents.js";
import type { OwnSshd } from "./sshd.js";

const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });

export interface FleetWorld {
  readonly world: PipelineWorld;
  readonly sshHosts: SshHosts;
  /** Adds the host as a user does. */
  add(name: string, sshd: OwnSshd, changes?: Partial<NewSshHost>): Promise<string>;
  /** The process that acts for all of them. `settings`: of every agent; `to`: where it logs. */
  start(directory?: string, settings?: Record<string, string>, to?: Logger): SshAgents;
}

export async function fleetWorld(options: Parameters<typeof startPipelineWorld>[0] = {}): Promise<FleetWorld> {
  const world = await startPipelineWorld(options);
  const sshHosts = createSshHosts({ db: world.database.db, secrets: sealedSecrets({ value: undefined, file: join(agentDirectory(), "secret-key") }), agentSocket: undefined });
  return {
    world, sshHosts,
    async add(name, sshd, changes = {}) {
      const { id } = await sshHosts.add({
        name, host: "127.0.0.1", port: sshd.port, username: sshd.access().username, privateKey: sshd.privateKey, privateKeyPath: null, passphrase: null, password: null, useSshAgent: false, jump: null,
        workingDirectory: join(sshd.folder, "work"), pythonEnvironment: null, commandPrefix: [], environment: {}, hostKeyFingerprint: sshd.hostKey.fingerprint, ...changes,
      }, "test", async () => undefined);
      return id;
    },
    start(directory = agentDirectory(), settings = {}, to = log) {
      const agents = startSshAgents({ databaseUrl: world.databaseUrl, sshHosts, config: agentConfig(new URL(world.url).origin, directory, { TRAINYARD_AGENT_TOKEN: world.agentToken, TRAINYARD_AGENT_LINK: "https", ...settings }), directory, environment: {}, log: to });
      onTestFinished(() => agents.stop("now"));
      return agents;
    },
  };
}
