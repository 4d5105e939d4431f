import { createClient } from "graphql-sse";
import { connect } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encodePlace } from "../../src/schema/event-cursor.js";
import { startApi, type Api } from "../schema/api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi({ bookmarkEveryMs: 200, http: { stalledAfterMs: 600 } }); });
afterAll(() => api.stop());

const gate = { name: "gate", stages: [{ name: "ask", kind: "approval" }] };
const QUERY = "subscription ($id: ID!, $after: EventCursor) { pipelineEvents(pipelineId: $id, after: $after) { __typename ... on PipelineEvent { seq type cursor payload } ... on Bookmark { cursor } } }";
const sse = (token = api.tokens.viewer) => createClient({ url: api.url, headers: { authorization: `Bearer ${token}` }, retryAttempts: 0 });

test("a subscription by graphql-sse gives the same items as by WebSocket, and ends with its reader", async () => {
  const id = await api.world.submit(gate);
  const iterator = sse().iterate<any>({ query: QUERY, variables: { id, after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 }) } });
  const stored = await api.world.database.db.selectFrom("events").select(["seq", "type"]).where("pipeline_id", "=", id).orderBy("seq").execute();
  for (const event of stored) expect((await iterator.next()).value.data.pipelineEvents).toMatchObject(event);
  expect((await iterator.next()).value.data.pipelineEvents.__typename).toBe("Bookmark");
  expect(api.graphql.tail.attached).toBe(1);
  await iterator.return!();
  await expect.poll(() => api.graphql.tail.attached, { timeout: 2_000 }).toBe(0);
});

test("curl's way: an event stream over a plain POST", async () => {
  const id = await api.world.submit(gate);
  const gone = new AbortController();
  const response = await fetch(api.url, { method: "POST", signal: gone.signal, headers: { "content-type": "application/json", accept: "text/event-stream", authorization: `Bearer ${api.tokens.viewer}` }, body: JSON.stringify({ query: QUERY, variables: { id } }) });
  expect(response.headers.get("content-type")).toContain("text/event-stream");
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("event: next")) text += (await reader.read()).value ?? "";
  expect(text).toMatch(/event: next\ndata: \{"data":\{"pipelineEvents":\{"__typename":"Bookmark"/);
  gone.abort();
  await expect.poll(() => api.graphql.tail.attached, { timeout: 2_000 }).toBe(0);
});

test("refusals come as errors in the stream, with their codes, and nothing internal", async () => {
  for (const [variables, code] of [[{ id: "pip_00000000000000000000000000" }, "NOT_FOUND"], [{ id: "pip_00000000000000000000000000", after: "x" }, "BAD_USER_INPUT"]] as const) {
    const { value } = await sse().iterate<any>({ query: QUERY, variables }).next();
    expect(value.errors[0].extensions.code).toBe(code);
  }
  const { value } = await sse(api.tokens.agent).iterate<any>({ query: QUERY, variables: { id: "x" } }).next();
  expect(value.errors[0].extensions.code).toBe("FORBIDDEN");
});

test("a revoked token's streams end within a second", async () => {
  const { createToken } = await api.data('mutation { createToken(input: { name: "leaver", role: VIEWER }) { ... on CreateTokenPayload { secret token { id } } } }');
  const id = await api.world.submit(gate);
  const iterator = sse(createToken.secret).iterate<any>({ query: QUERY, variables: { id } });
  await iterator.next();
  const begun = performance.now();
  const ended = (async () => { for (;;) if ((await iterator.next()).done === true) return; })().catch(() => undefined);
  await api.data("mutation ($id: ID!) { revokeToken(id: $id) { __typename } }", { id: createToken.token.id });
  await ended;
  expect(performance.now() - begun).toBeLessThan(1_000);
  await expect.poll(() => api.graphql.tail.attached, { timeout: 2_000 }).toBe(0);
});

test("a reader that takes nothing is cut off, and its subscription with it", async () => {
  const id = await api.world.submit(gate);
  await api.world.database.db.transaction().execute(async (trx) => {
    const { position } = await trx.updateTable("event_counter").set((eb) => ({ position: eb("position", "+", 2_000) })).returning("position").executeTakeFirstOrThrow();
    const { seq } = await trx.updateTable("pipelines").set((eb) => ({ seq: eb("seq", "+", 2_000) })).where("id", "=", id).returning("seq").executeTakeFirstOrThrow();
    for (let batch = 0; batch < 20; batch++) await trx.insertInto("events").values(Array.from({ length: 100 }, (_, i) => ({ position: position - 1_999 + batch * 100 + i, pipeline_id: id, seq: seq - 1_999 + batch * 100 + i, type: "PipelinePaused" as const, stage: null, payload: JSON.stringify({ pad: "x".repeat(8_000) }), at: new Date() }))).execute();
  });
  const body = JSON.stringify({ query: QUERY, variables: { id, after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 }) } });
  const socket = connect(Number(new URL(api.url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write(`POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.viewer}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  socket.pause();
  await expect.poll(() => api.graphql.tail.attached, { timeout: 2_000 }).toBe(1);
  await expect.poll(() => api.graphql.tail.attached, { timeout: 5_000 }).toBe(0);
  socket.destroy();
});
