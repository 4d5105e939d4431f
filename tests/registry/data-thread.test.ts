import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, inject, onTestFinished, test } from "vitest";
import { createDataThread, FileRefusedError, type DataThread } from "../../src/registry/data-thread.js";

const folder = mkdtempSync(join(inject("runFolder"), "thread-"));
const small = join(folder, "small.jsonl");
writeFileSync(small, '{"id":0}\n{"id":1}\n');
function thread(options?: { pagePatienceMs?: number }): DataThread {
  const made = createDataThread(options);
  onTestFinished(() => made.stop());
  return made;
}

test("work of several kinds goes on side by side in one thread, and a refusal of one leaves the others alone", async () => {
  const one = thread();
  const [page, facts, hash, missing] = await Promise.allSettled([one.page(small, "jsonl", 1, 5), one.inspect(small, null), one.hash(small), one.page(join(folder, "nothing.jsonl"), "jsonl", 0, 1)]);
  expect(page).toMatchObject({ value: [{ id: 1 }] });
  expect(facts).toMatchObject({ value: { rows: 2, contentHash: (hash as PromiseFulfilledResult<{ sha256: string }>).value.sha256 } });
  expect(missing).toMatchObject({ status: "rejected", reason: expect.any(FileRefusedError) });
});

test("a page that takes too long is given up, and the next one gets a thread of its own", async () => {
  const long = join(folder, "long.jsonl.gz");
  writeFileSync(long, gzipSync('{"id":0}\n'.repeat(3_000_000), { level: 1 }));
  const one = thread({ pagePatienceMs: 2_000 });
  const waiting = one.page(long, "jsonl", 2_999_999, 1);
  const quick = thread({ pagePatienceMs: 1 }).page(long, "jsonl", 2_999_999, 1);
  await expect(quick).rejects.toMatchObject({ code: "UNAVAILABLE", retryable: true });
  await waiting.catch(() => undefined);
  await expect.poll(() => one.page(small, "jsonl", 0, 1).catch(() => null), { timeout: 15_000 }).toEqual([{ id: 0 }]);
});

test("stopping refuses what is under way and may be repeated", async () => {
  const one = thread();
  const hashing = one.hash(small);
  const refused = expect(hashing).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await one.stop();
  await one.stop();
  await refused;
});
