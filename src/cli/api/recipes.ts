// Recipes by name.
import { nearestName } from "../../domain/pipeline/dag.js";
import { recipeNamed, RECIPES, type Recipe } from "../../verl/recipes.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT } from "../exit-codes.js";

/** Throws CliError (not found) that names a similar one. */
export function findRecipe(cli: Cli, name: string): Recipe {
  const found = recipeNamed(name);
  if (found !== null) return found;
  const near = nearestName(name, RECIPES.map((recipe) => recipe.name));
  throw new CliError(EXIT.notFound, `There is no recipe ${JSON.stringify(name)}.`, { hint: `${near === null ? "" : `Did you mean ${near}? `}List them: ${cli.command("recipe ls")}` });
}
