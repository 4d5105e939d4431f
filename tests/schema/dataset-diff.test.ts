// datasetDiff over the whole API: who may ask, what it compares, and what it says when it cannot.
import { createHash } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { registerVersions } from "../../src/db/datasets.js";
import { newId, type AgentId } from "../../src/domain/ids.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi(); });
afterAll(() => api.stop());

const chat = (from: number, to: number, tag = "q") => Array.from({ length: to - from }, (_, index) => `${JSON.stringify({ messages: [{ role: "user", content: `${tag} ${from + index}` }, { role: "assistant", content: "a".repeat(5) }], level: (from + index) % 2 === 0 ? "easy" : "hard" })}\n`).join("");
async function register(name: string, file: string, text: string): Promise<string> {
  writeFileSync(join(api.folder, "data", file), text);
  const answer = await api.data<{ registerDataset: { dataset: { id: string } } }>("mutation ($input: RegisterDatasetInput!) { registerDataset(input: $input) { ... on RegisterDatasetPayload { dataset { id } } } }", { input: { name, path: file } });
  return answer.registerDataset.dataset.id;
}
const DIFF = `query ($from: ID!, $to: ID!) { datasetDiff(from: $from, to: $to) { from { name version } to { name version } sameContent rowsSame rowsAdded rowsRemoved
  columns { name change from { type nullCount } to { type nullCount } } lengths { kind name from to } categories { column from to distance } added { row value } removed { row value } } }`;
const ask = (from: string, to: string) => api.ask("viewer", DIFF, { from, to });

test("a viewer sees what the next version of a name added and removed, by whatever the versions are called", async () => {
  const id = await register("diff/chat", "first.jsonl", chat(0, 100));
  await register("diff/chat", "second.jsonl", chat(10, 130));
  const { data, errors } = await ask(id, "diff/chat");
  expect(errors).toBeUndefined();
  expect(data.datasetDiff).toMatchObject({
    from: { name: "diff/chat", version: 1 }, to: { name: "diff/chat", version: 2 }, sameContent: false, rowsSame: 90, rowsAdded: 30, rowsRemoved: 10, columns: [],
    categories: [{ column: "level", from: { easy: 50, hard: 50 }, to: { easy: 60, hard: 60 }, distance: 0 }],
    removed: [{ row: 0, value: { level: "easy" } }, { row: 1 }, { row: 2 }, { row: 3 }, { row: 4 }],
  });
  expect(data.datasetDiff.added[0]).toMatchObject({ row: 90, value: { messages: [{ content: "q 100" }, {}] } });
  expect(data.datasetDiff.lengths).toContainEqual(expect.objectContaining({ kind: "CHARACTERS", name: "assistant", from: expect.objectContaining({ p50: 5, count: 100 }), to: expect.objectContaining({ count: 120 }) }));
  const back = await ask("diff/chat@2", "diff/chat@1");
  expect(back.data.datasetDiff).toMatchObject({ rowsSame: 90, rowsAdded: 10, rowsRemoved: 30 });
});

test("the same content under two names is the same, and is not read for it", async () => {
  const one = await register("same/one", "same.jsonl", chat(0, 10, "same"));
  const two = await register("same/two", "same.jsonl", chat(0, 10, "same"));
  rmSync(join(api.folder, "data", "same.jsonl"));
  expect((await ask(one, two)).data.datasetDiff).toMatchObject({ sameContent: true, rowsSame: 10, rowsAdded: 0, rowsRemoved: 0, lengths: [], columns: [] });
});

test("asked for by many at once it is made once, and later it is answered without the files", async () => {
  const [one, two] = [await register("many/one", "many-1.jsonl", chat(0, 50, "many")), await register("many/two", "many-2.jsonl", chat(25, 75, "many"))];
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(one, two)));
  for (const { data } of answers) expect(data.datasetDiff).toMatchObject({ rowsSame: 25, rowsAdded: 25, rowsRemoved: 25 });
  rmSync(join(api.folder, "data", "many-1.jsonl"));
  expect((await ask(one, two)).data.datasetDiff).toMatchObject({ rowsSame: 25 });
  expect((await ask(two, one)).errors).toMatchObject([{ extensions: { code: "ROWS_NOT_REACHABLE" } }]);
});

test("what cannot be read here is refused in words that name the side, the reason and the way out", async () => {
  const here = await register("away/here", "here.jsonl", chat(0, 5, "here"));
  const changed = await register("away/changed", "changed.jsonl", chat(0, 5, "before"));
  writeFileSync(join(api.folder, "data", "changed.jsonl"), chat(0, 5, "behind"));
  expect((await ask(here, changed)).errors).toMatchObject([{ path: ["datasetDiff"], extensions: { code: "ROWS_NOT_REACHABLE" }, message: expect.stringMatching(/away\/changed@1 .*other content.*register it under the same name/s) }]);
  const text = chat(0, 5, "elsewhere");
  const facts = { format: "jsonl" as const, contentHash: createHash("sha256").update(text).digest("hex"), rows: 5, sizeBytes: text.length, columns: [], tasks: [], statistics: null, sample: [] };
  const [elsewhere] = await api.world.database.db.transaction().execute((trx) => registerVersions(trx, [{ name: "away/elsewhere", facts, file: { agentId: newId("agt") as AgentId, path: "/gpu-1/out/train.jsonl", changedMs: null }, madeBy: null, by: "test" }], new Date()));
  expect((await ask(elsewhere!, here)).errors).toMatchObject([{ extensions: { code: "ROWS_NOT_REACHABLE" }, message: expect.stringMatching(/away\/elsewhere@1 .*out of the control plane's reach/s) }]);
});

test("what is not there is NOT_FOUND, and nobody asks without a token", async () => {
  const here = await register("there", "there.jsonl", chat(0, 2));
  for (const [from, to] of [[here, "nothing"], ["nothing", here], [here, "there@9"], [here, newId("dst")]] as const) expect((await ask(from, to)).errors?.[0]?.extensions?.["code"]).toBe("NOT_FOUND");
  expect((await api.ask(null, DIFF, { from: here, to: here })).errors?.[0]?.extensions?.["code"]).toBe("UNAUTHENTICATED");
  expect((await api.ask("agent", DIFF, { from: here, to: here })).errors?.[0]?.extensions?.["code"]).toBe("FORBIDDEN");
});

test("a large comparison leaves the event loop free and registering possible", async () => {
  mkdirSync(join(api.folder, "data"), { recursive: true });
  const [one, two] = [await register("large/one", "large-1.jsonl", chat(0, 150_000, "large")), await register("large/two", "large-2.jsonl", chat(1_000, 151_000, "large"))];
  let longest = 0, last = performance.now(), over = false;
  const watch = setInterval(() => { const now = performance.now(); longest = Math.max(longest, now - last); last = now; }, 5);
  const comparing = ask(one, two).finally(() => (over = true));
  await register("large/meanwhile", "meanwhile.jsonl", chat(0, 3, "meanwhile"));
  expect(over).toBe(false);
  expect((await comparing).data.datasetDiff).toMatchObject({ rowsSame: 149_000, rowsAdded: 1_000, rowsRemoved: 1_000 });
  clearInterval(watch);
  expect(longest).toBeLessThan(1_000);
}, 60_000);
