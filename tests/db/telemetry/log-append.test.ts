import fc from "fast-check";
import { expect, test } from "vitest";
import { appendLog, EMPTY_LOG, type LogEnd, type NewChunk } from "../../../src/db/telemetry/log-append.js";

interface Piece { readonly from: number; readonly bytes: Buffer }

/** Pieces of a text, cut at code points, some repeated, some overlapping what came before, some left out. */
const sent = fc.tuple(fc.array(fc.string({ unit: "binary", minLength: 1, maxLength: 12 }), { maxLength: 20 }), fc.array(fc.constantFrom("once", "twice", "overlap", "left out"), { minLength: 20, maxLength: 20 }))
  .map(([texts, fates]) => {
    const parts = texts.map((text) => Buffer.from(text));
    const whole = Buffer.concat(parts);
    const pieces: Piece[] = [];
    let from = 0, before = 0;
    parts.forEach((bytes, index) => {
      const fate = fates[index];
      if (fate === "once" || fate === "twice") pieces.push({ from, bytes });
      if (fate === "twice") pieces.push({ from, bytes });
      if (fate === "overlap") pieces.push({ from: before, bytes: whole.subarray(before, from + bytes.length) });
      before = from;
      from += bytes.length;
    });
    return { whole, pieces };
  });

function take(pieces: readonly Piece[], limit = Infinity): { end: LogEnd; chunks: NewChunk[] } {
  let end = EMPTY_LOG, received = 0;
  const chunks: NewChunk[] = [];
  for (const { from, bytes } of pieces) {
    const result = appendLog(end, received, from, bytes, limit);
    ({ end, received } = result);
    if (result.chunk !== null) chunks.push(result.chunk);
  }
  return { end, chunks };
}

test("under any chunking, repetition, overlap and loss, the stored bytes are those sent, each once, and every gap is declared", () => {
  fc.assert(fc.property(sent, ({ whole, pieces }) => {
    const { end, chunks } = take(pieces);
    let at = 0;
    for (const chunk of chunks) {
      expect(chunk.fromByte - chunk.skippedBytes).toBe(at);
      at = chunk.fromByte + chunk.data.length;
      expect(chunk.data.equals(whole.subarray(chunk.fromByte, at))).toBe(true);
    }
    const covered = new Set(pieces.flatMap(({ from, bytes }) => Array.from(bytes, (_, index) => from + index)));
    expect(end.storedBytes).toBe(covered.size);
    expect(end.length).toBe(Math.max(0, ...pieces.map(({ from, bytes }) => from + bytes.length)));
  }));
});

test("the limit cuts between code points, stores nothing after it, and the log's length still counts everything", () => {
  fc.assert(fc.property(sent, fc.integer({ min: 0, max: 60 }), ({ pieces }, limit) => {
    const { end, chunks } = take(pieces, limit);
    expect(end.storedBytes).toBeLessThanOrEqual(limit);
    expect(end.length).toBe(take(pieces).end.length);
    for (const { data } of chunks) expect(Buffer.from(data.toString()).equals(data)).toBe(true);
  }));
});

test("a second source of the same stage goes on after the first one's end", () => {
  const first = appendLog(EMPTY_LOG, 0, 0, Buffer.from("eins\n"), 100);
  const second = appendLog(first.end, 0, 3, Buffer.from("zwei\n"), 100);
  expect(second.chunk).toMatchObject({ fromByte: 8, skippedBytes: 3 });
  expect(second.end.length).toBe(13);
});
