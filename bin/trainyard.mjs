#!/usr/bin/env node
// Starts the command line that lies built in dist/. In a checkout (src/ is there) dist/ is built first when it is missing or older than a source file.
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const program = join(root, "dist", "cli", "main.js");

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`error: Trainyard needs Node 20.19 or newer; this is ${process.versions.node}.`);
  process.exit(1);
}
if (existsSync(join(root, "src", "cli", "main.ts")) && !isFresh()) await rebuild();
if (!existsSync(program)) {
  console.error("error: dist/ is missing. Build it with `npm run build`, or install trainyard again.");
  process.exit(1);
}
await import(pathToFileURL(program).href);

function isFresh() {
  const built = statSync(program, { throwIfNoEntry: false });
  if (built === undefined) return false;
  return readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
    .every((entry) => !entry.isFile() || statSync(join(entry.parentPath ?? entry.path, entry.name), { throwIfNoEntry: false })?.mtimeMs <= built.mtimeMs);
}

/** Several processes may do this at once (scripts/build.mjs, B1). A source that does not build leaves the last good program in place. */
async function rebuild() {
  try {
    await import(pathToFileURL(join(root, "scripts", "build.mjs")).href);
  } catch (error) {
    console.error(`${existsSync(program) ? "warning: the last build is used, for the" : "error: the"} sources do not build: ${error.message}`);
  }
}
