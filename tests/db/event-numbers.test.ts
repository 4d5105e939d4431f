import { afterAll, beforeAll, expect, test } from "vitest";
import { openDatabase, type OpenedDatabase } from "../../src/db/database.js";
import { append, lockPipelines, type Append } from "../../src/db/pipeline-store.js";
import { newId } from "../../src/domain/ids.js";
import { readAfter } from "../../src/schema/streams/event-stream.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";
import { silent } from "../support/world.js";

const WRITERS = 16;
const BATCHES = 20;

let database: TestDatabase;
let opened: OpenedDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
  opened = openDatabase({ url: database.url, size: WRITERS + 2, log: silent });
});
afterAll(async () => {
  await opened.close();
  await database.drop();
});

const nothing: Append = { created: [], changed: [], events: [], attempts: [], attemptChanges: [], assignments: [], assignmentChanges: [], released: [], watermarks: [], audits: [] };

test("a reader that goes on after the last position it saw misses no event of 16 writers, and sees those of a batch together", async () => {
  const ids = Array.from({ length: WRITERS }, () => newId("pip"));
  for (const id of ids) await opened.db.insertInto("pipelines").values({ id, name: "p", status: "RUNNING", labels: "{}", spec: "{}", seq: 0, stage_count: 1, created_by: "t", created_at: new Date() }).execute();
  const total = (WRITERS * BATCHES * (BATCHES + 1)) / 2;

  const write = async (id: (typeof ids)[number]) => {
    let seq = 0;
    for (let size = 1; size <= BATCHES; size++) {
      const client = await opened.pool.connect();
      await client.query("begin");
      await lockPipelines(client, [id]);
      const events = Array.from({ length: size }, () => ({ pipelineId: id, seq: ++seq, event: { type: "PipelinePaused", at: Date.now(), reason: "r", by: "t" } as const }));
      const last = await append(client, { ...nothing, events });
      expect(last).toBeGreaterThanOrEqual(size);
      if (size % 3 === 0) await client.query("select pg_sleep(0.002)"); // some take their time between taking the numbers and showing them
      await client.query("commit");
      client.release();
    }
  };
  const seen: { position: number; pipelineId: string; seq: number }[] = [];
  let writing = true;
  const read = async () => {
    for (;;) {
      const last = !writing; // nothing is written after that: this look is the last
      const page = await readAfter(opened.db, null, seen.at(-1)?.position ?? 0, 10_000);
      seen.push(...page);
      if (last && page.length === 0) return;
    }
  };
  const reading = read();
  await Promise.all(ids.map(write));
  writing = false;
  await reading;

  expect(seen).toHaveLength(total);
  expect(seen.map((event) => event.position)).toEqual(seen.map((_, index) => index + 1));
  for (const id of ids) expect(seen.filter((event) => event.pipelineId === id).map((event) => event.seq)).toEqual(Array.from({ length: total / WRITERS }, (_, index) => index + 1));
});
