// `trainyard up`: everything in one directory, until a signal. With --json the only line on stdout is {"url","wsUrl","token"}, when all is ready.
import { resolve } from "node:path";
import { readConfig, serverConfigSchema } from "../../config.js";
import type { EmbeddedStoreLog } from "../../server/embedded/embedded-store-error.js";
import type { Cli } from "../cli.js";
import { EXIT, type ExitCode } from "../exit-codes.js";
import { logFile } from "../stack/data-directory.js";
import { runningPrograms } from "../stack/running-programs.js";
import { startStack, type Stack } from "../stack/stack.js";

/** A terminal and npm may both pass on one Ctrl-C. */
const SAME_SIGNAL_MS = 500;
const PARENT_CHECK_MS = 200;

export interface UpOptions {
  readonly port?: number;
  readonly agent?: boolean;
  readonly stopPrograms?: boolean;
  readonly verbose?: boolean;
}

export async function run(cli: Cli, _: readonly string[], options: UpOptions): Promise<ExitCode> {
  const stopped = stopSignals(cli);
  const startedAt = performance.now();
  const stack = await bringUp(cli, options, cli.options.dataDir ?? null);
  stopped.hurry(() => stack.hurry());
  if (cli.format === "json") cli.line(JSON.stringify({ url: stack.url, wsUrl: stack.wsUrl, token: stack.token }));
  else sayBanner(cli, stack, performance.now() - startedAt);
  cli.note(`${await stopped.came}: stopping.`);
  await takeDown(cli, stack, options.stopPrograms === true ? "now" : "detach");
  return EXIT.ok;
}

/** Starts the stack of a data directory as the configuration and the options say; `dataDir` null: TRAINYARD_DATA_DIR or its default. */
export function bringUp(cli: Cli, options: UpOptions, dataDir: string | null): Promise<Stack> {
  const config = readConfig(serverConfigSchema, cli.environment);
  return startStack({
    dataDir: resolve(cli.workingDirectory, dataDir ?? config.TRAINYARD_DATA_DIR),
    port: options.port ?? config.TRAINYARD_PORT,
    agent: options.agent !== false,
    environment: cli.environment,
    databaseUrl: config.DATABASE_URL,
    redisUrl: config.REDIS_URL,
    dataDirs: config.TRAINYARD_DATA_DIRS.map((path) => resolve(cli.workingDirectory, path)),
    wantsRedis: config.TRAINYARD_REDIS === "auto",
    log: storeLog(cli, options.verbose === true),
    say: (text) => cli.note(cli.noteStyle.yellow(text)),
  });
}

/** Stops everything and says what goes on without us. `again`: the command that starts it again. */
export async function takeDown(cli: Cli, stack: Stack, programs: "detach" | "now", again: "up" | "demo" = "up"): Promise<void> {
  const running = programs === "detach" ? await runningPrograms(stack.api) : [];
  await stack.stop(programs);
  for (const { pipeline, stage, attempt } of running) cli.note(`Still running: ${pipeline} / ${stage}${attempt > 1 ? ` (try ${attempt})` : ""}. The next start takes it over.`);
  cli.note(`Stopped. Everything is kept in ${stack.dataDir}; start again with: ${cli.self} ${again} --data-dir ${stack.dataDir}`);
}

export function tokenisedUrl(stack: Pick<Stack, "url" | "token">): string {
  return `${new URL(stack.url).origin}/#token=${stack.token}`; // after #: browsers do not send it, logs do not keep it
}

/** Resolves with what asks to stop first; from the third signal on, the callback given to `hurry` is called. */
export function stopSignals(cli: Cli): { readonly came: Promise<string>; hurry(callback: () => void): void } {
  let onHurry: (() => void) | null = null;
  let signals = 0, lastAt = -Infinity;
  const came = new Promise<string>((resolve) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => {
      resolve(name);
      const now = performance.now();
      if (now - lastAt < SAME_SIGNAL_MS) return;
      lastAt = now;
      if (++signals === 2) cli.note("Still stopping. Once more ends the control plane and the agent at once; the stores still close properly.");
      if (signals >= 3) onHurry?.();
    });
    if (cli.environment["npm_command"] !== undefined) whenParentIsGone(() => resolve("npm is gone"));
  });
  return { came, hurry: (callback) => void (onHurry = callback) };
}

/** npx and npm run start us through a shell, and their SIGTERM ends that shell without reaching us: a new parent means that we were asked to stop. */
function whenParentIsGone(callback: () => void): void {
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    callback();
  }, PARENT_CHECK_MS);
  watch.unref();
}

function sayBanner(cli: Cli, stack: Stack, tookMs: number): void {
  const { bold, dim, green, yellow } = cli.noteStyle;
  const row = (name: string, value: string) => cli.note(`  ${dim(name.padEnd(12))}${value}`);
  cli.note(`${green("ready")} ${dim(`in ${(tookMs / 1000).toFixed(1)} s`)}`);
  row("GraphQL", stack.url);
  row("open", bold(tokenisedUrl(stack)));
  row("data", stack.dataDir);
  row("PostgreSQL", stack.kinds.postgres);
  row("Redis", stack.kinds.redis);
  if (!stack.agentIsUp) cli.note(yellow(`The agent has not reported in yet; look at ${logFile(stack.dataDir, "agent")}.`));
  cli.note("");
  cli.note("In another terminal:");
  cli.note(`  ${cli.command("submit examples/tiny-lm/pipeline.yaml")}`);
  cli.note(`  ${cli.command("ls")}`);
  cli.note(dim("Ctrl-C stops it; programs that run go on, and the next start takes them over."));
}

/** Warnings always; the rest with --verbose. */
function storeLog(cli: Cli, verbose: boolean): EmbeddedStoreLog {
  const say = (facts: object, message: string) => cli.note(cli.noteStyle.dim(`${message} ${JSON.stringify(facts, (key, value: unknown) => (key === "err" && value instanceof Error ? value.message : value))}`));
  return { info: (facts, message) => (verbose ? say(facts, message) : undefined), warn: say };
}
