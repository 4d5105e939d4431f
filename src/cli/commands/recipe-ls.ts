// The catalogue comes with the program: no server is asked.
import type { Cli } from "../cli.js";
import { renderTable } from "../render/table.js";
import { RECIPES } from "../../verl/recipes.js";

export async function run(cli: Cli): Promise<void> {
  const columns = ["NAME", "WHAT", "MODEL", "GPUS", "KIND"].map((title) => ({ title, align: title === "GPUS" ? "right" as const : "left" as const }));
  cli.print({
    value: RECIPES, ids: () => RECIPES.map(({ name }) => name),
    table: () => renderTable(columns, RECIPES.map(({ name, title, model, gpus, gpuModel }) => [name, title, model, String(gpus), gpuModel]), cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null),
  });
  if (cli.format === "table") cli.note(`${cli.noteStyle.dim("One of them:".padEnd(14))}${cli.command("recipe show <name>")}\n${cli.noteStyle.dim("Begin:".padEnd(14))}${cli.command("recipe use <name> --data <file>")}`);
}
