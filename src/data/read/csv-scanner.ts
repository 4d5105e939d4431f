// Where CSV records end, byte by byte, over the pieces of a file.

export interface CsvScanner {
  /** Lines begun so far, from 1. */
  readonly line: number;
  /** A quotation mark is open. */
  readonly quoted: boolean;
  /** Calls `ended` with the index of each line end in `piece` that ends a record. */
  scan(piece: Buffer, ended: (index: number) => void): void;
}

const LF = 10;
const CR = 13;
const QUOTE = 34;
const FIELD_START = 0, PLAIN = 1, QUOTED = 2, AFTER_MARK = 3;

export function createCsvScanner(delimiter: string, lineEnd: number): CsvScanner {
  const split = delimiter.charCodeAt(0);
  let line = 1;
  let state = FIELD_START;
  return {
    get line() { return line; },
    get quoted() { return state === QUOTED; },
    scan(piece, ended) {
      for (let index = 0; index < piece.length; index++) {
        const byte = piece[index]!;
        if (byte === lineEnd) {
          line++;
          if (state === QUOTED) continue;
          state = FIELD_START;
          ended(index);
        } else if (state === QUOTED) {
          if (byte === QUOTE) state = AFTER_MARK;
        } else if (byte === split) state = FIELD_START;
        else if (byte === QUOTE) {
          if (state !== PLAIN) state = QUOTED;
        } else if (state === FIELD_START || (state === AFTER_MARK && byte !== CR)) state = PLAIN;
      }
    },
  };
}

/** How the first line of `head` ends (LF or CR); null while that is open. */
export function lineEndOf(head: Buffer): number | null {
  let quoted = false;
  for (let index = 0; index < head.length; index++) {
    const byte = head[index];
    if (byte === QUOTE) quoted = !quoted;
    else if (quoted) continue;
    else if (byte === LF) return LF;
    else if (byte === CR) return index + 1 === head.length ? null : head[index + 1] === LF ? LF : CR;
  }
  return null;
}
