// A Python virtual environment from one of the pinned requirement files beside this script, kept in a cache and made when it is not there.
//   node scripts/python/environment.mjs NAME            makes it if need be; prints the path of its python
//   node scripts/python/environment.mjs NAME --check    only looks
// Exit codes: 0 it is there; 2 wrong usage; 3 it is not there, or cannot be made (the reason on stderr).
//   V1. The folder's name carries a hash of requirements, interpreter and platform: changed pins never meet an old environment.
//   V2. It is made aside, tried by importing what it is for, and renamed: an interrupted making is never used, and the next one clears it away.
//   V3. Makers that run at once do not disturb each other: the first to finish stays.
//   V4. A file may name another one as its base: what it does not pin itself is found in that environment, which is made first. Two releases then share one torch.
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { accessSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statfsSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ABANDONED_MS = 86_400_000;
const INTERPRETERS = ["python3", "python3.12", "python3.11", "python3.13", "python3.10", "python"];
const here = fileURLToPath(new URL(".", import.meta.url));
const names = readdirSync(here).flatMap((file) => /^requirements-(.+)\.txt$/.exec(file)?.[1] ?? []).sort();

class CannotBeMade extends Error {}

function cacheFolder() {
  const { TRAINYARD_PYTHON_CACHE: given, XDG_CACHE_HOME: xdg } = process.env;
  if (given) return given;
  return join(xdg || join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache"), "trainyard", "python");
}

/** What a requirement file says about itself in its comments. */
function readRequirements(name) {
  const file = join(here, `requirements-${name}.txt`);
  const text = readFileSync(file, "utf8");
  const said = (field) => new RegExp(`^# ${field}: (.+)$`, "m").exec(text)?.[1] ?? "";
  const [oldest, newest] = said("python").split(" - ").map((version) => Number(version.split(".")[1]));
  return { name, file, text, oldest, newest, megabytes: Number(said("megabytes")), base: said("base"), imports: said("imports"), setuptools: /^setuptools==\S+/m.exec(text)?.[0] ?? null };
}

/** The first interpreter on PATH (or TRAINYARD_PYTHON) that the pins fit and that can make virtual environments. */
function findInterpreter({ name, oldest, newest }) {
  const seen = [];
  for (const command of process.env.TRAINYARD_PYTHON ? [process.env.TRAINYARD_PYTHON] : INTERPRETERS) {
    const asked = spawnSync(command, ["-c", "import sys, sysconfig, venv, ensurepip; print(sys.version_info[0], sys.version_info[1], sys.version_info[2], sysconfig.get_platform(), sys.executable)"], { encoding: "utf8", env: cleanEnvironment() });
    if (asked.error || asked.status === 127) continue; // not there, or the mere shim of a version that is not
    const answer = /^(\d+) (\d+) (\d+) (\S+) (.+)$/m.exec(asked.stdout);
    if (answer === null) seen.push(`${command} cannot make virtual environments (on Debian: apt-get install python3-venv)`);
    else if (answer[1] !== "3" || Number(answer[2]) < oldest || Number(answer[2]) > newest) seen.push(`${command} is ${answer[1]}.${answer[2]}`);
    else return { command: answer[5], version: `${answer[1]}.${answer[2]}.${answer[3]}`, platform: answer[4] };
  }
  throw new CannotBeMade(`no Python 3.${oldest} to 3.${newest} with venv is on PATH, as the pins of "${name}" need${seen.length > 0 ? ` (${seen.join("; ")})` : ""}. Install one, or name it in TRAINYARD_PYTHON.`);
}

/** Without what would lead pip or Python out of the environment. Where packages come from (index, proxy, certificates) stays the user's choice. */
function cleanEnvironment(extra = {}) {
  const environment = { ...process.env, PYTHONNOUSERSITE: "1", PIP_DISABLE_PIP_VERSION_CHECK: "1", PIP_NO_INPUT: "1", ...extra };
  for (const variable of ["PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"]) delete environment[variable];
  return environment;
}

const pythonOf = (folder) => join(folder, "bin", "python");
const sitePackages = (folder, { version }) => join(folder, "lib", `python${version.split(".").slice(0, 2).join(".")}`, "site-packages");
const say = (text) => void process.stderr.write(`${text}\n`);

async function makeEnvironment(requirements, interpreter, folder, base) {
  const cache = cacheFolder();
  mkdirSync(cache, { recursive: true });
  removeAbandoned(cache);
  requireSpace(cache, requirements);
  const aside = join(cache, `.making-${process.pid}-${randomBytes(4).toString("hex")}`);
  const begun = performance.now();
  const step = stepsIn(aside);
  say(`making the Python environment "${requirements.name}" by ${interpreter.command} (Python ${interpreter.version}) in ${folder}`);
  try {
    mkdirSync(join(aside, "tmp"), { recursive: true });
    await step("making a virtual environment", interpreter.command, ["-m", "venv", aside]);
    const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir", "--no-compile"];
    // The one source package is built by the pinned setuptools, not by whatever is newest today.
    if (requirements.setuptools !== null) await step("installing setuptools", pythonOf(aside), [...pip, requirements.setuptools]);
    await step("installing the packages", pythonOf(aside), [...pip, "--no-build-isolation", "-r", requirements.file]);
    if (base !== null) writeFileSync(join(sitePackages(aside, interpreter), "base.pth"), `${sitePackages(base, interpreter)}\n`); // V4, after pip, which would take the base's packages for its own
    say(`  installed after ${seconds(begun)} s`);
    await step("importing what it is for", pythonOf(aside), ["-W", "ignore", "-c", `import ${requirements.imports}`]);
    rmSync(join(aside, "tmp"), { recursive: true, force: true });
    pointScriptsTo(aside, folder);
    rename(aside, folder);
    say(`  ready after ${seconds(begun)} s`);
  } finally {
    rmSync(aside, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Runs commands one after the other; a signal to this process ends the running one, and what was made aside goes. */
function stepsIn(aside) {
  let child = null;
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]]) {
    process.once(signal, () => {
      child?.kill("SIGKILL");
      rmSync(aside, { recursive: true, force: true, maxRetries: 3 });
      process.exit(code);
    });
  }
  return (what, command, args) => new Promise((resolve, reject) => {
    child = spawn(command, args, { env: cleanEnvironment({ TMPDIR: join(aside, "tmp") }), stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => { output = (output + chunk).slice(-20_000); });
    child.on("error", (error) => reject(new CannotBeMade(`${what}: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new CannotBeMade(`${what} ended with ${signal ?? `status ${code}`}:\n${output.trim().split("\n").slice(-12).map((line) => `    ${line}`).join("\n")}`));
    });
  });
}

function requireSpace(cache, { name, megabytes }) {
  const { bavail, bsize } = statfsSync(cache);
  const free = Math.floor((bavail * bsize) / 1e6);
  if (free < megabytes) throw new CannotBeMade(`"${name}" needs ${megabytes} MB while it is made and ${cache} has ${free} MB left. Free some, or name another folder in TRAINYARD_PYTHON_CACHE.`);
}

/** V2: console scripts name their interpreter by its full path. */
function pointScriptsTo(aside, folder) {
  for (const entry of readdirSync(join(aside, "bin"), { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const file = join(aside, "bin", entry.name);
    const bytes = readFileSync(file);
    if (!bytes.includes(0) && bytes.includes(aside)) writeFileSync(file, bytes.toString().replaceAll(aside, folder));
  }
}

function rename(aside, folder) {
  try {
    renameSync(aside, folder);
  } catch (error) {
    if (!existsSync(pythonOf(folder))) throw error; // V3: otherwise another maker was faster
  }
}

/** V2: what makers that are gone have left. */
function removeAbandoned(cache) {
  for (const entry of readdirSync(cache)) {
    const pid = /^\.making-(\d+)-/.exec(entry)?.[1];
    if (pid === undefined) continue;
    const path = join(cache, entry);
    if (isRunning(Number(pid)) && Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) < ABANDONED_MS) continue;
    rmSync(path, { recursive: true, force: true, maxRetries: 3 });
  }
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

const seconds = (begun) => Math.round((performance.now() - begun) / 1_000);

/** The folder of an environment, made if need be and allowed; after that of its base (V4). */
async function provide(name, mayMake) {
  const requirements = readRequirements(name);
  const base = requirements.base === "" ? null : await provide(requirements.base, mayMake);
  const interpreter = findInterpreter(requirements);
  const hash = createHash("sha256").update([requirements.text, interpreter.version, interpreter.platform, ...(base === null ? [] : [base])].join("\0")).digest("hex").slice(0, 16); // V1
  const folder = join(cacheFolder(), `${name}-${hash}`);
  if (!existsSync(pythonOf(folder))) {
    if (!mayMake) throw new CannotBeMade(`it has not been made yet. \`node scripts/python/environment.mjs ${name}\` makes it (${requirements.megabytes} MB, packages from the Python package index).`);
    await makeEnvironment(requirements, interpreter, folder, base);
  }
  accessSync(pythonOf(folder));
  return folder;
}

async function main() {
  const [name, ...rest] = process.argv.slice(2);
  if (!names.includes(name) || rest.some((argument) => argument !== "--check")) {
    say(`usage: node scripts/python/environment.mjs ${names.join("|")} [--check]`);
    return 2;
  }
  try {
    process.stdout.write(`${pythonOf(await provide(name, !rest.includes("--check")))}\n`);
    return 0;
  } catch (error) {
    say(`NO PYTHON ENVIRONMENT "${name}": ${error instanceof CannotBeMade ? error.message : `${error.message}${error.code === "EACCES" ? " Name another folder in TRAINYARD_PYTHON_CACHE." : ""}`}`);
    return 3;
  }
}

process.exitCode = await main();
