import { listAgents, type AgentAnswer } from "../api/agents.js";
import type { Cli } from "../cli.js";
import { shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";

export async function run(cli: Cli): Promise<void> {
  const agents = await listAgents(cli);
  const titles = ["NAME", "STATUS", "RUNNING", "GPUS", "QUEUES", "SEEN"];
  cli.print({
    value: agents,
    table: () => (agents.length === 0 ? [] : renderTable(titles.map((title) => ({ title })), agents.map((agent) => row(cli, agent)), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)),
    ids: () => agents.map(({ id }) => id),
  });
  if (cli.format === "table" && agents.length === 0) cli.note(`No agent has reported yet. Start one on a machine that shall work: ${cli.command("agent")}`);
}

function row(cli: Cli, agent: AgentAnswer): string[] {
  const running = agent.running.map(({ stage }) => `${stage.pipeline.name}/${stage.name}`);
  const models = [...new Set(agent.gpus.map(({ model }) => model))].join(", ");
  const held = agent.gpus.filter(({ heldBy }) => heldBy !== null).length;
  return [
    harmless(agent.name),
    statusStyle(cli.style, agent.status)(agent.status),
    running.length === 0 ? "idle" : harmless(running.length > 2 ? `${running.slice(0, 2).join(", ")} +${running.length - 2}` : running.join(", ")),
    agent.gpus.length === 0 ? "none" : `${held}/${agent.gpus.length} ${harmless(models)}`,
    agent.queues.map(({ name, running: busy, concurrency }) => `${name} ${busy}/${concurrency}`).join(", "),
    agent.lastHeartbeatAt === null ? "never" : `${shortDuration(Date.now() - Date.parse(agent.lastHeartbeatAt))} ago`,
  ];
}
