// tqdm's bar: rewritten in its line, which has no end until the last step.

export interface ProgressBar { advance(): void; close(): void }

/** `first`: steps that are done already. `write`: to standard error. */
export function createProgressBar(title: string, total: number, first: number, write: (text: string) => void): ProgressBar {
  const startedAt = performance.now();
  let done = first;
  const draw = (): void => {
    const share = total === 0 ? 1 : Math.min(1, done / total);
    const filled = Math.floor(share * 10);
    const seconds = (performance.now() - startedAt) / 1_000;
    const each = done > first ? seconds / (done - first) : null;
    write(`\r${title === "" ? "" : `${title}: `}${String(Math.floor(share * 100)).padStart(3)}%|${"█".repeat(filled)}${" ".repeat(10 - filled)}| ${done}/${total} [${clock(seconds)}<${each === null ? "?" : clock(each * (total - done))}, ${each === null ? "?it/s" : `${each.toFixed(2).padStart(5)}s/it`}]`);
  };
  draw();
  return {
    advance() {
      done++;
      draw();
    },
    close: () => write("\n"),
  };
}

function clock(seconds: number): string {
  return `${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
