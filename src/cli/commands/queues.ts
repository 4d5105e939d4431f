import type { Cli } from "../cli.js";
import { renderTable } from "../render/table.js";

interface Queue { readonly name: string; readonly waiting: number; readonly running: number; readonly capacity: number }

export async function run(cli: Cli): Promise<void> {
  const { queues } = await cli.api().call<{ queues: readonly Queue[] }>("query Queues { queues { name waiting running capacity } }");
  const right = (title: string) => ({ title, align: "right" as const });
  const rows = () => queues.map(({ name, waiting, running, capacity }) => [name, String(waiting), String(running), capacity === 0 ? cli.style.yellow("0") : String(capacity)]);
  cli.print({ value: queues, table: () => (queues.length === 0 ? [] : renderTable([{ title: "QUEUE" }, right("WAITING"), right("RUNNING"), right("CAPACITY")], rows(), cli.style, null)), ids: () => queues.map(({ name }) => name) });
  const stuck = queues.filter(({ waiting, capacity }) => waiting > 0 && capacity === 0);
  if (cli.format === "table" && stuck.length > 0) cli.note(cli.noteStyle.yellow(`No agent serves ${stuck.map(({ name }) => name).join(", ")}. See what agents offer: ${cli.command("agents")}`));
}
