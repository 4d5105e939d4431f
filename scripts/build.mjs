// Bundles src/ into dist/ with esbuild: one chunk per lazily imported command, packages left external. Types are checked by `npm run types`.
import { build } from "esbuild";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const workers = readdirSync(join(root, "src"), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".worker.ts"))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const entries = [join(root, "src/cli/main.ts"), ...workers].filter((file) => existsSync(file));

rmSync(join(root, "dist"), { recursive: true, force: true });
await build({
  entryPoints: Object.fromEntries(entries.map((file) => [relative(join(root, "src"), file).replace(/\.ts$/, ""), file])),
  outdir: join(root, "dist"),
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node20",
  packages: "external",
  sourcemap: true,
  logLevel: "warning",
});
