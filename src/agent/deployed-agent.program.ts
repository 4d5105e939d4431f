// The agent as a program of its own, for hosts where it was deployed over SSH (src/hosts/deploy). Its argument is the deployment's folder; `--check` only says that everything loads.
//   G1. Configuration comes from <folder>/config.json (mode 0600): no command line and no unit file holds any of it.
//   G2. SIGTERM detaches, so that programs go on for the next process to adopt, unless <folder>/stop says `drain` or `now`. Whoever keeps it running decides when it starts again.
//   G3. A start that cannot come to anything ends with 78 (EX_CONFIG) and the cause as the last line of its output.
//   G4. <folder>/run/agent.json says which process runs which release with which configuration, and since when it is connected.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pino } from "pino";
import { z } from "zod";
import { agentConfigSchema, readConfig } from "../config.js";
import { packagePath, packageRoot } from "../package-root.js";
import { identifyProcess } from "../process-identity.js";
import { startAgent, type StopMode } from "./daemon.js";
import { openRotatingFile } from "./rotating-file.js";

const EX_CONFIG = 78;
/** Size at which the log is moved aside, in bytes; one older file is kept. */
const LOG_ROTATION_BYTES = 16 * 1024 * 1024;
const [argument] = process.argv.slice(2);

if (argument === "--check") {
  process.stdout.write(`${(JSON.parse(readFileSync(packagePath("package.json"), "utf8")) as { version: string }).version}\n`);
} else if (argument === undefined) {
  process.stderr.write("This program is started by whoever keeps a deployed agent running; its argument is the deployment's folder.\n");
  process.exitCode = EX_CONFIG;
} else {
  const code = await run(resolve(argument));
  process.exit(code); // idle connections of libraries keep nobody waiting
}

async function run(folder: string): Promise<number> {
  const stop = new Promise<StopMode>((ordered) => {
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => ordered(stopModeIn(folder)));
  });
  try {
    const text = readFileSync(join(folder, "config.json"), "utf8");
    const { environment: given } = z.object({ environment: z.record(z.string(), z.string()) }).parse(JSON.parse(text)); // G1
    const environment: Record<string, string | undefined> = { ...process.env, ...given };
    const config = readConfig(agentConfigSchema, environment);
    for (const name of ["run", "logs"]) mkdirSync(join(folder, name), { recursive: true, mode: 0o700 });
    const say = (connectedAt: Date | null): void => { // G4
      const file = join(folder, "run", "agent.json");
      writeFileSync(`${file}.new`, JSON.stringify({ ...identifyProcess(process.pid), release: basename(dirname(packageRoot())), configSha256: createHash("sha256").update(text).digest("hex"), connectedAt }), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    };
    const log = pino({ level: config.TRAINYARD_LOG_LEVEL, name: "agent" }, openRotatingFile(join(folder, "logs", "agent.log"), LOG_ROTATION_BYTES));
    const agent = await startAgent({ config, log, environment });
    say(null); // after its directory is locked: no other agent is there to be spoken over
    void agent.connected.then(() => say(new Date()));
    const ended = await Promise.race([agent.done.then(() => null), stop]);
    if (ended !== null) await agent.stop(ended);
    return 0;
  } catch (error) {
    process.stderr.write(`The agent could not start: ${(error as Error).message}\n`); // G3
    return EX_CONFIG;
  }
}

/** G2. */
function stopModeIn(folder: string): StopMode {
  try {
    const said = readFileSync(join(folder, "stop"), "utf8").trim();
    return said === "drain" || said === "now" ? said : "detach";
  } catch {
    return "detach";
  }
}
