// The program of a worker thread, or of a process: the bundled one in dist, or in a checkout (tsx, vitest) the source itself.

import { pathToFileURL } from "node:url";
import { packagePath } from "./package-root.js";

/** What to give to `new Worker(file, { argv, execArgv: [] })`. `name`: the source below src without its ending, e.g. "data/preprocess.worker". */
export function workerProgram(name: string): { readonly file: string; readonly argv: string[] } {
  if (!import.meta.url.endsWith(".ts")) return { file: packagePath("dist", `${name}.js`), argv: [] };
  return { file: packagePath("scripts", "worker-from-source.mjs"), argv: [pathToFileURL(packagePath("src", `${name}.ts`)).href] };
}

/** Arguments for Node that start a program of ours as a process of its own; its own arguments follow. `name`: the source below src without its ending, e.g.
 *  "evaluation/evaluate.program". */
export function programArguments(name: string): readonly string[] {
  const { file, argv } = workerProgram(name);
  return [file, ...argv];
}
