// Recipes: starting points that are known to fit, as upstream publishes them. They come with the program; nothing of them is stored.

import { ALGORITHM_FACTS } from "../domain/training/algorithms.js";
import { RECIPES, recipeNamed, type Recipe as RecipeShape } from "../verl/recipes.js";
import { recipePipeline, resourcesOf } from "../verl/recipe-pipeline.js";
import { builder } from "./builder.js";
import { TrainingAlgorithm } from "./training-algorithm.js";

const Recipe = builder.objectRef<RecipeShape>("Recipe").implement({
  description: "Params for a model and a number of GPUs that upstream published and that compose on the releases named.",
  fields: (t) => ({
    name: t.exposeString("name", { description: "Stable." }),
    title: t.exposeString("title"),
    algorithm: t.expose("algorithm", { type: TrainingAlgorithm }),
    model: t.exposeString("model"),
    task: t.string({ description: "What the data must be prepared for: sft, rl or preference.", resolve: ({ algorithm }) => ALGORITHM_FACTS[algorithm].data }),
    gpus: t.exposeInt("gpus", { description: "GPUs in all that it was published for." }),
    nodes: t.int({ description: "Hosts that they are spread over.", resolve: (recipe) => resourcesOf(recipe).nodes }),
    gpuModel: t.exposeString("gpuModel", { description: "The kind of GPU, in words." }),
    params: t.expose("params", { type: "JSON", description: "Params of a train stage, without data files." }),
    releases: t.field({ type: ["String"], description: "Releases of verl that it composes on and whose rules it keeps.", resolve: ({ releases }) => [...releases] }),
    source: t.exposeString("source", { description: "Upstream's file." }),
    pipeline: t.field({
      type: "JSON",
      description: "A specification to submit. Give raw `data`, which a preprocess stage prepares, or files that are ready.",
      args: {
        name: t.arg.string(), model: t.arg.string({ description: "Instead of the recipe's." }),
        data: t.arg.string({ description: "Path or dataset:<name>." }), dataSource: t.arg.string({ description: "With raw data of reinforcement learning: what verl chooses the scorer by." }),
        trainFiles: t.arg.stringList(), valFiles: t.arg.stringList(), simulate: t.arg.boolean({ description: "A stand-in that trains nothing and needs no GPU." }),
      },
      resolve: (recipe, args) => recipePipeline(recipe, Object.fromEntries(Object.entries(args).filter(([, value]) => value !== null))),
    }),
  }),
});

builder.queryField("recipes", (t) => t.field({
  type: [Recipe], description: "The catalogue, in the order of the algorithms.", args: { algorithm: t.arg({ type: TrainingAlgorithm }) },
  resolve: (_root, { algorithm }) => RECIPES.filter((recipe) => algorithm == null || recipe.algorithm === algorithm),
}));

builder.queryField("recipe", (t) => t.field({
  type: Recipe, nullable: true, args: { name: t.arg.string({ required: true }) }, resolve: (_root, { name }) => recipeNamed(name),
}));
