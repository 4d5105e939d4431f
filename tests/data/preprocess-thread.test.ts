import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { preprocess } from "../../src/data/preprocess.js";
import { PreprocessRefusedError } from "../../src/data/preprocess-refused.js";
import { startPreprocess, type PreprocessRun } from "../../src/data/preprocess-thread.js";
import { requestFor, sums } from "./preprocess-runs.js";

const sft = { task: "sft" };
const progressOf = (run: PreprocessRun) => new Promise<{ done: number; total: number; phase: string }>((resolve) => run.onProgress(resolve));

test("the thread makes the same files as the engine does, and tells its progress", async () => {
  const request = requestFor({ "a.jsonl": [...sums(300), ...sums(20)] }, { ...sft, shuffle: true, dedupe: "exact", split: { validation: 0.2 } });
  const direct = await preprocess(request, { signal: new AbortController().signal, onProgress: () => undefined });
  const bytes = readdirSync(request.outputDir).map((name) => [name, readFileSync(join(request.outputDir, name)).toString("base64")]);
  const run = startPreprocess(request);
  const phases: string[] = [];
  run.onProgress((at) => void phases.push(at.phase));
  expect(await run.done).toEqual(direct);
  expect(readdirSync(request.outputDir).map((name) => [name, readFileSync(join(request.outputDir, name)).toString("base64")])).toEqual(bytes);
  expect(phases[0]).toBe("reading");
  expect(phases.at(-1)).toBe("finished");
});

test("the work goes on while this thread does nothing else, and nothing appears until this thread publishes it", async () => {
  const request = requestFor({ "a.jsonl": sums(30_000) }, sft);
  const run = startPreprocess(request);
  await progressOf(run);
  const work = join(request.outputDir, readdirSync(request.outputDir).find((name) => name.startsWith(".preprocess-"))!);
  const deadline = Date.now() + 15_000;
  while (!existsSync(join(work, "manifest.json"))) { // never gives the event loop a turn
    if (Date.now() > deadline) throw new Error("the work stands still while this thread is busy");
  }
  expect(readdirSync(request.outputDir)).toHaveLength(1);
  await run.done;
  expect(readdirSync(request.outputDir).sort()).toEqual(["manifest.json", "rejects.jsonl", "train.parquet"]);
});

test("a cancelled run ends at once and leaves nothing, spilled rows included", async () => {
  const request = requestFor({ "a.jsonl": sums(60_000) }, { ...sft, shuffle: true });
  const run = startPreprocess(request);
  const at = await progressOf(run);
  expect(at.done).toBeLessThan(at.total);
  const later: string[] = [];
  run.cancel();
  run.cancel();
  run.onProgress(({ phase }) => void later.push(phase));
  await expect(run.done).rejects.toMatchObject({ name: "AbortError" });
  expect(later).toEqual([]);
  expect(readdirSync(request.outputDir)).toEqual([]);
});

test("a run that is cancelled before it begins leaves nothing; one that is cancelled after its end keeps its files", async () => {
  const request = requestFor({ "a.jsonl": sums(10) }, sft);
  const never = startPreprocess(request);
  never.cancel();
  await expect(never.done).rejects.toMatchObject({ name: "AbortError" });
  expect(readdirSync(request.outputDir)).toEqual([]);
  const run = startPreprocess(request);
  await run.done;
  run.cancel();
  expect(readdirSync(request.outputDir)).toHaveLength(3);
});

test("a refusal comes out of the thread as what it is, with the first broken rows and their list", async () => {
  const request = requestFor({ "a.jsonl": "{broken\n" }, sft);
  const refusal: unknown = await startPreprocess(request).done.catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(PreprocessRefusedError);
  expect(refusal).toMatchObject({ code: "INVALID_INPUT", message: expect.stringContaining("a.jsonl:1 INVALID_JSON") as string, firstRejects: [expect.stringContaining("a.jsonl:1")] as string[] });
  expect(readdirSync(request.outputDir)).toEqual(["rejects.jsonl"]);
});

test("a run that cannot begin says what the file system said", async () => {
  const request = requestFor({ "a.jsonl": sums(3) }, sft);
  await expect(startPreprocess({ ...request, outputDir: join(request.inputs[0]!.path, "output") }).done).rejects.toMatchObject({ code: "ENOTDIR" });
});
