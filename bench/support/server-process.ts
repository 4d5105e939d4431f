// The control plane of a benchmark, in a process of its own. Says {"url"} when it is ready.

import { pino } from "pino";
import { readConfig, serverConfigSchema } from "../../src/config.js";
import { startControlPlaneServer } from "../../src/server/control-plane-server.js";

const config = readConfig(serverConfigSchema, process.env);
const server = await startControlPlaneServer({ config, log: pino({ level: config.TRAINYARD_LOG_LEVEL }, pino.destination(2)) });
process.on("SIGTERM", () => void server.close().then(() => process.exit(0)));
console.log(JSON.stringify({ url: server.url }));
