import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Cli } from "../../../src/cli/cli.js";
import { createRateMeter, showTransfer, transferLine } from "../../../src/cli/render/transfer.js";

const MIB = 1_048_576;

test("a transfer tells its share, bytes, rate and the time to go", () => {
  expect(transferLine("train.jsonl", 0, 100 * MIB, 0)).toBe("train.jsonl  ░░░░░░░░░░░░░░░░    0 %  0 B of 100 MiB");
  expect(transferLine("train.jsonl", 25 * MIB, 100 * MIB, 5 * MIB)).toBe("train.jsonl  ████░░░░░░░░░░░░   25 %  25 MiB of 100 MiB  5.0 MiB/s  ETA 15 s");
  expect(transferLine("train.jsonl", 100 * MIB, 100 * MIB, 5 * MIB)).toBe("train.jsonl  ████████████████  100 %  100 MiB of 100 MiB  5.0 MiB/s");
  expect(transferLine("empty.jsonl", 0, 0, 0)).toContain("100 %");
});

test("the rate is that of the last seconds: a slow beginning is soon forgotten", () => {
  const meter = createRateMeter(0);
  for (let at = 500; at <= 10_000; at += 500) meter.add(at, at / 10); // 100 bytes/s
  expect(meter.perSecond()).toBe(100);
  for (let at = 10_500; at <= 20_000; at += 500) meter.add(at, 1_000 + (at - 10_000));
  expect(meter.perSecond()).toBe(1_000);
  expect(createRateMeter(5).perSecond()).toBe(0);
});

test("it is drawn on a terminal only, one line over the other, and wiped away at the end", () => {
  const shown = (isTTY: boolean, quiet = false) => {
    let text = "", time = 0;
    const stderr = Object.assign(new Writable({ write(chunk: Buffer, _encoding, done) { text += chunk.toString(); done(); } }), { isTTY, columns: 60 });
    const transfer = showTransfer({ stderr, environment: {}, quiet } as unknown as Cli, "a.jsonl", 4_096, () => (time += 60));
    for (const count of [1_024, 2_048, 3_072, 4_096]) transfer.moved(count);
    transfer.end();
    return text;
  };
  const drawn = shown(true);
  expect(drawn.split("\r").length).toBeGreaterThan(3);
  expect(drawn).toContain("4.0 KiB of 4.0 KiB");
  expect(drawn.endsWith("\r\u001b[K")).toBe(true);
  expect(drawn).not.toContain("\n");
  expect([shown(false), shown(true, true)]).toEqual(["", ""]);
});
