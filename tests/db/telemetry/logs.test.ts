import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readLog, readLogTail } from "../../../src/db/telemetry/logs.js";
import type { TelemetryItem } from "../../../src/db/telemetry/ingest.js";
import { newId, type StageId } from "../../../src/domain/ids.js";
import { item, openTelemetryWorld, type AttemptOf, type TelemetryWorld } from "./telemetry-world.js";

let world: TelemetryWorld;
beforeAll(async () => { world = await openTelemetryWorld(); });
afterAll(() => world.close());

const newAttempt = async () => world.attempt((await world.pipeline([{ name: "train" }]))[0]!);
const log = (attempt: AttemptOf, fromByte: number, text: string) => item(attempt, { type: "log", fromByte, skippedBytes: 0, text });
const slice = (stageId: StageId, fromByte: number, maxBytes = 65_536, attempt: number | null = null) => readLog(world.opened.db, { stageId, fromByte, maxBytes, attempt });

/** Everything a reader gets who goes on until the end. */
async function readAll(stageId: StageId, maxBytes: number, attempt: number | null = null): Promise<{ text: string; skipped: number; total: number }> {
  let at = 0, text = "", skipped = 0;
  for (;;) {
    const piece = await slice(stageId, at, maxBytes, attempt);
    expect(Buffer.byteLength(piece.text)).toBe(piece.toByte - piece.fromByte);
    text += piece.text;
    skipped += piece.skippedBytes;
    if (piece.toByte >= piece.totalBytes) return { text, skipped, total: piece.totalBytes };
    expect(piece.toByte).toBeGreaterThan(at);
    at = piece.toByte;
  }
}

test("under any chunking, repetition, overlap and loss, what is read is what was sent, and text plus declared gaps is the whole", async () => {
  const fate = fc.constantFrom("once", "twice", "overlap", "left out");
  const sent = fc.array(fc.tuple(fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }), fate, fc.boolean()), { minLength: 1, maxLength: 15 });
  await fc.assert(fc.asyncProperty(sent, fc.constantFrom(1, 3, 17, 1_000), async (parts, maxBytes) => {
    const attempt = await newAttempt();
    const batch: TelemetryItem[] = [];
    let from = 0, kept = "", before = { from: 0, text: "" };
    for (const [text, how, cut] of parts) {
      if (how === "once" || how === "twice") batch.push(log(attempt, from, text));
      if (how === "twice") batch.push(log(attempt, from, text));
      if (how === "overlap") batch.push(log(attempt, before.from, before.text + text));
      if (how !== "left out") kept += text;
      before = { from, text: how === "left out" ? "" : text };
      if (how === "left out") before = { from: from + Buffer.byteLength(text), text: "" };
      from += Buffer.byteLength(text);
      if (cut) await world.report(batch.splice(0));
    }
    await world.report(batch);
    const read = await readAll(attempt.stageId, maxBytes);
    expect(read.text).toBe(kept);
    expect(Buffer.byteLength(read.text) + read.skipped).toBe(read.total);
  }), { numRuns: 40 });
});

test("attempts follow each other in one log, and each can be read alone", async () => {
  const first = await newAttempt();
  await world.report([log(first, 0, "one\n"), log(first, 4, "two\n")]);
  const second = await world.attempt(first);
  await world.report([log(second, 5, "drei\n")]);
  await world.report([log(second, 10, "vier\n")]);
  expect(await readAll(first.stageId, 5)).toEqual({ text: "one\ntwo\ndrei\nvier\n", skipped: 5, total: 23 });
  expect(await readAll(first.stageId, 100, 1)).toEqual({ text: "one\ntwo\n", skipped: 0, total: 8 });
  expect(await readAll(first.stageId, 100, 2)).toEqual({ text: "drei\nvier\n", skipped: 5, total: 23 });
  expect(await slice(first.stageId, 8)).toMatchObject({ fromByte: 13, skippedBytes: 5, text: "drei\nvier\n" });
  expect(await readLogTail(world.opened.db, first.stageId, 2)).toEqual(["drei", "vier"]);
  expect(await readLogTail(world.opened.db, first.stageId, 9)).toEqual(["one", "two", "", "[5 bytes left out]", "drei", "vier"]);
  expect(await readLogTail(world.opened.db, first.stageId, 9, 1)).toEqual(["one", "two"]);
});

test("two agents of one attempt each keep their own addresses; the stage's log has both", async () => {
  const rank0 = await newAttempt();
  const rank1 = { ...rank0, agentId: newId("agt") };
  await world.report([log(rank0, 0, "a0\n"), log(rank1, 0, "b0\n"), log(rank0, 3, "a1\n")]);
  await world.report([log(rank1, 0, "b0\nb1\n"), log(rank0, 3, "a1\n")]);
  expect(await readAll(rank0.stageId, 100)).toEqual({ text: "a0\nb0\na1\nb1\n", skipped: 0, total: 12 });
});

test("above the limit bytes are counted, declared and not stored", async () => {
  const attempt = await newAttempt();
  await world.report([log(attempt, 0, "12345"), log(attempt, 5, "6ü8")], { logLimitBytes: 7 });
  await world.report([log(attempt, 9, "more")], { logLimitBytes: 7 });
  expect(await slice(attempt.stageId, 0)).toEqual({ fromByte: 0, toByte: 6, text: "123456", skippedBytes: 0, totalBytes: 13 });
  expect(await slice(attempt.stageId, 6)).toEqual({ fromByte: 13, toByte: 13, text: "", skippedBytes: 7, totalBytes: 13 });
});

test("a slice never splits a code point, whatever is asked for", async () => {
  const attempt = await newAttempt();
  await world.report([log(attempt, 0, "aé🎉z")]);
  expect(await slice(attempt.stageId, 0, 2)).toMatchObject({ text: "a", toByte: 1 });
  expect(await slice(attempt.stageId, 2, 1)).toMatchObject({ fromByte: 1, toByte: 3, text: "é" });
  expect(await slice(attempt.stageId, 3, 1)).toMatchObject({ fromByte: 3, toByte: 7, text: "🎉" });
  expect(await slice(attempt.stageId, 8)).toEqual({ fromByte: 8, toByte: 8, text: "", skippedBytes: 0, totalBytes: 8 });
});

test("a stage without a log, and a place beyond its end, give an empty slice", async () => {
  const attempt = await newAttempt();
  expect(await slice(attempt.stageId, 0)).toEqual({ fromByte: 0, toByte: 0, text: "", skippedBytes: 0, totalBytes: 0 });
  expect(await readLogTail(world.opened.db, attempt.stageId, 5)).toEqual([]);
});

test("small reports of one batch become one chunk, large ones stay below the chunk's size", async () => {
  const attempt = await newAttempt();
  await world.report(Array.from({ length: 100 }, (_, i) => log(attempt, i * 10, "123456789\n")));
  await world.report([log(attempt, 1_000, "x".repeat(60_000)), log(attempt, 61_000, "y".repeat(60_000))]);
  const chunks = await world.opened.db.selectFrom("log_chunks").select(["from_byte", "to_byte"]).where("stage_id", "=", attempt.stageId).orderBy("from_byte").execute();
  expect(chunks).toEqual([{ from_byte: 0, to_byte: 1_000 }, { from_byte: 1_000, to_byte: 61_000 }, { from_byte: 61_000, to_byte: 121_000 }]);
  expect((await readAll(attempt.stageId, 50_000)).text).toHaveLength(121_000);
});

test("bytes that are no text for Postgres are logged all the same", async () => {
  const attempt = await newAttempt();
  await world.report([log(attempt, 0, "nul \0 esc \x1b[31m bell \x07\n")]);
  expect((await slice(attempt.stageId, 0)).text).toBe("nul \0 esc \x1b[31m bell \x07\n");
});
