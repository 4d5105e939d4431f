// verl's console as it comes, in pieces of any size, to metric points, totals and warnings.
//   C1. A metrics line is found wherever it stands: progress bars leave the text before it without a line end, Ray puts a prefix before it.
//   C2. Items are parted by " - ", key and value by the last ":": keys contain "/", "@", "(B)" and, through data_source names, ":".
//   C3. One step may come on several lines; merging is the reader's business (a point is one key at one step).
//   C4. Values are Python's: ints, floats, True, nan, inf, and np.float64(…) around any of them. What is no number is no point.

/** One value at one step. NaN and infinities are values. */
export interface ConsolePoint { readonly name: string; readonly step: number; readonly value: number }

export type ConsoleFinding =
  | { readonly kind: "points"; readonly step: number; readonly points: readonly ConsolePoint[] }
  | { readonly kind: "total"; readonly steps: number }
  /** Ray waits for processors or GPUs that the cluster does not have: it would wait for ever. */
  | { readonly kind: "unplaceable"; readonly text: string }
  /** The optimiser skipped a step. */
  | { readonly kind: "non-finite-gradient"; readonly text: string };

/** A line longer than this is no line of verl's console; its rest is let go, in characters. */
const LONGEST_LINE = 1_048_576;

export interface ConsoleReader {
  /** Takes text as it was read; findings of the lines it completes. */
  push(text: string): readonly ConsoleFinding[];
  /** What the last line, without a line end, still holds. */
  end(): readonly ConsoleFinding[];
}

export function createConsoleReader(): ConsoleReader {
  let rest = "";
  let skipping = false;
  return {
    push(text) {
      const lines = (rest + text).split(/\r\n|\n|\r/);
      rest = lines.pop()!;
      const findings: ConsoleFinding[] = [];
      for (const line of lines) {
        if (!skipping) findings.push(...readConsoleLine(line));
        skipping = false;
      }
      if (rest.length > LONGEST_LINE) {
        rest = "";
        skipping = true;
      }
      return findings;
    },
    end() {
      const line = skipping ? "" : rest;
      rest = "";
      return readConsoleLine(line);
    },
  };
}

const ANSI = /\u001b\[[0-9;?]*[ -/]*[@-~]/g;
const METRICS = /step:(\d{1,15}) - /;
const TOTALS = /Total (?:training )?steps: (\d{1,15})/;

/** Findings of one whole line. */
export function readConsoleLine(raw: string): readonly ConsoleFinding[] {
  const line = raw.includes("\u001b") ? raw.replace(ANSI, "") : raw;
  const metrics = METRICS.exec(line); // C1
  if (metrics !== null) {
    const step = Number(metrics[1]);
    const points = readItems(line.slice(metrics.index + metrics[0].length), step);
    return points.length === 0 ? [] : [{ kind: "points", step, points }];
  }
  const total = TOTALS.exec(line);
  if (total !== null) return [{ kind: "total", steps: Number(total[1]) }];
  if (line.includes("No available node types can fulfill resource request")) return [{ kind: "unplaceable", text: line.trim().slice(0, 500) }];
  if (line.includes("grad_norm is not finite")) return [{ kind: "non-finite-gradient", text: line.trim().slice(0, 200) }];
  return [];
}

/** C2, C4. */
function readItems(text: string, step: number): ConsolePoint[] {
  return text.split(" - ").flatMap((item) => {
    const colon = item.lastIndexOf(":");
    const value = colon <= 0 ? null : readNumber(item.slice(colon + 1).trim());
    return value === null ? [] : [{ name: item.slice(0, colon).trim(), step, value }];
  });
}

const NUMBER = /^[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const WRAPPED = /^np\.[a-z]+\d*\((.*)\)$/;

/** A number as Python prints it; null when it is none. */
export function readNumber(text: string): number | null {
  const inner = WRAPPED.exec(text)?.[1] ?? text;
  if (NUMBER.test(inner)) return Number(inner.replaceAll("_", ""));
  switch (inner.toLowerCase()) {
    case "nan": case "+nan": case "-nan": return Number.NaN;
    case "inf": case "+inf": case "infinity": return Number.POSITIVE_INFINITY;
    case "-inf": case "-infinity": return Number.NEGATIVE_INFINITY;
    case "true": return 1;
    case "false": return 0;
    default: return null;
  }
}
