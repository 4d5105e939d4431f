import { stringify } from "yaml";
import { findRecipe } from "../api/recipes.js";
import type { Cli } from "../cli.js";
import { ALGORITHM_FACTS } from "../../domain/training/algorithms.js";

export async function run(cli: Cli, [name]: readonly string[]): Promise<void> {
  const recipe = findRecipe(cli, name!);
  const task = ALGORITHM_FACTS[recipe.algorithm].data;
  cli.print({
    value: recipe, ids: () => [recipe.name],
    table: () => [
      `${cli.style.bold(recipe.name)}  ${recipe.title}`, `${recipe.gpus} GPU${recipe.gpus === 1 ? "" : "s"} (${recipe.gpuModel}), data for ${task}`, cli.style.dim(`published in verl's ${recipe.source}; keeps the rules of verl ${recipe.releases.join(", ")}`), "",
      cli.style.bold("params"), ...stringify(recipe.params).trimEnd().split("\n").map((line) => `  ${line}`),
    ],
  });
  if (cli.format === "table") cli.note(`${cli.noteStyle.dim("Begin:".padEnd(14))}${cli.command(`recipe use ${recipe.name} --data <file>${task === "rl" ? " --data-source <name>" : ""}`)}`);
}
