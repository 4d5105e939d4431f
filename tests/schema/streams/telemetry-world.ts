// For tests of the telemetry streams: the API, one agent that holds what it is given, and stages that run on it.
import { commands } from "../../support/specs.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import type { ScriptedAgent } from "../../support/world.js";
import { startApi, type Api } from "../api-world.js";

export interface TelemetryWorld {
  readonly api: Api;
  readonly agent: ScriptedAgent;
  /** A stage that runs, and its assignment. */
  running(name: string): Promise<{ readonly stageId: string; readonly assignment: Assignment }>;
}

export async function startTelemetryWorld(): Promise<TelemetryWorld> {
  const api = await startApi();
  const agent = await api.world.agent({ name: "box", pools: [{ queues: ["default"], concurrency: 100 }], run: () => "hold" });
  return {
    api, agent,
    async running(name) {
      const id = await api.world.submit(commands(name, [{ name }]));
      await api.world.until(id, (state) => state.stages.at(0).status === "RUNNING");
      const assignment = agent.started.find((each) => each.pipelineId === id)!;
      return { stageId: assignment.stageId, assignment };
    },
  };
}
