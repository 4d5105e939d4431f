import { afterAll, beforeAll, expect, test } from "vitest";
import { encodePlace } from "../../../src/schema/event-cursor.js";
import { commands, diamond } from "../../support/specs.js";
import { listen, startApi, type Api } from "../api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi({ bookmarkEveryMs: 300 }); });
afterAll(() => api.stop());

const PIPELINE = "subscription ($id: ID!, $after: EventCursor) { pipelineEvents(pipelineId: $id, after: $after) { __typename ... on PipelineEvent { cursor seq type pipelineId payload } ... on Bookmark { cursor } ... on ResyncRequired { head } } }";
const FLEET = "subscription ($after: EventCursor) { fleetEvents(after: $after) { __typename ... on PipelineEvent { cursor seq type pipelineId } ... on Bookmark { cursor } ... on ResyncRequired { head } } }";
/** Nothing happens in it unless somebody orders it. */
const gate = { name: "gate", stages: [{ name: "ask", kind: "approval" }] };
const events = (items: any[]) => items.map((item) => item.pipelineEvents ?? item.fleetEvents).filter((item) => item.__typename === "PipelineEvent");
const order = (id: string, name: string) => api.data(`mutation ($id: ID!) { ${name}(input: { pipelineId: $id }) { __typename ... on PipelinePayload { cursor } } }`, { id });

test("without a cursor the stream starts now: a Bookmark first, then what happens", async () => {
  const id = await api.world.submit(diamond);
  const stream = listen(api.client("viewer"), { query: PIPELINE, variables: { id } });
  const [first] = await stream.take(1);
  const { pipeline } = await api.data("query ($id: ID!) { pipeline(id: $id) { head } }", { id });
  expect(first.pipelineEvents).toEqual({ __typename: "Bookmark", cursor: pipeline.head });
  const { pausePipeline } = await order(id, "pausePipeline");
  const found = events(await stream.take(3));
  expect(found[0]).toMatchObject({ type: "PipelinePaused", pipelineId: id });
  expect(found.map((event) => event.cursor)).toContain(pausePipeline.cursor); // one can wait for one's own write
  await stream.stop();
});

test("a quiet stream says so, and its bookmark resumes without a gap", async () => {
  const id = await api.world.submit(diamond);
  const stream = listen(api.client("viewer"), { query: PIPELINE, variables: { id } });
  const marks = await stream.take(3);
  expect(marks.map((mark) => mark.pipelineEvents.__typename)).toEqual(["Bookmark", "Bookmark", "Bookmark"]);
  await stream.stop();
  await order(id, "pausePipeline");
  const resumed = listen(api.client("viewer"), { query: PIPELINE, variables: { id, after: marks[2].pipelineEvents.cursor } });
  expect((await resumed.take(1))[0].pipelineEvents).toMatchObject({ __typename: "PipelineEvent", type: "PipelinePaused" });
  await resumed.stop();
});

test("from the beginning, page after page, every event comes once and in order", async () => {
  await api.world.agent({ name: "l1" });
  const id = await api.world.submit(commands("long", Array.from({ length: 150 }, (_, i) => ({ name: `s${i}`, dependsOn: i === 0 ? [] : [`s${i - 1}`] }))));
  const live = listen(api.client("viewer"), { query: PIPELINE, variables: { id, after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 }) } });
  await api.world.ended(id, "COMPLETED", 30_000);
  const stored = await api.world.database.db.selectFrom("events").select(["seq", "type"]).where("pipeline_id", "=", id).orderBy("seq").execute();
  expect(stored.length).toBeGreaterThan(512);
  const late = listen(api.client("viewer"), { query: PIPELINE, variables: { id, after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 }) } });
  for (const stream of [live, late]) {
    const seen: any[] = [];
    while (seen.length < stored.length) seen.push(...events(await stream.take(1)));
    expect(seen.map((event) => [event.seq, event.type])).toEqual(stored.map((event) => [event.seq, event.type]));
    await stream.stop();
  }
}, 60_000);

test("over all pipelines everybody sees one order; reconnecting anywhere loses and repeats nothing", async () => {
  const { db } = api.world.database;
  const head = async () => (await db.selectFrom("event_counter").select("position").executeTakeFirstOrThrow()).position;
  await api.world.agent({ name: "f2" });
  const start = await head();
  let end: number | null = null;
  const work = (async () => {
    const ids = [];
    for (let i = 0; i < 40; i++) ids.push(await api.world.submit(diamond));
    for (const id of ids) await api.world.ended(id, "COMPLETED", 30_000);
    end = await head();
  })();
  const followers = Array.from({ length: 6 }, async (_, follower) => {
    const seen: string[] = [];
    let after = encodePlace({ kind: "fleet", position: start });
    let connections = 0;
    while (end === null || seen.length < end - start) {
      const client = api.client("viewer");
      const stream = listen(client, { query: FLEET, variables: { after } });
      for (let left = 5 + ((follower * 13 + ++connections * 5) % 60); left > 0; left--) {
        const item = (await stream.take(1))[0].fleetEvents;
        after = item.cursor;
        if (item.__typename !== "PipelineEvent") break;
        seen.push(`${item.pipelineId}:${item.seq}`);
      }
      if (connections % 2 === 0) client.terminate(); // the line is cut, with events on their way
      else await stream.stop();
    }
    expect(connections).toBeGreaterThan(5);
    return seen;
  });
  const [seen] = await Promise.all([Promise.all(followers), work]);
  const stored = await db.selectFrom("events").select(["pipeline_id", "seq"]).where("position", ">", start).orderBy("position").execute();
  for (const each of seen) expect(each).toEqual(stored.map((event) => `${event.pipeline_id}:${event.seq}`));
}, 120_000);

test("streams of several pipelines at once: each gets the events of its own and of no other, also in a burst", async () => {
  await api.world.agent({ name: "b1" });
  const ids = await Promise.all(Array.from({ length: 8 }, () => api.world.submit(gate)));
  const streams = ids.map((id) => listen(api.client("viewer"), { query: PIPELINE, variables: { id } }));
  for (const stream of streams) await stream.take(1); // the Bookmark: it stands
  for (let round = 0; round < 3; round++) await Promise.all(ids.map(async (id) => { await order(id, "pausePipeline"); await order(id, "resumePipeline"); }));
  for (const [index, stream] of streams.entries()) {
    const seen: any[] = [];
    while (seen.filter((event) => event.type === "PipelineResumed").length < 3) seen.push(...events(await stream.take(1)));
    expect(seen.map((event) => event.pipelineId)).toEqual(seen.map(() => ids[index]));
    expect(seen.map((event) => event.seq)).toEqual(seen.map((_, i) => seen[0].seq + i));
    await stream.stop();
  }
});

test("a cursor older than what is kept is told to resync, also when retention left a hole in the middle", async () => {
  const { db } = api.world.database;
  const ids = [await api.world.submit(gate), await api.world.submit(gate), await api.world.submit(gate)];
  const start = (await db.selectFrom("events").select((eb) => eb.fn.min("position").as("first")).where("pipeline_id", "=", ids[0]!).executeTakeFirstOrThrow()).first - 1;
  await db.deleteFrom("events").where("pipeline_id", "=", ids[1]!).execute(); // what retention does
  const fleet = listen(api.client("viewer"), { query: FLEET, variables: { after: encodePlace({ kind: "fleet", position: start }) } });
  const items = [];
  for (;;) {
    const step = await fleet.next();
    if (step.done === true) break;
    items.push((step.value.data as any).fleetEvents);
  }
  expect(items.at(-1)).toEqual({ __typename: "ResyncRequired", head: encodePlace({ kind: "fleet", position: (await db.selectFrom("event_counter").select("position").executeTakeFirstOrThrow()).position }) });
  expect(items.slice(0, -1).every((item) => item.pipelineId === ids[0])).toBe(true);
  const own = listen(api.client("viewer"), { query: PIPELINE, variables: { id: ids[1], after: encodePlace({ kind: "pipeline", pipelineId: ids[1]!, seq: 1 }) } });
  const [resync] = await own.take(1);
  expect(resync.pipelineEvents.__typename).toBe("ResyncRequired");
  expect((await own.next()).done).toBe(true);
  const again = listen(api.client("viewer"), { query: PIPELINE, variables: { id: ids[1], after: resync.pipelineEvents.head } });
  await order(ids[1]!, "pausePipeline");
  expect(events(await again.take(1))[0].type).toBe("PipelinePaused");
  await again.stop();
});

test("a cursor from the future, from before a restored backup, is told to resync", async () => {
  const id = await api.world.submit(diamond);
  for (const [query, after] of [[PIPELINE, encodePlace({ kind: "pipeline", pipelineId: id, seq: 999_999 })], [FLEET, encodePlace({ kind: "fleet", position: 999_999_999 })]] as const) {
    const [item] = await listen(api.client("viewer"), { query, variables: { id, after } }).take(1);
    expect((item.pipelineEvents ?? item.fleetEvents).__typename).toBe("ResyncRequired");
  }
});

test("a cursor of the other kind is understood; another pipeline's and nonsense are refused", async () => {
  const id = await api.world.submit(diamond), other = await api.world.submit(diamond);
  const rows = await api.world.database.db.selectFrom("events").select(["position", "seq"]).where("pipeline_id", "=", id).orderBy("seq").execute();
  const [fromFleet] = events(await listen(api.client("viewer"), { query: PIPELINE, variables: { id, after: encodePlace({ kind: "fleet", position: rows[0]!.position }) } }).take(1));
  expect(fromFleet.seq).toBe(2);
  const [fromPipeline] = events(await listen(api.client("viewer"), { query: FLEET, variables: { after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 1 }) } }).take(1));
  expect(fromPipeline).toMatchObject({ pipelineId: id, seq: 2 });
  for (const [variables, code] of [
    [{ id, after: encodePlace({ kind: "pipeline", pipelineId: other, seq: 1 }) }, "BAD_USER_INPUT"], [{ id, after: "nonsense" }, "BAD_USER_INPUT"], [{ id: "pip_00000000000000000000000000" }, "NOT_FOUND"], [{ id: "x" }, "NOT_FOUND"],
  ] as const) {
    const error = await listen(api.client("viewer"), { query: PIPELINE, variables }).take(1).then(() => null, (reason: unknown) => reason);
    expect(JSON.stringify((error as { errors?: unknown }).errors ?? error), JSON.stringify(variables)).toContain(code);
  }
});
