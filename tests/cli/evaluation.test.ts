// Evaluations and webhooks the whole way: the built command line, the real control plane and agent, a real service and a real receiver.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sumAsked, sums } from "../agent/evaluation/evaluation-world.js";
import { startChatServer } from "../support/chat-server.js";
import { startReceiver } from "../support/webhook-receiver.js";
import { killAllOf, newFolder, startUp, type Up } from "./support.js";

let up: Up;
const data = newFolder("data-");
const ends: (() => Promise<void>)[] = [];
const start = (dataDir?: string) => startUp({ ...(dataDir === undefined ? {} : { dataDir }), env: { TRAINYARD_DATA_DIRS: data }, atEnd: (end) => void ends.push(end) });
beforeAll(async () => {
  writeFileSync(join(data, "sums.jsonl"), sums(30));
  up = await start();
}, 120_000);
afterAll(async () => {
  for (const end of ends) await end();
});

const json = async <T = any>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await up.cli(...args, "--json");
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as T;
};

async function evaluated(url: string): Promise<string> {
  const file = join(newFolder(), "pipeline.json");
  writeFileSync(file, JSON.stringify({ name: "score", stages: [{ name: "score", kind: "evaluate", queue: "evaluation", params: { endpoint: { url, model: "tiny" }, input: "sums.jsonl", columns: { prompt: "question", answer: "answer" }, answerPattern: "#### (.+)", scorer: "math" } }] }));
  const { code, stdout, stderr } = await up.cli("submit", file, "--watch");
  if (code !== 0) throw new Error(`${stdout}${stderr}`);
  const [pipeline] = await json<{ id: string }[]>("ls", "--limit", "1");
  return pipeline!.id;
}

test("two evaluations of a service: scores with interval and n, rows by verdict, and what changed", async () => {
  const wrongBelow = (limit: number) => startChatServer(({ prompt }) => ({ say: `It is \\boxed{${sumAsked(prompt) + (sumAsked(prompt) < limit ? 1 : 0)}}` }));
  const [first, second] = [await evaluated((await wrongBelow(20)).url), await evaluated((await wrongBelow(4)).url)];
  const [[from], [to]] = [await json("eval", "ls", first), await json("eval", "ls", second)];
  expect(from).toMatchObject({ scores: { score: 20 / 30 }, sampleCount: 30, errorCount: 0, datasetName: "sums.jsonl", intervals: [{ score: "score", n: 30, method: "wilson" }], sampleSet: { kept: 30, correct: 20, wrong: 10 } });
  const shown = await up.cli("eval", "show", from.id);
  expect(shown.stdout).toMatch(/score\s+0\.6667\s+0\.4878 … 0\.8077\s+30/);
  const wrong = await json("eval", "samples", from.id, "--verdict", "wrong", "--limit", "100");
  expect(wrong.map(({ prompt }: { prompt: string }) => sumAsked(prompt)).sort((a: number, b: number) => a - b)).toEqual([0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  const diff = await json("eval", "diff", from.id, to.id, "--rows", "100");
  expect(diff).toMatchObject({ compared: 30, fixedCount: 8, brokenCount: 0, unchangedCount: 22, difference: expect.closeTo(8 / 30, 9), pValue: expect.closeTo(2 / 256, 9), test: "mcnemar" });
  expect(diff.fixed).toHaveLength(8);
  const text = await up.cli("eval", "diff", from.id, to.id, "--rows", "1");
  expect(text.stdout).toContain("8 fixed, 0 broken, 22 unchanged");
  expect((await up.cli("eval", "show", "evl_none")).code).toBe(5);
}, 180_000);

test("what was committed before a kill -9 of everything is told after the next start", async () => {
  const receiver = await startReceiver();
  const { port } = new URL(receiver.url);
  await receiver.close();
  const { stdout } = await up.cli("webhook", "add", "robot", receiver.url, "--event", "approval.waiting");
  expect(stdout).toMatch(/^[\w-]{43}\n$/);
  const file = join(newFolder(), "pipeline.json");
  writeFileSync(file, JSON.stringify({ name: "asks", stages: [{ name: "ask", kind: "approval", params: { message: "Ship it?" } }] }));
  await up.cli("submit", file);
  await expect.poll(async () => (await json("webhook", "ls"))[0].deliveries[0]?.lastError ?? null, { timeout: 30_000 }).toBe("ECONNREFUSED");
  await killAllOf(up.dataDir);
  const again = await startReceiver(() => 200, Number(port));
  up = await start(up.dataDir);
  await again.count(1, 60_000);
  expect(again.told[0]!.json).toMatchObject({ event: "approval.waiting", pipeline: { name: "asks" }, stage: { name: "ask" }, text: "Ship it?" });
  const tested = await up.cli("webhook", "test", "robot");
  expect([tested.code, tested.stderr]).toEqual([0, expect.stringContaining("the test arrived")]);
  expect((await up.cli("webhook", "rm", "robot", "--yes")).code).toBe(0);
  expect(await json("webhook", "ls")).toEqual([]);
}, 180_000);
