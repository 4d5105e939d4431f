// How a transfer or a long reading goes on, on one line of stderr that is redrawn where stderr is a terminal, and not shown elsewhere.
import type { Cli } from "../cli.js";
import { isScreen } from "../live-screen.js";
import { bytes, duration, progressBar } from "./quantities.js";
import { cut } from "./text-width.js";

const REDRAW_MS = 100;
/** The rate is that of about so long, in milliseconds: the beginning of a slow transfer says nothing of its end. */
const WINDOW_MS = 5_000;

export interface Transfer {
  /** Bytes so far. */
  moved(count: number): void;
  /** Wipes the line away. */
  end(): void;
}

export function showTransfer(cli: Cli, what: string, totalBytes: number, now: () => number = Date.now): Transfer {
  const line = openLine(cli);
  const meter = createRateMeter(now());
  let drawnAt = 0;
  return {
    moved(count) {
      meter.add(now(), count);
      if (count < totalBytes && now() - drawnAt < REDRAW_MS) return;
      drawnAt = now();
      line.draw(transferLine(what, count, totalBytes, meter.perSecond()));
    },
    end: () => line.close(),
  };
}

/** A line that tells how long something without a measure has taken; call the result at its end. */
export function showWaiting(cli: Cli, what: string): () => void {
  const line = openLine(cli);
  const startedAt = Date.now();
  const timer = setInterval(() => line.draw(`${what}  ${duration(Date.now() - startedAt)}`), 500);
  timer.unref();
  return () => {
    clearInterval(timer);
    line.close();
  };
}

/** One line: bar, share, bytes, rate, time to go. `perSecond` 0: not known yet. */
export function transferLine(what: string, count: number, total: number, perSecond: number): string {
  const share = total === 0 ? 1 : count / total;
  const rate = perSecond === 0 ? "" : `  ${bytes(perSecond)}/s`;
  const left = perSecond === 0 || count >= total ? "" : `  ETA ${duration((total - count) / perSecond * 1_000)}`;
  return `${what}  ${progressBar(share, 16)}  ${String(Math.floor(share * 100)).padStart(3)} %  ${bytes(count)} of ${bytes(total)}${rate}${left}`;
}

export interface RateMeter {
  add(at: number, count: number): void;
  /** Whole bytes per second over the window; 0 before two moments are known. */
  perSecond(): number;
}

export function createRateMeter(startedAt: number): RateMeter {
  const marks: { at: number; count: number }[] = [{ at: startedAt, count: 0 }];
  return {
    add(at, count) {
      const last = marks.at(-1)!;
      if (at - last.at < REDRAW_MS && marks.length > 1) last.count = count;
      else marks.push({ at, count });
      while (marks.length > 2 && at - marks[1]!.at > WINDOW_MS) marks.shift();
    },
    perSecond() {
      const [first, last] = [marks[0]!, marks.at(-1)!];
      return last.at === first.at ? 0 : Math.round((last.count - first.count) / (last.at - first.at) * 1_000);
    },
  };
}

function openLine(cli: Cli): { draw(text: string): void; close(): void } {
  const shown = !cli.quiet && isScreen(cli.stderr, cli.environment);
  let drawn = false;
  return {
    draw(text) {
      if (!shown) return;
      drawn = true;
      cli.stderr.write(`\r${cut(text, Math.max(20, (cli.stderr.columns ?? 80) - 1))}\u001b[K`);
    },
    close() {
      if (drawn) cli.stderr.write("\r\u001b[K");
      drawn = false;
    },
  };
}
