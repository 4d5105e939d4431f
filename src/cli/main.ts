// The program: parses the command line, runs one command, and turns however it ends into a message and an exit code.
//   E1. stdout carries data only; every message goes to stderr.
//   E2. An expected end is one message and what to do; a bug is one line, and TRAINYARD_DEBUG=1 shows its stack.
import { readFileSync } from "node:fs";
import { CommanderError } from "commander";
import { TrainyardError } from "../domain/errors.js";
import { packagePath } from "../package-root.js";
import type { Surroundings } from "./cli.js";
import { CliError, EXIT, type ExitCode } from "./exit-codes.js";
import { buildProgram } from "./program.js";
import { createStyle, wantsColour } from "./style.js";

const surroundings: Surroundings = { environment: process.env, workingDirectory: process.cwd(), stdin: process.stdin, stdout: process.stdout, stderr: process.stderr };

/** Commands that outlive whoever reads their output: they end in order, or not at all. */
const KEEPS_RUNNING = new Set(["up", "demo", "server", "agent"]);
let running = "";

// The reader went away (`trainyard ls | head`, a closed terminal): a command that only tells has nobody left to tell.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (!KEEPS_RUNNING.has(running)) process.exit(error.code === "EPIPE" ? EXIT.ok : EXIT.failure);
});
process.stderr.on("error", () => undefined);

const code = await main(process.argv.slice(2));
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => (stream.writable ? stream.write("", () => resolve()) : resolve()))));
process.exit(code); // idle connections and timers of libraries keep nobody waiting

async function main(args: readonly string[]): Promise<ExitCode> {
  let ended: ExitCode = EXIT.ok;
  try {
    const program = buildProgram({ surroundings, version: version(), onBegin: (name) => (running = name), onEnd: (exitCode) => (ended = exitCode) });
    if (args.length === 0) {
      program.outputHelp();
      return EXIT.ok;
    }
    await program.parseAsync(args, { from: "user" });
    return ended;
  } catch (error) {
    return explain(error);
  }
}

function explain(error: unknown): ExitCode {
  const style = createStyle(wantsColour(process.stderr, process.env, !process.argv.includes("--no-color")));
  const say = (message: string, hint: string | null) => {
    process.stderr.write(`${style.red("error:")} ${message}\n`);
    if (hint !== null) process.stderr.write(`${hint}\n`);
  };
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage; // commander has said it
  if (process.env["TRAINYARD_DEBUG"]) process.stderr.write(`${style.dim((error as Error).stack ?? String(error))}\n`);
  if (error instanceof CliError) {
    if (error.message !== "") say(error.message, error.hint);
    return error.exitCode;
  }
  if (error instanceof Error && (error as { code?: unknown }).code === "CONFIG_INVALID") { // by code: the schemas are not loaded for --help
    say(error.message, null);
    return EXIT.usage;
  }
  if (error instanceof TrainyardError) {
    say(error.message, null);
    return { INVALID_INPUT: EXIT.usage, NOT_FOUND: EXIT.notFound, FORBIDDEN: EXIT.auth, CONFLICT: EXIT.failure, UNAVAILABLE: EXIT.failure }[error.kind];
  }
  say(error instanceof Error ? `${error.name}: ${error.message}` : String(error), "This should not happen. Run it again with TRAINYARD_DEBUG=1 to see where, and report it with `trainyard doctor --json`.");
  return EXIT.failure;
}

function version(): string {
  return (JSON.parse(readFileSync(packagePath("package.json"), "utf8")) as { version: string }).version;
}
