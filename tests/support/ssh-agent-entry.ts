// An agent for an SSH host in a process of its own, for tests that kill it: like agent-entry.ts, with the host in SSH_HOST (JSON of SshHostOfTest).
import { pino } from "pino";
import { agentConfigSchema, readConfig } from "../../src/config.js";
import { startAgent } from "../../src/agent/daemon.js";
import { createSshPlace } from "../../src/agent/place/ssh-place.js";
import type { HostAccess } from "../../src/hosts/host-access.js";

export interface SshHostOfTest { readonly access: HostAccess; readonly workingDirectory: string; readonly nvidiaSmi?: string }

const config = readConfig(agentConfigSchema, process.env);
const host = JSON.parse(process.env["SSH_HOST"]!) as SshHostOfTest;
const agent = await startAgent({
  config, log: pino({ level: config.TRAINYARD_LOG_LEVEL }, pino.destination(2)), environment: {},
  openPlace: ({ directory, attemptsRoot, ours }) => createSshPlace({
    name: "gpu1", access: async () => host.access, workingDirectory: host.workingDirectory, pythonEnvironment: null, commandPrefix: [], variables: {}, inherited: ["PATH", "HOME", "LANG"],
    nvidiaSmi: host.nvidiaSmi ?? "/nonexistent/nvidia-smi", directory, attemptsRoot, ours, sharedRoot: null, alarmed: () => undefined,
  }),
});
process.once("SIGTERM", () => void agent.stop("detach"));
process.stdout.write("started\n");
await agent.done;
