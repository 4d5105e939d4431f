// A trainer's console read line by line, and what has been seen of the run so far: the same for whoever follows it live and whoever judges it at its end.

import type { Trainer } from "../../domain/training/algorithms.js";
import { readConsoleLine, type ConsoleFinding, type ConsolePoint } from "./console-lines.js";
import { createTrlReader } from "./trl-lines.js";

export interface RunReader {
  /** Points of one whole line. A carriage return within it parts it. */
  read(line: string): readonly ConsolePoint[];
  /** Points that another source had (the JSON-lines logger). */
  take(points: readonly ConsolePoint[]): void;
  /** Highest step with any metrics. */
  readonly lastStep: number | null;
  /** Steps of the whole run, as the trainer said. */
  readonly totalSteps: number | null;
  /** What Ray said it waits for, while no step was logged. */
  readonly unplaceable: string | null;
  /** Newest value of each metric. */
  readonly last: ReadonlyMap<string, { readonly step: number; readonly value: number }>;
}

/** `from`: the step that the run was resumed at, 0 for a fresh one. */
export function createRunReader(trainer: Trainer, from: number): RunReader {
  const trl = trainer === "trl-dpo" ? createTrlReader(from) : null;
  const last = new Map<string, { step: number; value: number }>();
  let lastStep: number | null = null;
  let totalSteps: number | null = null;
  let unplaceable: string | null = null;
  const take = (points: readonly ConsolePoint[]): void => {
    for (const { name, step, value } of points) {
      if (lastStep === null || step > lastStep) lastStep = step;
      const known = last.get(name);
      if (known === undefined || step >= known.step) last.set(name, { step, value });
    }
  };
  const found = (finding: ConsoleFinding): readonly ConsolePoint[] => {
    switch (finding.kind) {
      case "points":
        take(finding.points);
        return finding.points;
      case "total":
        if (finding.steps > 0) totalSteps = finding.steps;
        return [];
      case "unplaceable":
        if (lastStep === null) unplaceable ??= finding.text;
        return [];
      case "non-finite-gradient":
        return [];
    }
  };
  return {
    read: (line) => line.split("\r").flatMap((part) => (trl === null ? readConsoleLine(part) : trl.line(part)).flatMap(found)),
    take,
    get lastStep() { return lastStep; },
    get totalSteps() { return totalSteps; },
    get unplaceable() { return unplaceable; },
    last,
  };
}

/** The metric by which a run is judged: its loss. Undefined when none was logged. */
export function lastLoss(trainer: Trainer, last: RunReader["last"]): number | undefined {
  const names = trainer === "verl-rl" ? ["actor/pg_loss", "critic/vf_loss"] : ["train/loss"];
  return names.map((name) => last.get(name)?.value).find((value) => value !== undefined);
}
