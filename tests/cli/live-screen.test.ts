import fc from "fast-check";
import { expect, test } from "vitest";
import { openLiveScreen } from "../../src/cli/live-screen.js";

/** A terminal that knows what the live screen uses: lines, cursor up, carriage return, clear below, show and hide the cursor. */
function terminal(columns = 80, rows = 24) {
  const lines: string[] = [""];
  let row = 0, column = 0, cursorShown = true;
  const write = (text: string): boolean => {
    for (const part of text.split(/(\u001b\[\??\d*[A-Za-z]|\r|\n)/)) {
      const up = /^\u001b\[(\d+)A$/.exec(part);
      if (up !== null) row = Math.max(0, row - Number(up[1]));
      else if (part === "\u001b[J") {
        lines[row] = lines[row]!.slice(0, column);
        lines.length = row + 1;
      } else if (part === "\r") column = 0;
      else if (part === "\n") {
        row++;
        column = 0;
        lines[row] ??= "";
      } else if (part === "\u001b[?25l" || part === "\u001b[?25h") cursorShown = part.endsWith("h");
      else {
        lines[row] = lines[row]!.slice(0, column) + part + lines[row]!.slice(column + part.length);
        column += part.length;
      }
    }
    return true;
  };
  return { write, columns, rows, text: () => lines.join("\n"), cursorShown: () => cursorShown };
}

test("whatever is drawn, the screen shows what stood above, what was said meanwhile, and the newest frame", () => {
  const line = fc.stringMatching(/^[a-z0-9 ]{0,20}$/);
  const step = fc.oneof(fc.record({ draw: fc.array(line, { maxLength: 8 }) }), fc.record({ above: fc.array(line, { maxLength: 3 }) }));
  fc.assert(fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
    const screen = terminal();
    screen.write("before\n");
    const live = openLiveScreen(screen);
    const said: string[] = [];
    let frame: readonly string[] = [];
    for (const action of steps) {
      if ("draw" in action) live.draw((frame = action.draw));
      else live.above(action.above), said.push(...action.above);
    }
    live.close();
    expect(screen.text()).toBe(["before", ...said, ...frame, ""].join("\n"));
    expect(screen.cursorShown()).toBe(true);
  }));
});

test("a frame is cut to the height of the screen", () => {
  const screen = terminal(80, 6);
  const live = openLiveScreen(screen);
  live.draw(Array.from({ length: 50 }, (_, index) => `line ${index}`));
  live.draw(["one"]);
  live.close();
  expect(screen.text()).toBe("one\n");
});

test("nothing is drawn after the end", () => {
  const screen = terminal();
  const live = openLiveScreen(screen);
  live.draw(["last"]);
  live.close();
  live.draw(["too late"]);
  live.close();
  expect(screen.text()).toBe("last\n");
});
