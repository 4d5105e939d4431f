import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LINE_LIMIT, LogFolder, SHOW_MS, REST_MS, tailLines, type LogChunk } from "../../../src/agent/telemetry/log-folder.js";
import { createRedactor } from "../../../src/agent/telemetry/redactor.js";

const plain = createRedactor([]);
const textOf = (chunks: readonly LogChunk[]): string => chunks.map((chunk) => chunk.text).join("");

function fold(bytes: Buffer | string, redactor = plain): string {
  const folder = new LogFolder(redactor, null);
  folder.push(Buffer.from(bytes), 0);
  folder.end();
  return textOf(folder.takeChunks());
}

/** Chunks follow one another; declared gaps count. */
function expectDense(chunks: readonly LogChunk[], from = 0): void {
  let at = from;
  for (const chunk of chunks) {
    expect(chunk.fromByte - chunk.skippedBytes).toBe(at);
    at = chunk.fromByte + Buffer.byteLength(chunk.text);
  }
}

describe("folding", () => {
  test.each([
    ["plain lines", "a\nb\n", "a\nb\n"],
    ["a last line without its end", "a\nb", "a\nb"],
    ["the last part of a rewritten line stays", " 10%\r 20%\r100%\n", "100%\n"],
    ["a leading carriage return", "\r 10%\r 20%\ndone\n", " 20%\ndone\n"],
    ["a line cleared with blanks keeps what it showed", "50%\r      \r\n", "50%\n"],
    ["line ends of Windows", "a\r\nb\r\n", "a\nb\n"],
    ["empty lines stay", "a\n\nb\n", "a\n\nb\n"],
    ["colours and cursor movement go", "\x1b[31mred\x1b[0m\x1b[2K\x1b[1A \x1b]0;title\x07x\n", "red x\n"],
    ["bells and backspaces go", "a\x07b\x08\n", "ab\n"],
    ["tabs stay", "a\tb\n", "a\tb\n"],
  ])("%s", (_, given, wanted) => {
    expect(fold(given)).toBe(wanted);
  });

  test("invalid UTF-8 becomes the replacement character", () => {
    expect(fold(Buffer.from([0x61, 0xff, 0xc3, 0x0a, 0xc3, 0xa9, 0x0a]))).toBe("a\ufffd\ufffd\né\n");
  });

  test("a progress bar that goes on is shown now and then, as lines of its own", () => {
    const folder = new LogFolder(plain, null);
    let shown = "";
    for (let i = 0; i <= 30; i++) {
      folder.push(Buffer.from(`\r${i}%`), i * 1_000);
      shown += textOf(folder.takeChunks());
    }
    folder.push(Buffer.from("\n"), 31_000);
    shown += textOf(folder.takeChunks());
    const lines = shown.trim().split("\n");
    expect(lines.length).toBeLessThanOrEqual(31_000 / SHOW_MS + 1);
    expect(lines.length).toBeGreaterThan(4);
    expect(lines.at(-1)).toBe("30%");
  });

  test("a line without an end is shown after it rested, and goes on where it was", () => {
    const folder = new LogFolder(plain, null);
    folder.push(Buffer.from("Loading"), 0);
    folder.rest(REST_MS - 1);
    expect(folder.hasChunks).toBe(false);
    folder.rest(REST_MS);
    expect(textOf(folder.takeChunks())).toBe("Loading");
    folder.push(Buffer.from(" done\nnext\n"), REST_MS + 1);
    expect(textOf(folder.takeChunks())).toBe(" done\nnext\n");
  });

  test("a line of megabytes is cut and the rest declared as a gap", () => {
    const folder = new LogFolder(plain, null);
    const chunks: LogChunk[] = [];
    const block = Buffer.alloc(1024 * 1024, "x");
    for (let i = 0; i < 20; i++) {
      folder.push(block, i);
      chunks.push(...folder.takeChunks());
    }
    folder.push(Buffer.from("\nafter\n"), 30);
    chunks.push(...folder.takeChunks());
    expect(textOf(chunks)).toBe(`${"x".repeat(LINE_LIMIT)}\nafter\n`);
    expect(chunks.reduce((sum, chunk) => sum + chunk.skippedBytes, 0)).toBe(20 * block.length - LINE_LIMIT);
    expectDense(chunks);
  });

  test("the agent's own lines stand between those of the program", () => {
    const folder = new LogFolder(plain, null);
    folder.push(Buffer.from("one\ntwo"), 0);
    folder.notice("hello");
    folder.push(Buffer.from(" more\n"), 1);
    folder.end();
    expect(textOf(folder.takeChunks())).toBe("one\n[trainyard] hello\ntwo more\n");
  });
});

const piece = fc.oneof(
  fc.constantFrom("\n", "\r", "\r\n", "\x1b[31m", "\x1b[", "é", "🚂", " ", "secret-value", "secret-", "value", "12%", "\x1b]0;t", "\x07"),
  fc.string({ maxLength: 5 }),
);

test("however the bytes come in pieces, the same log is published", () => {
  fc.assert(fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.nat({ max: 200 }), { maxLength: 20 }), (parts, cuts) => {
    const bytes = Buffer.from(parts.join(""));
    const redactor = createRedactor(["secret-value"]);
    const folder = new LogFolder(redactor, null);
    const chunks: LogChunk[] = [];
    let from = 0;
    for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]) {
      folder.push(bytes.subarray(from, cut), 0);
      chunks.push(...folder.takeChunks());
      from = cut;
    }
    folder.end();
    chunks.push(...folder.takeChunks());
    expect(textOf(chunks)).toBe(fold(bytes, redactor));
    expectDense(chunks);
  }));
});

test("a restart at any moment goes on without loss or repetition, and no secret gets through, also of lines that are shown half", () => {
  fc.assert(fc.property(fc.array(piece, { maxLength: 60 }), fc.array(fc.record({ upTo: fc.nat({ max: 300 }), rest: fc.boolean(), restart: fc.boolean() }), { maxLength: 12 }), (parts, moments) => {
    const bytes = Buffer.from(parts.join(""));
    const redactor = createRedactor(["secret-value"]);
    let at = 0;
    let known = 0;
    let folder = new LogFolder(redactor, null);
    const chunks: LogChunk[] = [];
    for (const moment of moments) {
      known = Math.max(known, moment.upTo % (bytes.length + 1));
      at += 6_000;
      if (folder.readOffset < known) folder.push(bytes.subarray(folder.readOffset, known), at);
      if (moment.rest) folder.rest(at + REST_MS);
      chunks.push(...folder.takeChunks());
      if (moment.restart) folder = new LogFolder(redactor, folder.source);
    }
    folder.push(bytes.subarray(folder.readOffset), at + 1);
    folder.end();
    chunks.push(...folder.takeChunks());
    expectDense(chunks);
    const published = textOf(chunks);
    expect(published).not.toContain("secret-value");
    // what stays of a line may be shown in parts, but no word that ends a line is lost
    for (const line of fold(bytes, redactor).split("\n")) if (line.trim() !== "") expect(published).toContain(line);
  }), { numRuns: 300 });
});

test("the last lines of a log are whole lines, without secrets", () => {
  const redactor = createRedactor(["hunter22"]);
  const lines = Array.from({ length: 80 }, (_, i) => `line ${i} hunter22`).join("\n");
  expect(tailLines(Buffer.from(lines), true, redactor, 50)).toEqual(Array.from({ length: 50 }, (_, i) => `line ${i + 30} [redacted]`));
  expect(tailLines(Buffer.from(lines).subarray(3), false, redactor, 100)[0]).toBe("line 1 [redacted]");
});
