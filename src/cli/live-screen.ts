// Redraws a few lines in place on a terminal.
//   L1. Whatever happens, the cursor is shown again and what stands above is never overwritten.
//   L2. A frame is never higher than the screen: the terminal would scroll and the next redraw would hit the wrong lines.

export interface LiveScreen {
  /** Size for the next frame, in columns and lines. */
  size(): { width: number; height: number };
  draw(lines: readonly string[]): void;
  /** Text that stays, above the frame. */
  above(lines: readonly string[]): void;
  /** Leaves the last frame standing. Harmless when repeated. */
  close(): void;
}

type Terminal = Pick<NodeJS.WritableStream, "write"> & { columns?: number; rows?: number };

const HIDE_CURSOR = "\u001b[?25l", SHOW_CURSOR = "\u001b[?25h", CLEAR_BELOW = "\u001b[J";

export function openLiveScreen(terminal: Terminal): LiveScreen {
  let drawn: readonly string[] = [];
  let open = true;
  terminal.write(HIDE_CURSOR);
  const restore = () => void terminal.write(SHOW_CURSOR);
  process.once("exit", restore);
  const size = () => ({ width: Math.max(20, (terminal.columns ?? 80) - 1), height: Math.max(5, (terminal.rows ?? 24) - 1) });
  const erase = () => (drawn.length === 0 ? "\r" : `\u001b[${drawn.length}A\r`) + CLEAR_BELOW;
  return {
    size,
    draw(lines) {
      if (!open) return;
      const fitting = lines.slice(0, size().height); // L2
      if (fitting.length === drawn.length && fitting.every((line, index) => line === drawn[index])) return;
      terminal.write(`${erase()}${fitting.map((line) => `${line}\n`).join("")}`);
      drawn = fitting;
    },
    above(lines) {
      if (!open || lines.length === 0) return;
      terminal.write(`${erase()}${[...lines, ...drawn].map((line) => `${line}\n`).join("")}`);
    },
    close() {
      if (!open) return;
      open = false;
      process.off("exit", restore);
      restore();
    },
  };
}

/** Whether a stream can be redrawn at all. */
export function isScreen(stream: { isTTY?: boolean }, environment: Readonly<Record<string, string | undefined>>): boolean {
  return stream.isTTY === true && environment["TERM"] !== "dumb";
}
