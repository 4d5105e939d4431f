// Where this package lies on disk, whether it runs from src/ (tsx, vitest) or from the bundle in dist/ (chunks may sit at any depth there).
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds the package.json named "trainyard", as an absolute path. `from` is the module to start at; throws when no parent of it is that folder. */
export function packageRoot(from: string = import.meta.url): string {
  for (let folder = dirname(fileURLToPath(from)); ; folder = dirname(folder)) {
    if (isPackageRoot(folder)) return folder;
    if (dirname(folder) === folder) {
      throw new Error(`No package.json named "trainyard" above ${fileURLToPath(from)}. The installation is incomplete: install trainyard again.`);
    }
  }
}

/** A path inside the package: `packagePath("migrations")`. */
export function packagePath(...parts: string[]): string {
  return join(packageRoot(), ...parts);
}

function isPackageRoot(folder: string): boolean {
  const file = join(folder, "package.json");
  return existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: unknown }).name === "trainyard";
}
