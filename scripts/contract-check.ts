// Compares schema.graphql with the contract that outside clients hold on to, when it lies beside the checkout (../shared/contract/schema.graphql).
//   K1. Exactly the parts listed below may be missing, because they come with issues of their own; anything else missing is a break.
//   K2. A listed part that is there, or whose absence changed, fails too: the list only ever shrinks, with the change that brings the part.
import { existsSync, readFileSync } from "node:fs";
import { buildSchema, findBreakingChanges } from "graphql";
import { packagePath } from "../src/package-root.js";

/** What graphql-js says about each missing part, by the work it comes with. */
export const AWAITED: Readonly<Record<string, readonly string[]>> = {};

export interface ContractReport {
  /** Missing without being listed. */
  readonly broken: readonly string[];
  /** Listed without being missing. */
  readonly arrived: readonly string[];
}

/** Judges a printed schema. Throws GraphQLError when either text is no schema. */
export function compareWithContract(contract: string, served: string, awaited: readonly string[]): ContractReport {
  const found = findBreakingChanges(buildSchema(contract), buildSchema(served)).map((change) => `${change.type}: ${change.description}`);
  return { broken: found.filter((line) => !awaited.includes(line)), arrived: awaited.filter((line) => !found.includes(line)) };
}

function main(): number {
  const contract = packagePath("..", "shared", "contract", "schema.graphql");
  if (!existsSync(contract)) {
    console.log("NOT RUN: the contract does not lie beside this checkout.");
    return 0;
  }
  const awaited = Object.values(AWAITED).flat();
  const { broken, arrived } = compareWithContract(readFileSync(contract, "utf8"), readFileSync(packagePath("schema.graphql"), "utf8"), awaited);
  for (const line of broken) console.error(`broken: ${line}`);
  for (const line of arrived) console.error(`no longer missing, strike it from the list in scripts/contract-check.ts: ${line}`);
  if (broken.length + arrived.length > 0) return 1;
  console.log(awaited.length === 0 ? "contract kept" : `contract kept but for ${awaited.length} parts that come with issues of their own (${Object.keys(AWAITED).join(", ")})`);
  return 0;
}

if (process.argv[1]?.endsWith("contract-check.ts") === true) process.exitCode = main();
