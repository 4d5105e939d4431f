// Programs that go on when the server stops.
import type { ApiClient } from "../api/client.js";

export interface RunningProgram { readonly pipelineId: string; readonly pipeline: string; readonly stage: string; readonly attempt: number; readonly agent: string }

interface Answer {
  readonly agents: readonly { readonly name: string; readonly running: readonly { readonly number: number; readonly stage: { readonly name: string; readonly pipeline: { readonly id: string; readonly name: string } } }[] }[];
}

/** What runs now or is just about to; empty when the server does not say. */
export async function runningPrograms(api: ApiClient): Promise<RunningProgram[]> {
  try {
    const { agents } = await api.call<Answer>("query Running { agents { name running { number stage { name pipeline { id name } } } } }");
    return agents.flatMap(({ name, running }) => running.map(({ number, stage }) => ({ pipelineId: stage.pipeline.id, pipeline: stage.pipeline.name, stage: stage.name, attempt: number, agent: name })));
  } catch {
    return [];
  }
}
