// Shows a pipeline to its end: a redrawn table on a terminal, one line per change elsewhere, the state and then one JSON object per event with --json.
import { openSubscriptions } from "../api/subscriptions.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, exitCodeOf, type ExitCode } from "../exit-codes.js";
import { isScreen, openLiveScreen } from "../live-screen.js";
import { eventLine } from "../render/event-line.js";
import { renderPipelineFrame } from "../render/pipeline-frame.js";
import { statusStyle } from "../style.js";
import { anomalyLine, anomalySummary } from "../render/anomaly-lines.js";
import { harmless } from "../render/text-width.js";
import { followAnomalies } from "./anomaly-follower.js";
import { followPipeline } from "./pipeline-follower.js";
import { countsOf, type AnomalyView, type ApiEvent, type PipelineView } from "./pipeline-view.js";
import { pollTelemetry } from "./telemetry-poll.js";

/** How often clocks and bars move on a terminal, in milliseconds. */
const REDRAW_MS = 200;

interface Display {
  state(view: PipelineView): void;
  event(event: ApiEvent, view: PipelineView): void;
  anomaly(stage: string, anomaly: AnomalyView): void;
  end(): void;
}

/** Follows until the pipeline has ended or the signal comes; gives the last view. Throws CliError. */
export async function watchPipeline(cli: Cli, pipelineId: string, signal: AbortSignal): Promise<PipelineView> {
  const subscriptions = openSubscriptions(cli);
  const display = cli.quiet ? silent : cli.format !== "table" ? recordDisplay(cli) : isScreen(cli.stdout, cli.environment) ? screenDisplay(cli) : lineDisplay(cli);
  let current: PipelineView | null = null;
  let stopAnomalies: (() => void) | null = null;
  const onState = (view: PipelineView) => {
    current = view;
    display.state(view);
    stopAnomalies ??= followAnomalies(subscriptions, view, () => current!, display.anomaly);
  };
  try {
    return await followPipeline({ api: cli.api(), subscriptions, pipelineId, onState, onEvent: display.event, signal });
  } finally {
    (stopAnomalies as (() => void) | null)?.();
    display.end();
    subscriptions.close();
  }
}

/** `watch` as a whole: follows, says how it ended and what to do next. */
export async function watchToExit(cli: Cli, pipelineId: string, timeoutSeconds: number | null): Promise<ExitCode> {
  const stop = new AbortController();
  let interrupted = false, timedOut = false;
  const onInterrupt = () => {
    interrupted = true;
    stop.abort();
  };
  const timer = timeoutSeconds === null ? undefined : setTimeout(() => {
    timedOut = true;
    stop.abort();
  }, timeoutSeconds * 1000);
  process.once("SIGINT", onInterrupt);
  process.once("SIGTERM", onInterrupt);
  try {
    const view = await watchPipeline(cli, pipelineId, stop.signal);
    const ended = exitCodeOf(view.status);
    if (ended !== null) {
      sayEnd(cli, view);
      return ended;
    }
    if (timedOut) throw new CliError(EXIT.timedOut, `${view.name} (${pipelineId}) is still ${view.status} after ${timeoutSeconds} s.`, { hint: `It goes on. Watch it again: ${cli.command(`watch ${pipelineId}`)}` });
    if (interrupted) cli.note(`\nNo longer watching; ${view.name} goes on. Come back with: ${cli.command(`watch ${pipelineId}`)}   Stop it with: ${cli.command(`cancel ${pipelineId}`)}`);
    return EXIT.interrupted;
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", onInterrupt);
    process.off("SIGTERM", onInterrupt);
  }
}

/** How a pipeline ended, and the commands that help now. */
export function sayEnd(cli: Cli, view: PipelineView): void {
  const style = cli.noteStyle;
  const next = (what: string, command: string) => cli.note(`  ${style.dim(what.padEnd(14))}${cli.command(command)}`);
  const counts = Object.entries(countsOf(view)).map(([status, count]) => `${count} ${status}`).join(", ");
  cli.note(`${statusStyle(style, view.status)(view.status)} ${view.name}: ${counts}${view.error === null ? "" : `. ${view.error}`}`);
  for (const stage of [...view.stages.values()].filter(({ simulated, anomalies }) => simulated || anomalies.length > 0).slice(0, 5)) {
    cli.note(`  ${harmless(stage.name)}: ${[stage.simulated ? style.yellow(stage.kind === "TRAIN" ? "simulated, nothing was trained" : "simulated, its results are made up") : "", anomalySummary(stage.anomalies, style)].filter((part) => part !== "").join("; ")}`);
    if (stage.anomalies.length > 0) next("Anomalies:", `job anomalies ${stage.id}`);
  }
  if (view.status === "COMPLETED") return next("Look at it:", `show ${view.id}`);
  for (const stage of [...view.stages.values()].filter(({ status }) => status === "FAILED").slice(0, 3)) {
    cli.note(style.red(`  ${stage.name}: ${stage.error?.code ?? "FAILED"}: ${stage.error?.message ?? ""}`));
    if (stage.error?.hint != null) cli.note(`    ${stage.error.hint}`);
    for (const line of stage.error?.logTail.slice(-5) ?? []) cli.note(style.dim(`    | ${line}`));
    next("Its log:", `logs ${view.id} --stage ${stage.name}`);
  }
  next("Try again:", `retry ${view.id}`);
}

const silent: Display = { state: () => undefined, event: () => undefined, anomaly: () => undefined, end: () => undefined };

function recordDisplay(cli: Cli): Display {
  return {
    ...silent,
    state: ({ id, name, status, error, cursor, stages }) => cli.record({ type: "PipelineState", pipelineId: id, name, status, error, cursor, stages: Object.fromEntries([...stages.values()].map((stage) => [stage.name, stage.status])), simulated: [...stages.values()].filter((stage) => stage.simulated).map((stage) => stage.name) }),
    event: (event) => cli.record(event),
    anomaly: (stage, anomaly) => cli.record({ type: "Anomaly", stage, ...anomaly }),
  };
}

function lineDisplay(cli: Cli): Display {
  let first = true;
  return {
    state(view) {
      const counts = Object.entries(countsOf(view)).map(([status, count]) => `${count} ${status}`).join(", ");
      cli.line(`${new Date().toISOString().slice(11, 19)}  ${cli.style.bold("pipeline")}  ${statusStyle(cli.style, view.status)(view.status)}  ${view.name} ${view.id}: ${counts}${first ? "" : " (read anew)"}`);
      if (first) for (const stage of view.stages.values()) {
        if (stage.simulated) cli.line(`${new Date().toISOString().slice(11, 19)}  ${harmless(stage.name)}  ${cli.style.yellow(stage.kind === "TRAIN" ? "simulated: nothing is trained" : "simulated: its results are made up")}`);
        if (stage.anomalies.length > 0) cli.line(`${new Date().toISOString().slice(11, 19)}  ${harmless(stage.name)}  ${anomalySummary(stage.anomalies, cli.style)}`);
      }
      first = false;
    },
    event(event) {
      const line = eventLine(event, cli.style);
      if (line !== null) cli.line(line);
    },
    anomaly: (stage, anomaly) => cli.line(`${cli.style.dim(anomaly.createdAt.slice(11, 19))}  ${harmless(stage)}  ⚠ ${anomalyLine(anomaly, cli.style)}`),
    end: () => undefined,
  };
}

function screenDisplay(cli: Cli): Display {
  const screen = openLiveScreen(cli.stdout);
  let view: PipelineView | null = null;
  const draw = () => {
    if (view !== null) screen.draw(renderPipelineFrame(view, { now: Date.now(), style: cli.style, ...screen.size() }));
  };
  const timer = setInterval(draw, REDRAW_MS);
  const poll = pollTelemetry(cli.api(), () => view, draw);
  return {
    state(state) {
      view = state;
      draw();
    },
    event: draw,
    anomaly: draw,
    end() {
      clearInterval(timer);
      poll.stop();
      draw();
      screen.close();
    },
  };
}
