// A control plane and an agent, both real and in this process unless a test wants to kill the agent, and a client of the public API. For simulated trainings.

import { pino } from "pino";
import { onTestFinished } from "vitest";
import { createToken } from "../../src/access/tokens.js";
import { readConfig, serverConfigSchema } from "../../src/config.js";
import { openDatabase, type OpenedDatabase } from "../../src/db/database.js";
import { startControlPlaneServer } from "../../src/server/control-plane-server.js";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { agentDirectory, startAgentProcess, startTestAgent, type AgentProcess } from "../support/agents.js";
import { createTestDatabase } from "../support/postgres.js";
import { SCENARIO_VARIABLE } from "../../src/simulation/stand-in.js";

export interface AttemptAnswer { readonly number: number; readonly status: string; readonly error: { readonly code: string; readonly message: string } | null }
export interface StageAnswer {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly outputs: Record<string, unknown> | null;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly attempts: readonly AttemptAnswer[];
}
export interface JobAnswer {
  readonly simulated: boolean;
  readonly checkpoints: readonly { readonly step: number; readonly deletedAt: string | null }[];
  readonly anomalies: readonly { readonly kind: string; readonly attempt: number; readonly action: string }[];
}

export interface PipelineWorld {
  readonly database: OpenedDatabase;
  readonly agentDirectory: string;
  /** Where the server answers, and a token of an admin. */
  readonly url: string;
  readonly admin: string;
  readonly databaseUrl: string;
  /** Token of agents, of any name. */
  readonly agentToken: string;
  ask<T>(query: string, variables?: Record<string, unknown>): Promise<T>;
  /** Submits and answers the id; throws Error with the problems. */
  submit(stages: readonly Record<string, unknown>[]): Promise<string>;
  stage(id: string, name?: string): Promise<StageAnswer>;
  /** Resolves when the condition holds; rejects naming what it saw. */
  until(id: string, what: string, holds: (stage: StageAnswer) => boolean | Promise<boolean>, withinMs?: number): Promise<StageAnswer>;
  ended(id: string, withinMs?: number): Promise<StageAnswer>;
  /** Steps and values of one metric, as shown. */
  points(id: string, name: string): Promise<readonly (readonly [step: number, value: number | null])[]>;
  log(id: string): Promise<string>;
  job(id: string): Promise<JobAnswer>;
  /** `more`: settings; with a name of its own it gets a directory of its own. */
  startAgent(more?: Record<string, string>): Promise<void>;
  startAgentProcess(): Promise<AgentProcess>;
}

const quiet = pino({ level: process.env["TEST_LOG"] ?? "silent" });
const OVER: ReadonlySet<string> = new Set(["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"]);

/** Ended with the test. `settings`: of the control plane; `agent`: of agents. */
export async function startPipelineWorld(options: { readonly settings?: Record<string, string>; readonly agent?: Record<string, string> } = {}): Promise<PipelineWorld> {
  const testDatabase = await createTestDatabase();
  onTestFinished(() => testDatabase.drop());
  const directory = agentDirectory();
  const config = readConfig(serverConfigSchema, { DATABASE_URL: testDatabase.url, TRAINYARD_PORT: "0", TRAINYARD_DATA_DIR: directory, TRAINYARD_SWEEP_EVERY_MS: "200", TRAINYARD_RENEW_EVERY_MS: "500", TRAINYARD_START_GRACE_MS: "0", ...options.settings });
  const server = await startControlPlaneServer({ config, log: quiet });
  onTestFinished(() => server.close());
  const database = openDatabase({ url: testDatabase.url, size: 2, log: quiet });
  onTestFinished(() => database.close());
  const token = async (role: "operator" | "agent" | "admin") => (await createToken(database.db, { name: role, role, agentName: null, expiresInDays: null, by: "test" })).secret;
  const [operator, agent, admin] = [await token("operator"), await token("agent"), await token("admin")];
  const base = new URL(server.url).origin;
  const settings = { TRAINYARD_AGENT_TOKEN: agent, TRAINYARD_AGENT_LINK: "https", TRAINYARD_AGENT_CPUS: "16", ...options.agent };

  const ask = async <T>(query: string, variables: Record<string, unknown> = {}): Promise<T> => {
    const answer = await fetch(server.url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${operator}` }, body: JSON.stringify({ query, variables }) });
    const { data, errors } = (await answer.json()) as { data?: T; errors?: { message: string }[] };
    if (errors !== undefined) throw new Error(errors.map(({ message }) => message).join("; "));
    return data!;
  };
  const stage = async (id: string, name?: string): Promise<StageAnswer> => {
    const { pipeline } = await ask<{ pipeline: { stages: StageAnswer[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { id name status outputs error { code message } attempts { number status error { code message } } } } }", { id });
    return name === undefined ? pipeline.stages.at(-1)! : pipeline.stages.find((one) => one.name === name)!;
  };
  const until: PipelineWorld["until"] = async (id, what, holds, withinMs = 60_000) => {
    let seen: StageAnswer | null = null;
    const held = await pollUntil(async () => holds((seen = await stage(id))), withinMs);
    if (!held) throw new Error(`not within ${withinMs} ms: ${what}; ${JSON.stringify(seen)}`);
    return seen!;
  };
  return {
    databaseUrl: testDatabase.url, agentToken: agent,
    database, agentDirectory: directory, url: base, admin, ask, stage, until,
    async submit(stages) {
      const { submitPipeline } = await ask<{ submitPipeline: { pipeline?: { id: string }; problems?: { code: string; path: string; message: string }[]; message?: string } }>(
        "mutation ($input: SubmitPipelineInput!) { submitPipeline(input: $input) { ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { message } ... on InvalidInputError { problems { code path message } } } }", { input: { spec: { name: "simulated", stages } } });
      if (submitPipeline.pipeline === undefined) throw new Error(JSON.stringify(submitPipeline.problems ?? submitPipeline.message));
      return submitPipeline.pipeline.id;
    },
    ended: (id, withinMs) => until(id, "the stage is over", ({ status }) => OVER.has(status), withinMs),
    async points(id, name) {
      const { pipeline } = await ask<{ pipeline: { stages: { metrics: { points: { step: number; value: number | null }[] }[] }[] } }>("query ($id: ID!, $names: [String!]) { pipeline(id: $id) { stages { metrics(names: $names) { points { step value } } } } }", { id, names: [name] });
      return (pipeline.stages.at(-1)!.metrics[0]?.points ?? []).map(({ step, value }) => [step, value] as const);
    },
    async log(id) {
      const { pipeline } = await ask<{ pipeline: { stages: { logs: { text: string } }[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { logs(maxBytes: 1048576) { text } } } }", { id });
      return pipeline.stages.at(-1)!.logs.text;
    },
    async job(id) {
      const { pipeline } = await ask<{ pipeline: { stages: { trainingJob: JobAnswer }[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { trainingJob { simulated checkpoints { step deletedAt } anomalies { kind attempt action } } } } }", { id });
      return pipeline.stages.at(-1)!.trainingJob;
    },
    async startAgent(more = {}) {
      const started = await startTestAgent(base, "TRAINYARD_AGENT_NAME" in more ? agentDirectory() : directory, { settings: { ...settings, ...more } });
      await started.connected;
    },
    async startAgentProcess() {
      const started = startAgentProcess(base, directory, settings);
      await started.started;
      return started;
    },
  };
}

/** A train stage that is simulated; `scenario` is what happens in it. */
export function simulated(params: Record<string, unknown>, scenario: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { name: "train", kind: "train", params: { simulate: true, model: "Qwen/Qwen2.5-0.5B", batchSize: 16, graceSeconds: 2, env: { [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 10, ...scenario }) }, ...params }, ...more };
}
