// JSON lines to verl's Parquet, beside the tools that people would use otherwise. Prints one JSON line per contender; judges nothing but that all kept the right rows.
//   npm run bench:preprocess -- [--size 200MB|1GB] [--only trainyard,duckdb,pandas,datasets,polars]
// Each contender is a process of its own: wall from its start to its end, its CPU seconds, the most memory it had. All do one job: parse, leave out broken lines (0.5 %),
// unknown roles (0.5 %), over-long rows (2 %) and repeated ones (4 %), split by hash, write nested Parquet in row groups of 2,000. Ours also tells every row that was left
// out with line and reason, hashes its input and gathers statistics. The rivals need the Python environment "data"; without it ours runs alone, and that is said.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { packagePath } from "../src/package-root.js";
import { MAX_CHARS, writeBenchInput } from "./support/preprocess-input.js";
import { option, round } from "./support/rig.js";

const RIVALS = ["duckdb", "polars", "pandas", "datasets"];

interface Report { readonly train: number; readonly validation: number; readonly cpuSeconds: number; readonly peakMb: number }

const size = option("size", "200MB");
const only = option("only", ["trainyard", ...RIVALS].join(",")).split(",");
const bytes = bytesOf(size);
const folder = mkdtempSync(join(tmpdir(), "trainyard-bench-"));

function bytesOf(text: string): number {
  const parts = /^(\d+)(MB|GB)$/.exec(text);
  if (parts === null) throw new Error(`--size ${text}: give it as 200MB or 1GB`);
  return Number(parts[1]) * (parts[2] === "GB" ? 1e9 : 1e6);
}

/** Ours as users run it: bundled, with the worker thread of dist/. */
async function ours(): Promise<string[]> {
  execFileSync(process.execPath, [packagePath("scripts", "build.mjs")]);
  const file = packagePath("node_modules", ".cache", `trainyard-bench-${process.pid}.mjs`);
  await build({ entryPoints: [packagePath("bench", "support", "preprocess-process.ts")], outfile: file, bundle: true, format: "esm", platform: "node", target: "node20", packages: "external", logLevel: "warning" });
  return [process.execPath, file];
}

function rivals(): string | null {
  const asked = spawnSync(process.execPath, [packagePath("scripts", "python", "environment.mjs"), "data"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  if (asked.status === 0) return asked.stdout.trim();
  console.error("NOT RUN: the rivals: see the reason above");
  return null;
}

async function race(contender: string, [program, ...args]: readonly string[], input: string): Promise<Report & { wallSeconds: number; outputMb: number }> {
  const out = join(folder, contender);
  mkdirSync(out);
  const begun = performance.now();
  const child = spawn(program!, [...args, input, out, String(MAX_CHARS)], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, HF_HOME: join(folder, "hugging-face"), HF_HUB_OFFLINE: "1" } });
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => { text += chunk; });
  const [code] = (await once(child, "close")) as [number | null];
  const wallSeconds = (performance.now() - begun) / 1_000;
  if (code !== 0) throw new Error(`${contender} ended with status ${code}`);
  const outputMb = ["train", "validation"].reduce((sum, side) => sum + statSync(join(out, `${side}.parquet`)).size, 0) / 1e6;
  rmSync(out, { recursive: true, force: true });
  return { ...(JSON.parse(text.trimEnd().split("\n").at(-1)!) as Report), wallSeconds, outputMb };
}

let bundled: string | null = null;
try {
  const input = join(folder, "input.jsonl");
  const facts = writeBenchInput(input, bytes);
  const contenders = new Map<string, readonly string[]>();
  if (only.includes("trainyard")) {
    const command = await ours();
    bundled = command[1]!;
    contenders.set("trainyard", command);
  }
  const wanted = RIVALS.filter((rival) => only.includes(rival));
  const python = wanted.length > 0 ? rivals() : null;
  for (const rival of python === null ? [] : wanted) contenders.set(rival, [python!, packagePath("bench", "support", "preprocess_rivals.py"), rival]);
  for (const [contender, command] of contenders) {
    const { train, validation, wallSeconds, cpuSeconds, peakMb, outputMb } = await race(contender, command, input);
    console.log(JSON.stringify({
      bench: "preprocess", contender, size, lines: facts.lines, kept: train + validation, right: train + validation === facts.sound, validation,
      wallSeconds: round(wallSeconds), cpuSeconds: round(cpuSeconds), peakMb: Math.round(peakMb), mbPerSecond: round(facts.bytes / 1e6 / wallSeconds), outputMb: round(outputMb),
    }));
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
  if (bundled !== null) rmSync(bundled, { force: true });
}
