// An agent with a folder of data, and stages that prepare it. For the tests beside this file.
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { asyncBufferFromFile, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { inject } from "vitest";
import type { Assignment, ReportOf } from "../../../src/protocol/messages.js";
import { startAgentWorld, type World } from "../../support/agents.js";
import { commandAssignment } from "../../support/control-plane-peer.js";

export interface DataWorld extends World {
  /** The agent's one data directory. */
  readonly data: string;
  /** Writes a file below the data directory; answers its path. */
  file(name: string, content: string | Uint8Array): string;
  /** Hands the stage to the agent and waits for its end. */
  run(assignment: Assignment, deadlineMs?: number): Promise<ReportOf<"ended">["outcome"]>;
}

export function dataFolder(): string {
  return mkdtempSync(join(inject("runFolder"), "data-"));
}

export async function startDataWorld(options: Parameters<typeof startAgentWorld>[0] = {}): Promise<DataWorld> {
  const data = dataFolder();
  const world = await startAgentWorld({ ...options, settings: { TRAINYARD_DATA_DIRS: data, ...options.settings } });
  return {
    ...world, data,
    file(name, content) {
      const path = join(data, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
      return path;
    },
    async run(assignment, deadlineMs = 15_000) {
      world.peer.order({ type: "assign", assignment });
      return (await world.peer.report("ended", assignment.attemptId, deadlineMs)).outcome;
    },
  };
}

/** An assignment of a preprocess stage. */
export function preparing(params: Record<string, unknown>, more: Partial<Omit<Assignment, "params">> = {}): Assignment {
  const assignment = commandAssignment([], { kind: "preprocess", stage: "prepare", ...more });
  return { ...assignment, params: params as Assignment["params"] };
}

/** Exercises in the form of GSM8K, one a line: no two alike. */
export function exercises(count: number, from = 0): string {
  return Array.from({ length: count }, (_, index) => {
    const [a, b] = [from + index + 1, (from + index) * 7 + 3];
    return `${JSON.stringify({ question: `Kiosk ${a} sells ${a} apples and ${b} pears. How many pieces of fruit is that?`, answer: `${a} + ${b} = ${a + b}.\n#### ${(a + b).toLocaleString("en-US")}` })}\n`;
  }).join("");
}

/** The two ways in which a run for GSM8K prepares its data. */
export const SFT = { task: "sft", columns: { prompt: "question", response: "answer" }, dedupe: "normalized", filter: { maxChars: 4_000 }, split: { validation: 0.1, seed: 7 } };
export const RL = { task: "rl", columns: { prompt: "question", answer: "answer" }, answerPattern: "#### (-?[0-9.,]+)", dataSource: "openai/gsm8k", split: { validation: 0.1, seed: 7 } };

export async function rowsOf(path: string): Promise<Record<string, unknown>[]> {
  return (await parquetReadObjects({ file: await asyncBufferFromFile(path), compressors })) as Record<string, unknown>[];
}

export function manifestOf(outputs: Record<string, unknown>): { rows: Record<string, number>; inputs: { name: string; sha256: string }[] } {
  return JSON.parse(readFileSync(outputs["manifestFile"] as string, "utf8")) as ReturnType<typeof manifestOf>;
}

/** The outputs of a stage that must have completed. */
export function outputsOf(outcome: ReportOf<"ended">["outcome"]): Record<string, unknown> & { trainFile: string; validationFile: string; manifestFile: string; rejectsFile: string } {
  if (outcome.kind !== "COMPLETED") throw new Error(`it did not complete: ${JSON.stringify(outcome)}`);
  return outcome.outputs as ReturnType<typeof outputsOf>;
}
