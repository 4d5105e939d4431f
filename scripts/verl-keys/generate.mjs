// Writes src/verl/keys/<version>.json: every configuration key of each supported verl with type and default, composed from verl's own files.
// Usage: npm run generate:verl-keys [-- --check]. Needs python3 with venv, and PyPI. Nothing of verl is imported, so neither torch nor a GPU is needed.
//   K1. The same verl gives the same bytes: --check composes again and compares.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VERSIONS = ["0.7.0", "0.7.1", "0.8.0", "0.9.0", "0.9.1"];
const TOOLS = ["hydra-core==1.3.2", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3", "PyYAML==6.0.3", "packaging==25.0"];

const here = fileURLToPath(new URL(".", import.meta.url));
const keys = join(here, "..", "..", "src", "verl", "keys");
const check = process.argv.includes("--check");
const run = (program, args) => execFileSync(program, args, { encoding: "utf8", maxBuffer: 64 * 1024 * 1024, stdio: ["ignore", "pipe", "inherit"] });

const work = mkdtempSync(join(tmpdir(), "verl-keys-"));
let differ = 0;
try {
  run("python3", ["-m", "venv", join(work, "python")]);
  const python = join(work, "python", "bin", "python");
  run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", ...TOOLS]);
  mkdirSync(keys, { recursive: true });
  for (const version of VERSIONS) {
    const folder = join(work, version);
    run(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--target", folder, `verl==${version}`]);
    const text = pretty(JSON.parse(run(python, [join(here, "compose.py"), folder, version])));
    const file = join(keys, `${version}.json`);
    const same = existsSync(file) && readFileSync(file, "utf8") === text;
    if (check && !same) {
      differ++;
      console.error(`${version}: composed keys differ from the committed table. Run npm run generate:verl-keys.`);
    } else if (!same) writeFileSync(file, text);
    console.log(`verl ${version}: ${Object.keys(JSON.parse(text).configs).length} configurations ${same ? "unchanged" : check ? "DIFFER" : "written"}`);
  }
  const unknown = readdirSync(keys).filter((name) => name.endsWith(".json") && !VERSIONS.includes(name.replace(/\.json$/, "")));
  if (unknown.length > 0) console.error(`No longer generated: ${unknown.join(", ")}`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
process.exitCode = differ === 0 ? 0 : 1;

/** One key a line: compact, and a change of one key is a change of one line. */
function pretty({ version, configs }) {
  const bodies = Object.entries(configs).map(([name, table]) => `${JSON.stringify(name)}:{\n${Object.entries(table).map(([key, entry]) => `${JSON.stringify(key)}:${JSON.stringify(entry)}`).join(",\n")}}`);
  return `{"version":${JSON.stringify(version)},"configs":{\n${bodies.join(",\n")}}}\n`;
}
