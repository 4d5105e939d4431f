// Writes the generated files of the repository; with --check it writes nothing, compares, and exits with 1 naming every file that has drifted.
//   G1. Same sources, same bytes, on every machine: CI compares.
//   G2. A file is replaced whole or not at all.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { packagePath } from "../src/package-root.js";
import type { Document } from "./documents/document.js";
import { commandLineReference } from "./documents/command-line.js";
import { configurationReference, environmentExample } from "./documents/configuration.js";
import { databaseSchema } from "./documents/database-schema.js";
import { errorReference } from "./documents/errors.js";
import { graphqlSchema } from "./documents/graphql-schema.js";
import { pipelineJsonSchema, pipelineReference } from "./documents/pipeline.js";

/** Every generated file. */
export const DOCUMENTS: readonly Document[] = [
  environmentExample, configurationReference, pipelineReference, pipelineJsonSchema, errorReference, commandLineReference, graphqlSchema, databaseSchema,
];

/** The files whose text is not what their sources say, and why; writes nothing. */
export async function driftedDocuments(documents: readonly Document[] = DOCUMENTS): Promise<string[]> {
  const drifted: string[] = [];
  for (const document of documents) {
    const standing = read(document.path);
    if (standing === (await document.render())) continue;
    drifted.push(`${document.path} ${standing === null ? "is missing" : "differs from what its sources say"}`);
  }
  return drifted;
}

async function write(documents: readonly Document[]): Promise<void> {
  for (const document of documents) {
    const text = await document.render();
    if (read(document.path) === text) continue;
    const target = packagePath(document.path);
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(`${target}.new`, text);
    renameSync(`${target}.new`, target); // G2
    console.log(`wrote ${document.path}`);
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(packagePath(path), "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

async function main(options: readonly string[]): Promise<number> {
  const unknown = options.filter((option) => option !== "--check");
  if (unknown.length > 0) {
    console.error(`Unknown option ${unknown[0]}. Usage: npm run generate, or npm run generate:check.`);
    return 2;
  }
  if (!options.includes("--check")) {
    await write(DOCUMENTS);
    return 0;
  }
  const drifted = await driftedDocuments();
  for (const line of drifted) console.error(line);
  if (drifted.length > 0) console.error("Run `npm run generate`, look at what changed, and commit it with its cause.");
  return drifted.length > 0 ? 1 : 0;
}

if (process.argv[1]?.endsWith("generate.ts") === true) process.exitCode = await main(process.argv.slice(2));
