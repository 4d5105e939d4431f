import { listHosts } from "../api/hosts.js";
import type { Cli } from "../cli.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";
import { statusStyle } from "../style.js";

export async function run(cli: Cli): Promise<void> {
  const hosts = await listHosts(cli);
  const titles = ["NAME", "ADDRESS", "THROUGH", "LOGIN", "AGENT", "GPUS"];
  const rows = () => hosts.map((host) => [
    harmless(host.name), harmless(`${host.username}@${host.host}:${host.port}`), harmless(host.jump?.name ?? "-"), host.credential.toLowerCase().replace("_", " "),
    host.keyAlarm !== null ? cli.style.red("HOST KEY CHANGED") : host.agent === null ? "not yet" : statusStyle(cli.style, host.agent.status)(host.agent.status), host.agent === null ? "-" : String(host.agent.gpus.length),
  ]);
  cli.print({ value: hosts, ids: () => hosts.map(({ id }) => id), table: () => (hosts.length === 0 ? [] : renderTable(titles.map((title) => ({ title })), rows(), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)) });
  if (cli.format === "table" && hosts.length === 0) cli.note(`No SSH host was added yet: ${cli.command("host add <name> user@host --key ~/.ssh/id_ed25519")}`);
}
