// The agent of a benchmark, in a process of its own: the real daemon, with stages that do nothing run inside it. Says {"ready":true}; answers questions on
// stdin: "latencies" → milliseconds from the end of a stage to the start of the next one of its pipeline, since the last question.

import { createInterface } from "node:readline";
import { pino } from "pino";
import { startAgent } from "../../src/agent/daemon.js";
import { agentConfigSchema, readConfig } from "../../src/config.js";

const config = readConfig(agentConfigSchema, process.env);
const endedAt = new Map<string, number>();
let latencies: number[] = [];

const agent = await startAgent({
  config,
  environment: process.env,
  log: pino({ level: config.TRAINYARD_LOG_LEVEL }, pino.destination(2)),
  runner: {
    takes: (assignment) => (assignment.params["run"] as string[] | undefined)?.[0] === "noop",
    run: (assignment) => {
      const last = endedAt.get(assignment.pipelineId);
      const now = performance.now();
      if (last !== undefined) latencies.push(now - last);
      endedAt.set(assignment.pipelineId, now);
      if (endedAt.size > 10_000) endedAt.delete(endedAt.keys().next().value!);
      return { kind: "COMPLETED", outputs: {} };
    },
  },
});
await agent.connected;
createInterface({ input: process.stdin }).on("line", (question) => {
  if (question !== "latencies") return;
  console.log(JSON.stringify(latencies));
  latencies = [];
});
process.on("SIGTERM", () => void agent.stop("now").then(() => process.exit(0)));
console.log(JSON.stringify({ ready: true }));
