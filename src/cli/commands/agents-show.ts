import { findAgent } from "../api/agents.js";
import type { Cli } from "../cli.js";
import { elapsed, shortDuration } from "../render/quantities.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";

export async function run(cli: Cli, [name]: readonly string[]): Promise<void> {
  const agent = await findAgent(cli, name!);
  const { bold, dim } = cli.style;
  const row = (title: string, value: string) => `  ${dim(title.padEnd(10))}${harmless(value)}`;
  cli.print({
    value: agent,
    ids: () => [agent.id],
    table: () => [
      `${bold(harmless(agent.name))}  ${dim(agent.id)}  ${statusStyle(cli.style, agent.status)(agent.status)}${agent.draining ? `  ${cli.style.yellow("gets no new work")}` : ""}`,
      row("seen", agent.lastHeartbeatAt === null ? "never" : `${shortDuration(Date.now() - Date.parse(agent.lastHeartbeatAt))} ago`),
      ...(agent.problem === null ? [] : [row("problem", cli.style.red(harmless(agent.problem)))]),
      row("run mode", agent.runMode),
      row("labels", Object.entries(agent.labels).map(([key, value]) => `${key}=${String(value)}`).join(", ") || "none"),
      row("versions", Object.entries(agent.versions).filter(([key, version]) => version !== null && key !== "problem").map(([key, version]) => `${key} ${version}`).join(", ")),
      row("queues", agent.queues.map((queue) => `${queue.name} ${queue.running}/${queue.concurrency}`).join(", ")),
      ...(agent.gpus.length === 0 ? [row("GPUs", "none")] : agent.gpus.map((gpu) => row(`GPU ${gpu.index}`, `${gpu.model}, ${gpu.memoryUsedMiB ?? "?"} of ${gpu.memoryTotalMiB} MiB used${gpu.utilizationPercent === null ? "" : `, ${gpu.utilizationPercent} % busy`}${gpu.heldBy === null ? "" : `, held by ${gpu.heldBy.id}`}`))),
      ...(agent.running.length === 0 ? [row("running", "nothing")] : agent.running.map((attempt) => row("running", `${attempt.stage.pipeline.name}/${attempt.stage.name}  try ${attempt.number}  ${elapsed(attempt.startedAt, null, Date.now())}  ${attempt.stage.pipeline.id}`))),
    ],
  });
  if (agent.draining) cli.note(`Give it work again: ${cli.command(`agents undrain ${agent.name}`)}`);
}
