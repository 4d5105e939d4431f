// The steps of an order, told while they go on. Who shows them decides how often.

import type { DeploymentStep } from "../../domain/deployment-step.js";

export interface StepInProgress {
  detail(text: string): void;
  /** Of a transfer. */
  moved(bytesDone: number, bytesTotal: number): void;
  done(detail?: string): void;
}

export interface DeployProgress {
  readonly steps: readonly DeploymentStep[];
  /** Begins a step; the one before is done. */
  begin(name: string): StepInProgress;
  /** The step under way failed. */
  failed(): void;
}

/** The rate is that of about so long, in milliseconds. */
const WINDOW_MS = 5_000;

/** `changed` is called after each change. */
export function createDeployProgress(changed: () => void, now: () => number = () => performance.now()): DeployProgress {
  const steps: DeploymentStep[] = [];
  const change = (index: number, part: Partial<DeploymentStep>): void => {
    steps[index] = { ...steps[index]!, ...part };
    changed();
  };
  return {
    steps,
    begin(name) {
      const before = steps.length - 1;
      if (before >= 0 && steps[before]!.state === "RUNNING") steps[before] = { ...steps[before]!, state: "DONE", etaMs: null };
      const index = steps.push({ name, state: "RUNNING", detail: null, bytesDone: null, bytesTotal: null, etaMs: null }) - 1;
      const marks: { readonly at: number; readonly bytes: number }[] = [];
      changed();
      return {
        detail: (detail) => change(index, { detail }),
        moved(bytesDone, bytesTotal) {
          marks.push({ at: now(), bytes: bytesDone });
          while (marks.length > 2 && now() - marks[1]!.at > WINDOW_MS) marks.shift();
          const [first, last] = [marks[0]!, marks.at(-1)!];
          const perMs = last.at === first.at ? 0 : (last.bytes - first.bytes) / (last.at - first.at);
          change(index, { bytesDone, bytesTotal, etaMs: perMs <= 0 || bytesDone >= bytesTotal ? null : Math.round((bytesTotal - bytesDone) / perMs) });
        },
        done: (detail) => change(index, { state: "DONE", etaMs: null, ...(detail === undefined ? {} : { detail }) }),
      };
    },
    failed() {
      const last = steps.length - 1;
      if (last >= 0 && steps[last]!.state === "RUNNING") change(last, { state: "FAILED", etaMs: null });
    },
  };
}
