// How wide a text is on a terminal, and how it is cut or filled to a width. Colour codes take no room, East Asian characters and emoji take two columns.

const ESCAPES = /\u001b\[[0-9;?]*[A-Za-z]/g;
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NO_WIDTH = /[\u0300-\u036f\u200b-\u200f\ufe00-\ufe0f]/;

export function stripColours(text: string): string {
  return text.replace(ESCAPES, "");
}

/** Columns that the text takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of stripColours(text)) width += widthOfCharacter(character);
  return width;
}

function widthOfCharacter(character: string): number {
  return NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
}

/** At most `width` columns; what is cut ends in "…". Colour codes are kept, so that what was opened is closed. */
export function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let result = "", taken = 0, full = false;
  for (const part of text.split(/(\u001b\[[0-9;?]*[A-Za-z])/)) {
    if (part.startsWith("\u001b[")) {
      result += part;
      continue;
    }
    for (const character of full ? "" : part) {
      if (taken + widthOfCharacter(character) > width - 1) {
        result += width > 0 ? "…" : "";
        full = true;
        break;
      }
      result += character;
      taken += widthOfCharacter(character);
    }
  }
  return result;
}

/** Exactly `width` columns where the text is not wider already. */
export function fill(text: string, width: number, side: "left" | "right" = "left"): string {
  const spaces = " ".repeat(Math.max(0, width - widthOf(text)));
  return side === "left" ? text + spaces : spaces + text;
}

/** Text of strangers (names, messages, labels) as it may go to a terminal: one line, and control characters and escape sequences become visible signs. */
export function harmless(text: string): string {
  return text.replace(/\r?\n|\t/g, " ").replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`);
}
