// What `doctor` finds at the server: reachable, clock, readiness of its stores, token and role, agents, their trouble and their GPUs, queues nobody serves.
import type { Cli } from "../cli.js";
import { listAgents, type AgentAnswer } from "../api/agents.js";
import { reasonOf, unreachableHint } from "../api/client.js";
import { ERRORS } from "../../domain/error-catalogue.js";
import { CliError } from "../exit-codes.js";
import { failure, ok, unknown, warning, type Check } from "./check.js";

const CLOCK_TOLERANCE_MS = 5_000;
const CALL_TIMEOUT_MS = 5_000;

export async function checkServer(cli: Cli): Promise<Check[]> {
  const { url, source } = cli.connection();
  const origin = new URL(url).origin;
  let response: Response;
  const askedAt = Date.now();
  try {
    response = await fetch(`${origin}/readyz`, { signal: AbortSignal.timeout(CALL_TIMEOUT_MS) });
  } catch (error) {
    return [failure("server", `${url} (from ${source}): ${reasonOf(error)}`, unreachableHint(cli.connection(), cli.self)), ...["token", "agents"].map((name) => unknown(name, "not asked"))];
  }
  const server = ok("server", `${url} (from ${source}) answers in ${Date.now() - askedAt} ms`);
  return [server, checkClock(response, askedAt), await checkReadiness(response), ...(await checkToken(cli)), ...(await checkFleet(cli))];
}

/** The Date header counts whole seconds. */
function checkClock(response: Response, askedAt: number): Check {
  const said = Date.parse(response.headers.get("date") ?? "");
  if (Number.isNaN(said)) return unknown("clock", "the server does not tell its time");
  const offset = said + 500 - (askedAt + Date.now()) / 2;
  const found = `${Math.abs(offset) < 1_000 ? "within a second of" : `${(Math.abs(offset) / 1000).toFixed(0)} s ${offset > 0 ? "behind" : "ahead of"}`} the server`;
  return Math.abs(offset) > CLOCK_TOLERANCE_MS ? warning("clock", found, "Set both clocks by NTP; durations and ages are shown wrong until then.") : ok("clock", found);
}

async function checkReadiness(response: Response): Promise<Check> {
  const text = (await response.text().catch(() => "")).trim().slice(0, 300);
  return response.ok ? ok("stores", `the server is ready${text.startsWith("{") ? `: ${text}` : ""}`) : failure("stores", `the server is not ready (${response.status})${text === "" ? "" : `: ${text}`}`, "Look at the server's log; PostgreSQL or Redis is away.");
}

async function checkToken(cli: Cli): Promise<Check[]> {
  try {
    const { viewer } = await cli.api().call<{ viewer: { name: string; role: string; expiresAt: string | null } }>("query Who { viewer { name role expiresAt } }");
    return [ok("token", `${viewer.name}, role ${viewer.role.toLowerCase()}${viewer.expiresAt === null ? "" : `, until ${viewer.expiresAt}`}`)];
  } catch (error) {
    return [failure("token", (error as Error).message, (error instanceof CliError ? error.hint : null) ?? "Set TRAINYARD_TOKEN.")];
  }
}

async function checkFleet(cli: Cli): Promise<Check[]> {
  try {
    const agents = await listAgents(cli);
    const { queues } = await cli.api().call<{ queues: readonly { name: string; waiting: number; capacity: number }[] }>("query Queues { queues { name waiting capacity } }");
    const online = agents.filter(({ status }) => status === "ONLINE" || status === "DRAINING");
    const gpus = online.flatMap((agent) => agent.gpus);
    const stuck = queues.filter(({ waiting, capacity }) => waiting > 0 && capacity === 0);
    return [
      online.length > 0
        ? ok("agents", `${online.length} of ${agents.length} online: ${online.slice(0, 5).map(({ name }) => name).join(", ")}`)
        : failure("agents", agents.length === 0 ? "none has ever reported" : `none of ${agents.length} is online`, `Start one on a machine that shall work: ${cli.command("agent")}`),
      ...online.flatMap((agent) => (agent.problem === null ? [] : [failure(`agent ${agent.name}`, agent.problem, nextStep(cli, agent, agent.problem))])),
      gpus.length > 0 ? ok("GPUs", `${gpus.length}: ${[...new Set(gpus.map(({ model }) => model))].join(", ")}`) : warning("GPUs", "no agent has any; stages that ask for GPUs wait", "Start an agent on a GPU host, where nvidia-smi works."),
      ...(stuck.length === 0 ? [] : [failure("queues", `nobody serves ${stuck.map(({ name, waiting }) => `${name} (${waiting} waiting)`).join(", ")}`, "Add the queue to an agent's TRAINYARD_AGENT_POOLS.")]),
    ];
  } catch (error) {
    return [unknown("agents", (error as Error).message)];
  }
}

/** A problem begins with its code. */
function nextStep(cli: Cli, { name, runMode }: AgentAnswer, problem: string): string {
  const action = ERRORS[/^[A-Z_]+(?=: )/.exec(problem)?.[0] ?? ""]?.action ?? "Do what it says.";
  return runMode === "SSH" ? `${action} Then look again: ${cli.command(`host check ${name}`)}` : action;
}
