// An agent in a process of its own, for tests that kill it: configured by its environment, says "started" on stdout. SIGTERM detaches.
import { pino } from "pino";
import { startAgent } from "../../src/agent/daemon.js";
import { agentConfigSchema, readConfig } from "../../src/config.js";

const config = readConfig(agentConfigSchema, process.env);
const agent = await startAgent({ config, log: pino({ level: config.TRAINYARD_LOG_LEVEL }, pino.destination(2)), environment: process.env });
process.once("SIGTERM", () => void agent.stop("detach"));
process.stdout.write("started\n");
await agent.done;
