// The configurations of every supported verl, unpacked from its wheels into a cache folder, and a Python with Hydra to compose them. Nothing of verl is imported.
//   node scripts/verl-keys/sources.mjs     makes the folder if need be and prints it; exit code 3: it cannot be made (the reason on stderr)
//   S1. The folder's name carries a hash of what it holds; it is made aside and renamed: a half-made one is never used.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const VERSIONS = ["0.7.0", "0.7.1", "0.8.0", "0.9.0", "0.9.1"];
const TOOLS = ["hydra-core==1.3.2", "omegaconf==2.3.0", "antlr4-python3-runtime==4.9.3", "PyYAML==6.0.3", "packaging==25.0"];

/** Where the sources lie or would lie. */
export function sourcesFolder() {
  const { TRAINYARD_PYTHON_CACHE: given, XDG_CACHE_HOME: xdg } = process.env;
  const cache = given || join(xdg || join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache"), "trainyard", "python");
  return join(cache, `verl-keys-${createHash("sha256").update(JSON.stringify([VERSIONS, TOOLS])).digest("hex").slice(0, 12)}`);
}

export const pythonOf = (folder) => join(folder, "python", "bin", "python");

/** The folder, made if need be: `python/` and one folder per version that holds the package verl. Throws Error with pip's words. */
export function makeSources() {
  const folder = sourcesFolder();
  if (existsSync(folder)) return folder; // S1
  mkdirSync(join(folder, ".."), { recursive: true });
  const aside = mkdtempSync(`${folder}.making-`);
  const run = (program, args) => execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  try {
    const python = pythonOf(aside);
    const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"];
    run("python3", ["-m", "venv", "--copies", join(aside, "python")]);
    run(python, [...pip, "--target", join(aside, "tools"), ...TOOLS]);
    for (const version of VERSIONS) run(python, [...pip, "--no-compile", "--target", join(aside, version), `verl==${version}`]);
    renameSync(aside, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
  } finally {
    rmSync(aside, { recursive: true, force: true });
  }
  return folder;
}

/** Runs a script of ours with Hydra at hand; gives what it printed. */
export function runWithHydra(folder, args, input = "") {
  return execFileSync(pythonOf(folder), args, { encoding: "utf8", input, maxBuffer: 64 * 1024 * 1024, stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, PYTHONPATH: join(folder, "tools"), PYTHONDONTWRITEBYTECODE: "1" } });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    console.log(makeSources());
  } catch (error) {
    console.error(`The configurations of verl cannot be fetched: ${String(error.stderr || error.message).trim().split("\n").at(-1)}`);
    process.exitCode = 3;
  }
}
