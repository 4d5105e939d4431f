// Bundles src/ into dist/ with esbuild: one chunk per lazily imported command, packages left external. Types are checked by `npm run types`.
//   B1. Any number of builds may run at once, and programs run from dist/ meanwhile: files are written aside and renamed into place, entry points last.
//   B2. Chunks carry the hash of their content, so those of the build before stay loadable; they are removed a day later.
//   B3. dist/ is as old as the moment the sources were read: a file saved during the build makes it stale.
//   B4. dist/agent-files.json names the files and packages that an agent needs, for deploying it on hosts: what the bundler itself saw, so that nothing is guessed.
import { build } from "esbuild";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const KEEP_OLD_CHUNKS_MS = 86_400_000;

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");
const filesBelow = (folder) => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const apart = filesBelow(join(root, "src")).filter((file) => /\.(?:worker|program)\.ts$/.test(file)); // threads and programs of their own
const entries = [join(root, "src/cli/main.ts"), ...apart].filter((file) => existsSync(file));

const startedAt = new Date();
mkdirSync(dist, { recursive: true });
const aside = mkdtempSync(join(dist, ".build-"));
try {
  const { metafile } = await build({
    entryPoints: Object.fromEntries(entries.map((file) => [relative(join(root, "src"), file).replace(/\.ts$/, ""), file])),
    outdir: aside,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    sourcemap: true,
    metafile: true,
    absWorkingDir: root,
    logLevel: "warning",
  });
  writeFileSync(join(aside, "agent-files.json"), `${JSON.stringify(agentFiles(metafile.outputs), null, 1)}\n`);
  const isEntry = (file) => entries.some((entry) => relative(join(root, "src"), entry).replace(/\.ts$/, ".js") === relative(aside, file));
  const rank = (file) => (isEntry(file) ? 1 : 0) + (file.endsWith("agent-files.json") ? 2 : 0);
  const built = filesBelow(aside).sort((a, b) => rank(a) - rank(b));
  for (const file of built) {
    const place = join(dist, relative(aside, file));
    mkdirSync(dirname(place), { recursive: true });
    utimesSync(file, startedAt, startedAt); // B3
    renameSync(file, place);
  }
} finally {
  rmSync(aside, { recursive: true, force: true });
}
for (const file of filesBelow(dist)) {
  const modified = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  if (modified !== undefined && startedAt.getTime() - modified > KEEP_OLD_CHUNKS_MS) rmSync(file, { force: true });
}

/** B4. `outputs`: of esbuild's metafile, by path from the root. */
function agentFiles(outputs) {
  const files = new Set();
  const packages = new Set();
  const take = (path) => {
    const file = relative(aside, join(root, path));
    if (files.has(file)) return;
    files.add(file);
    for (const { path: imported, external } of outputs[path].imports) {
      if (!external) take(imported);
      else if (!isBuiltin(imported)) packages.add(imported.split("/").slice(0, imported.startsWith("@") ? 2 : 1).join("/"));
    }
  };
  for (const [path, { entryPoint }] of Object.entries(outputs)) {
    if (entryPoint !== undefined && /^src\/(?:agent|data|evaluation|simulation)\/.*\.(?:program|worker)\.ts$/.test(relative(root, join(root, entryPoint)))) take(path);
  }
  return { files: [...files].sort(), packages: [...packages].sort() };
}
