// A row that goes on from one piece of a file to the next, held until it is whole; one that grows too long is let go of, but for its beginning.

import { SNIPPET_BYTES } from "./refusals.js";

export interface HeldRow {
  /** Bytes added since the last `take`, held or not. */
  readonly bytes: number;
  /** More than the limit was added: `take` gives the beginning only. */
  readonly tooLong: boolean;
  add(part: Buffer): void;
  /** What is held; empties it. */
  take(): Buffer;
}

export function createHeldRow(maxBytes: number): HeldRow {
  let parts: Buffer[] = [];
  let bytes = 0;
  return {
    get bytes() { return bytes; },
    get tooLong() { return bytes > maxBytes; },
    add(part) {
      const wasTooLong = bytes > maxBytes;
      bytes += part.length;
      if (wasTooLong) return;
      parts.push(part);
      if (bytes > maxBytes) parts = [Buffer.from(Buffer.concat(parts).subarray(0, SNIPPET_BYTES))];
    },
    take() {
      const whole = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
      parts = [];
      bytes = 0;
      return whole;
    },
  };
}
