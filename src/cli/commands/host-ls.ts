import { listHosts, type HostAnswer } from "../api/hosts.js";
import type { Cli } from "../cli.js";
import { elapsed } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";

export async function run(cli: Cli): Promise<void> {
  const hosts = await listHosts(cli);
  const titles = ["NAME", "ADDRESS", "THROUGH", "LOGIN", "AGENT", "GPUS", "DEPLOYED"];
  const rows = () => hosts.map((host) => [
    harmless(host.name), harmless(`${host.username}@${host.host}:${host.port}`), harmless(host.jump?.name ?? "-"), host.credential.toLowerCase().replace("_", " "),
    host.keyAlarm !== null ? cli.style.red("HOST KEY CHANGED") : host.agent === null ? "not yet" : statusStyle(cli.style, host.agent.status)(host.agent.status), host.agent === null ? "-" : String(host.agent.gpus.length), deployed(cli, host),
  ]);
  cli.print({ value: hosts, ids: () => hosts.map(({ id }) => id), table: () => (hosts.length === 0 ? [] : renderTable(titles.map((title) => ({ title })), rows(), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)) });
  if (cli.format === "table" && hosts.length === 0) cli.note(`No SSH host was added yet: ${cli.command("host add <name> user@host --key ~/.ssh/id_ed25519")}`);
}

/** Of an agent of its own: version, who keeps it running, since when; or how far an order for one is. */
function deployed(cli: Cli, { deployment }: HostAnswer): string {
  if (deployment === null || deployment.state === "REMOVED") return "-";
  const runs = deployment.version === null ? null : `${deployment.version}, ${deployment.supervision === "SYSTEMD" ? "systemd unit" : "supervised"}, ${elapsed(deployment.runningSince, null, Date.now())}`;
  if (deployment.state === "DEPLOYED") return harmless(runs ?? "-");
  const state = deployment.state === "FAILED" ? cli.style.red("failed") : `${deployment.state.toLowerCase()}: ${harmless(deployment.steps.at(-1)?.name ?? "begins")}`;
  return runs === null ? state : `${harmless(runs)}; ${state}`;
}
