// Prints logs: of one stage as it is, of a whole pipeline with the stage's name before each line.
import { idKind } from "../../domain/ids.js";
import { openSubscriptions } from "../api/subscriptions.js";
import { findPipelineId, stageById, stageByName, type FoundStage } from "../api/find-pipeline.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, exitCodeOf, type ExitCode } from "../exit-codes.js";
import { followPipeline, readView } from "../follow/pipeline-follower.js";
import type { PipelineView, StageView } from "../follow/pipeline-view.js";
import { followLog, lastLines, printLog, type FollowedLog, type LogSink, type LogSource } from "../follow/stage-log.js";
import { interruptSignal } from "../interrupts.js";

interface LogsOptions {
  readonly follow?: boolean;
  readonly stage?: string;
  readonly attempt?: number;
  readonly tail?: number;
  readonly grep?: string;
}

const OVER = new Set(["COMPLETED", "FAILED", "CANCELLED", "SKIPPED"]);

export async function run(cli: Cli, [target]: readonly string[], options: LogsOptions): Promise<ExitCode> {
  const pattern = options.grep === undefined ? null : compile(options.grep);
  const only = await stageOf(cli, target!, options.stage);
  const pipelineId = only?.pipelineId ?? (await findPipelineId(cli, target!));
  if (options.attempt !== undefined && only === null) throw new CliError(EXIT.usage, "--attempt needs a stage.", { hint: `Name it: ${cli.command(`logs ${pipelineId} --stage NAME --attempt ${options.attempt}`)}` });
  const printer = (stage: string) => linePrinter(cli, stage, { prefixed: only === null, pattern });
  const source = (stageId: string, patience: AbortSignal | null = null): LogSource => ({ api: cli.api(), stageId, attempt: options.attempt ?? null, patience });
  if (options.follow === true) return follow(cli, pipelineId, only?.name ?? null, source, printer, options.tail ?? null);

  const stages = only === null ? started(await readView(cli.api(), pipelineId)) : [only];
  if (stages.length === 0) cli.note(`Nothing has started yet. See why: ${cli.command(`show ${pipelineId}`)}`);
  for (const stage of stages) {
    const sink = printer(stage.name);
    if (options.tail === undefined) await printLog(source(stage.id), 0, sink);
    else sink.text((await lastLines(source(stage.id), options.tail)).text, 0, 0);
    sink.flush();
  }
  return EXIT.ok;
}

async function stageOf(cli: Cli, target: string, name: string | undefined): Promise<FoundStage | null> {
  if (idKind(target) === "stg") return stageById(cli, target);
  return name === undefined ? null : stageByName(cli, await findPipelineId(cli, target), name);
}

/** Stages that may have a log, in the order they started. */
function started(view: PipelineView): StageView[] {
  return [...view.stages.values()].filter(({ startedAt, attempt }) => startedAt !== null || attempt !== null).sort((a, b) => (a.startedAt ?? "").localeCompare(b.startedAt ?? ""));
}

async function follow(cli: Cli, pipelineId: string, onlyStage: string | null, source: (stageId: string, patience: AbortSignal) => LogSource, printer: (stage: string) => LinePrinter, tail: number | null): Promise<ExitCode> {
  const subscriptions = openSubscriptions(cli);
  const interrupt = interruptSignal();
  const over = new AbortController();
  const stop = AbortSignal.any([interrupt.signal, over.signal]);
  const logs = new Map<string, { log: Promise<FollowedLog>; printer: LinePrinter }>();
  const failures: Error[] = [];

  const open = (stage: StageView) => {
    if (logs.has(stage.name)) return;
    const print = printer(stage.name);
    const log = (async () => {
      const from = tail === null ? 0 : await lastLines(source(stage.id, interrupt.signal), tail).then(({ text, toByte }) => (print.text(text, 0, toByte), toByte));
      const followed = followLog(source(stage.id, interrupt.signal), subscriptions, from, print);
      followed.done.catch((error: Error) => {
        failures.push(error);
        over.abort();
      });
      return followed;
    })();
    log.catch((error: Error) => {
      failures.push(error);
      over.abort();
    });
    logs.set(stage.name, { log, printer: print });
  };
  const look = (view: PipelineView) => {
    for (const stage of onlyStage === null ? started(view) : [view.stages.get(onlyStage)].filter((stage) => stage !== undefined)) open(stage);
    const only = onlyStage === null ? null : view.stages.get(onlyStage);
    if (only != null && OVER.has(only.status)) over.abort();
  };
  try {
    const view = await followPipeline({ api: cli.api(), subscriptions, pipelineId, onState: look, onEvent: (_event, after) => look(after), signal: stop });
    if (failures[0] !== undefined && !interrupt.signal.aborted) throw failures[0];
    for (const { log, printer: print } of logs.values()) {
      try {
        const followed = await log;
        if (interrupt.signal.aborted) followed.stop();
        else followed.end();
        await followed.done;
      } catch (error) {
        if (!interrupt.signal.aborted) throw error;
      }
      print.flush();
    }
    if (!interrupt.signal.aborted) return EXIT.ok;
    if (exitCodeOf(view.status) === null) cli.note(`\nNo longer following; the program goes on. Come back with: ${cli.command(`logs -f ${pipelineId}${onlyStage === null ? "" : ` --stage ${onlyStage}`} --tail 20`)}`);
    return EXIT.interrupted;
  } finally {
    interrupt.release();
    subscriptions.close();
  }
}

interface LinePrinter extends LogSink { flush(): void }

/** Whole lines only, so that those of several stages never mix; the text itself, untouched, where one stage is printed plainly. */
function linePrinter(cli: Cli, stage: string, { prefixed, pattern }: { prefixed: boolean; pattern: RegExp | null }): LinePrinter {
  const asRecords = cli.format !== "table";
  const gap = (bytes: number) => (asRecords ? cli.record({ stage, skippedBytes: bytes }) : cli.note(cli.noteStyle.yellow(`[${stage}: ${bytes} bytes of the log are not kept]`)));
  if (!prefixed && pattern === null) {
    return { text: (text, fromByte, toByte) => (asRecords ? cli.record({ stage, fromByte, toByte, text }) : void cli.stdout.write(text)), gap, flush: () => undefined };
  }
  let rest = "";
  const print = (line: string) => {
    if (pattern !== null && !pattern.test(line)) return;
    if (asRecords) cli.record({ stage, line });
    else cli.line(prefixed ? `${cli.style.dim(`${stage} |`)} ${line}` : line);
  };
  return {
    text(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      lines.forEach(print);
    },
    gap,
    flush() {
      if (rest !== "") print(rest);
      rest = "";
    },
  };
}

function compile(expression: string): RegExp {
  try {
    return new RegExp(expression);
  } catch (error) {
    throw new CliError(EXIT.usage, `--grep ${expression} is no regular expression: ${(error as Error).message}.`, { hint: "Put a backslash before characters such as ( [ * + ? that you mean as they are." });
  }
}
