// `trainyard demo`: the whole way in one command. Started again after Ctrl-C or a crash it goes on with the pipeline it began.
//   D1. The request id is noted before the pipeline is submitted: a demo killed in between submits the same pipeline, not a second one.
//   D2. A pipeline that has not ended is followed; a new one is begun only after the last has ended.
import { randomUUID } from "node:crypto";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { packagePath } from "../../package-root.js";
import { createCli, type Cli } from "../cli.js";
import { CliError, EXIT, exitCodeOf, type ExitCode } from "../exit-codes.js";
import { readView } from "../follow/pipeline-follower.js";
import { sayEnd, watchPipeline } from "../follow/watch-pipeline.js";
import { readJson, readServerNote, writeWhole } from "../stack/data-directory.js";
import { anyFreePort, isPortFree } from "../stack/ports.js";
import type { Stack } from "../stack/stack.js";
import { renderDemoResult } from "../render/demo-result.js";
import { loadSpec } from "../spec/spec-file.js";
import { submitLoaded } from "./submit.js";
import { bringUp, stopSignals, takeDown, tokenisedUrl } from "./up.js";

interface DemoOptions { readonly port?: number; readonly exit?: boolean }

/** What is kept of the newest run, in DIR/demo.json. */
interface DemoNote { readonly requestId: string; readonly pipelineId: string | null }

const DEFAULT_PORT = 7070;
const DATA_DIR = join(".trainyard", "demo");

export async function run(cli: Cli, _: readonly string[], options: DemoOptions): Promise<ExitCode> {
  const dataDir = resolve(cli.workingDirectory, cli.options.dataDir ?? cli.config.TRAINYARD_DATA_DIR ?? DATA_DIR);
  const stopped = stopSignals(cli);
  const startedAt = performance.now();
  cli.note(cli.noteStyle.dim(`Starting PostgreSQL, the control plane and an agent in ${dataDir} …`));
  const stack = await bringUp(cli, { port: options.port ?? (await freeDemoPort(cli, dataDir)) }, dataDir);
  stopped.hurry(() => stack.hurry());
  cli.note(`${cli.noteStyle.green("ready")} ${cli.noteStyle.dim(`in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)}  ${stack.url}`);
  const session = createCli(cli, { ...cli.options, dataDir });
  const stop = new AbortController();
  void stopped.came.then(() => stop.abort());
  let code: ExitCode = EXIT.ok;
  try {
    code = await showPipeline(session, stack, dataDir, stop.signal);
    if (!stop.signal.aborted && options.exit !== true) {
      sayNext(session, stack);
      await stopped.came;
    }
  } catch (error) {
    if (!stop.signal.aborted) {
      await takeDown(session, stack, "detach", "demo");
      throw error;
    }
  }
  if (stop.signal.aborted) cli.note("\nStopping; what was running is taken up again at the next start.");
  await takeDown(session, stack, "detach", "demo");
  return stop.signal.aborted && code === EXIT.interrupted ? EXIT.interrupted : code;
}

/** Follows the pipeline to its end and prints the result; the exit code says how it ended. */
async function showPipeline(cli: Cli, stack: Stack, dataDir: string, signal: AbortSignal): Promise<ExitCode> {
  const pipelineId = await beginOrGoOn(cli, dataDir);
  const view = await watchPipeline(cli, pipelineId, signal);
  const ended = exitCodeOf(view.status);
  if (ended === null) return EXIT.interrupted;
  if (cli.format === "table") for (const line of renderDemoResult(view, cli.style, cli.stdout.isTTY === true ? (cli.stdout.columns ?? null) : null)) cli.line(line);
  else cli.record({ url: stack.url, wsUrl: stack.wsUrl, pipeline: { id: view.id, name: view.name, status: view.status }, stages: Object.fromEntries([...view.stages.values()].map(({ name, status, outputs }) => [name, { status, outputs }])) });
  if (ended !== EXIT.ok) sayEnd(cli, view);
  return ended;
}

/** D1, D2. */
async function beginOrGoOn(cli: Cli, dataDir: string): Promise<string> {
  const file = join(dataDir, "demo.json");
  const note = readJson(file) as DemoNote | null;
  if (note?.pipelineId != null) {
    const view = await readView(cli.api(), note.pipelineId).catch((error: unknown) => {
      if (error instanceof CliError && error.exitCode === EXIT.notFound) return null; // the data directory was emptied by hand
      throw error;
    });
    if (view !== null && exitCodeOf(view.status) === null) {
      cli.note(`Going on with ${view.name} ${view.id}, which is ${view.status}.${view.status === "PAUSED" ? ` Let it run with: ${cli.command(`resume ${view.id}`)}` : ""}`);
      return view.id;
    }
  }
  const requestId = note !== null && note.pipelineId === null ? note.requestId : `demo-${randomUUID()}`;
  writeWhole(file, JSON.stringify({ requestId, pipelineId: null } satisfies DemoNote), 0o644); // D1
  const loaded = await loadSpec(cli, packagePath("examples", "tiny-lm", "pipeline.yaml"), []);
  const submitted = await submitLoaded(cli, loaded, requestId);
  if ("refused" in submitted) throw new CliError(submitted.refused, "The example pipeline is refused; this installation is damaged.", { hint: "Install trainyard again." });
  writeWhole(file, JSON.stringify({ requestId, pipelineId: submitted.pipeline.id } satisfies DemoNote), 0o644);
  cli.note(`Submitted ${submitted.pipeline.name} as ${submitted.pipeline.id}: two small language models learn to spell, side by side.`);
  return submitted.pipeline.id;
}

function sayNext(cli: Cli, stack: Stack): void {
  const row = (what: string, text: string) => cli.note(`  ${cli.noteStyle.dim(what.padEnd(22))}${text}`);
  cli.note("");
  cli.note(`The server stays up: ${cli.noteStyle.bold(tokenisedUrl(stack))}`);
  row("what ran", cli.command("ls"));
  row("stages and outputs", cli.command("show tiny-lm"));
  row("the log of a training", cli.command("logs tiny-lm --stage train-wide"));
  row("checkpoints", cli.command("checkpoint ls tiny-lm"));
  row("run it again", cli.command("submit examples/tiny-lm/pipeline.yaml"));
  row("train it otherwise", cli.command("fork tiny-lm --from train-wide --set totalSteps=6500"));
  cli.note(cli.noteStyle.dim("Ctrl-C stops everything cleanly; npm run demo starts it again."));
}

/** 7070, or another when something else has it; the one of the last start if that is still free. */
async function freeDemoPort(cli: Cli, dataDir: string): Promise<number> {
  const note = readServerNote(dataDir);
  const wanted = note === null ? DEFAULT_PORT : Number(new URL(note.url).port);
  for (let tries = 0; tries < 20; tries++) { // a demo killed just now may still be letting go of it
    if (await isPortFree(wanted)) return wanted;
    if (note === null) break;
    await delay(100);
  }
  const port = await anyFreePort();
  cli.note(`Port ${wanted} is taken by another program; using ${port}.`);
  return port;
}
