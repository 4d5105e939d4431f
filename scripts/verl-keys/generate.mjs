// Writes src/verl/keys/<version>.json: every configuration key of each supported verl with type and default, composed from verl's own files, and
// what it registers by name (estimators, losses, engines).
// Usage: npm run generate:verl-keys [-- --check]. Needs python3 with venv, and PyPI once (sources.mjs).
//   K1. The same verl gives the same bytes: --check composes again and compares.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeSources, runWithHydra, VERSIONS } from "./sources.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const keys = join(here, "..", "..", "src", "verl", "keys");
const check = process.argv.includes("--check");

const folder = makeSources();
mkdirSync(keys, { recursive: true });
for (const version of VERSIONS) {
  const text = pretty(JSON.parse(runWithHydra(folder, [join(here, "compose.py"), join(folder, version), version])));
  const file = join(keys, `${version}.json`);
  const same = existsSync(file) && readFileSync(file, "utf8") === text;
  if (check && !same) {
    process.exitCode = 1;
    console.error(`${version}: composed keys differ from the committed table. Run npm run generate:verl-keys.`);
  } else if (!same) writeFileSync(file, text);
  console.log(`verl ${version}: ${Object.keys(JSON.parse(text).configs).length} configurations ${same ? "unchanged" : check ? "DIFFER" : "written"}`);
}

/** One key a line: compact, and a change of one key is a change of one line. */
function pretty({ version, registered, configs, addable }) {
  const tables = (all) => Object.entries(all).map(([name, table]) => `${JSON.stringify(name)}:{\n${Object.entries(table).map(([key, entry]) => `${JSON.stringify(key)}:${JSON.stringify(entry)}`).join(",\n")}}`).join(",\n");
  return `{"version":${JSON.stringify(version)},"registered":${JSON.stringify(registered)},\n"configs":{\n${tables(configs)}},"addable":{\n${tables(addable)}}}\n`;
}
