import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { encodePlace } from "../../src/schema/event-cursor.js";
import { listen, startApi, type Api } from "../schema/api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi({ bookmarkEveryMs: 60_000, http: { webSocketLimits: { initWaitMs: 300, keepAliveMs: 400, stalledAfterMs: 800, operationsPerSocket: 5, socketsPerToken: 40 } } }); });
afterAll(() => api.stop());

const gate = { name: "gate", stages: [{ name: "ask", kind: "approval" }] };
const order = (id: string, name: string) => api.data(`mutation ($id: ID!) { ${name}(input: { pipelineId: $id }) { ... on PipelinePayload { cursor } } }`, { id });

/** A bare socket that keeps what it hears. */
async function open(options: WebSocket.ClientOptions = {}, at: Api = api) {
  const socket = new WebSocket(at.wsUrl, "graphql-transport-ws", options);
  const heard: any[] = [];
  socket.on("message", (data) => heard.push(JSON.parse(String(data))));
  const closed = once(socket, "close").then(([code, reason]) => ({ code: code as number, reason: String(reason) }));
  await once(socket, "open");
  return {
    socket, heard, closed,
    send: (message: unknown) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    hear: (match: object) => expect.poll(() => heard, { timeout: 5_000, interval: 5 }).toContainEqual(expect.objectContaining(match)),
    async greet(token: string = at.tokens.viewer) {
      this.send({ type: "connection_init", payload: { authorization: `Bearer ${token}` } });
      await this.hear({ type: "connection_ack" });
      return this;
    },
  };
}

describe("the connection", () => {
  test("a bad token, or none, closes with 4403, which clients retry", async () => {
    for (const payload of [{}, undefined, { authorization: "Bearer nope" }, { authorization: 7 }]) {
      const line = await open();
      line.send({ type: "connection_init", payload });
      expect((await line.closed).code).toBe(4403);
    }
  });

  test("the token is taken from `authorization`, from `Authorization`, and from the upgrade's header", async () => {
    for (const payload of [{ authorization: `Bearer ${api.tokens.viewer}` }, { Authorization: `Bearer ${api.tokens.viewer}` }]) {
      const line = await open();
      line.send({ type: "connection_init", payload });
      await line.hear({ type: "connection_ack" });
      line.socket.close();
    }
    const line = await open({ headers: { authorization: `Bearer ${api.tokens.viewer}` } });
    line.send({ type: "connection_init" });
    await line.hear({ type: "connection_ack" });
    line.socket.close();
  });

  test("silence after the upgrade closes with 4408, messages out of order with 4401 and 4429, nonsense with 4400", async () => {
    expect((await (await open()).closed).code).toBe(4408);
    const early = await open();
    early.send({ id: "1", type: "subscribe", payload: { query: "{ __typename }" } });
    expect((await early.closed).code).toBe(4401);
    const twice = await (await open()).greet();
    twice.send({ type: "connection_init" });
    expect((await twice.closed).code).toBe(4429);
    const nonsense = await (await open()).greet();
    nonsense.send("{");
    expect((await nonsense.closed).code).toBe(4400);
    const same = await (await open()).greet();
    for (let i = 0; i < 2; i++) same.send({ id: "1", type: "subscribe", payload: { query: "subscription { fleetEvents { __typename } }" } });
    expect((await same.closed).code).toBe(4409);
    const large = await (await open()).greet();
    large.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query: "{ __typename }", variables: { pad: "x".repeat(300_000) } } }));
    expect((await large.closed).code).toBe(1009);
  });

  test("other sub-protocols, other paths and other sites' pages are refused", async () => {
    const refused = (url: string, options: WebSocket.ClientOptions = {}) => new Promise<number>((resolve) => new WebSocket(url, "graphql-transport-ws", options).on("error", () => undefined).on("unexpected-response", (_request, response) => resolve(response.statusCode!)));
    expect(await refused(api.wsUrl.replace("/graphql", "/elsewhere"))).toBe(404);
    expect(await refused(api.wsUrl, { origin: "https://evil.example" })).toBe(403);
    const own = await open({ origin: new URL(api.url).origin });
    own.socket.close();
    const old = new WebSocket(api.wsUrl, "graphql-ws");
    const gone = new Promise<string>((resolve) => old.on("close", (code) => resolve(String(code))).on("error", (error) => resolve(error.message)));
    expect(await gone).toMatch(/4406|sub-?protocol/i);
  });

  test("a peer that does not answer pings is cut off", async () => {
    const line = await (await open({ autoPong: false })).greet();
    expect((await line.closed).code).toBe(1006);
  });

  test("the server's end closes with 1001, which clients retry", async () => {
    const other = await startApi();
    const socket = new WebSocket(other.wsUrl, "graphql-transport-ws");
    await once(socket, "open");
    const closed = once(socket, "close");
    await other.stop();
    expect((await closed)[0]).toBe(1001);
  });
});

describe("operations", () => {
  test("syntax errors, unknown fields, limits and bad variables are errors of that operation; the socket lives on", async () => {
    const line = await (await open()).greet();
    const hostile: [string, { query: string; variables?: unknown }][] = [
      ["syntax", { query: "subscription {" }], ["unknown", { query: "{ nope }" }], ["aliases", { query: `{ ${Array.from({ length: 100 }, (_, i) => `a${i}: __typename`).join(" ")} }` }],
      ["tokens", { query: `{ ${"__typename ".repeat(10_000)} }` }], ["deep", { query: `{ node(id: "x") ${"{ ... on Stage { pipeline { stages ".repeat(15)} { id } ${"} } }".repeat(15)} }` }],
      ["price", { query: "{ pipelines(first: 100) { edges { node { stages { pipeline { stages { pipeline { stages { id } } } } } } } } }" }],
      ["none", { query: "query A { __typename } query B { __typename }" }], ["empty", { query: "" }],
      ["missing", { query: "subscription ($id: ID!) { pipelineEvents(pipelineId: $id) { __typename } }" }],
    ];
    for (const [id, payload] of hostile) line.send({ id, type: "subscribe", payload });
    for (const [id] of hostile) await expect.poll(() => line.heard.some((message) => message.id === id && (message.type === "error" || message.payload?.errors !== undefined)), { timeout: 5_000 }).toBe(true);
    expect(JSON.stringify(line.heard)).not.toMatch(/Unexpected error|"http"/);
    line.send({ id: "fine", type: "subscribe", payload: { query: "{ viewer { role } }" } });
    await line.hear({ id: "fine", type: "next", payload: { data: { viewer: { role: "VIEWER" } } } });
    await line.hear({ id: "fine", type: "complete" });
    line.socket.close();
  });

  test("mutations work here too, and internal faults are masked", async () => {
    const line = await (await open()).greet(api.tokens.operator);
    const { waitReasons } = api.world.actors.controlPlane;
    (api.world.actors.controlPlane as { waitReasons: unknown }).waitReasons = () => Promise.reject(new Error("secret host db.internal"));
    line.send({ id: "m", type: "subscribe", payload: { query: "mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { pipeline { stages { waitReasons } } } } }", variables: { spec: { name: "w", stages: [{ name: "a", kind: "command", params: { run: ["true"] } }] } } } });
    await line.hear({ id: "m", type: "complete" });
    (api.world.actors.controlPlane as { waitReasons: unknown }).waitReasons = waitReasons;
    expect(JSON.stringify(line.heard)).toMatch(/Unexpected error/);
    expect(JSON.stringify(line.heard)).not.toMatch(/db\.internal/);
    line.socket.close();
  });

  test("one socket has a limit of operations, one token a limit of sockets", async () => {
    const line = await (await open()).greet();
    for (let i = 0; i < 7; i++) line.send({ id: `s${i}`, type: "subscribe", payload: { query: "subscription { fleetEvents { __typename } }" } });
    await expect.poll(() => line.heard.filter((message) => message.type === "error").map((message) => message.payload[0].extensions.code)).toEqual(["TOO_MANY_OPERATIONS", "TOO_MANY_OPERATIONS"]);
    expect(api.http.webSocket.operations).toBeGreaterThanOrEqual(5);
    line.socket.close();
    await line.closed;
    await expect.poll(() => api.http.webSocket.operations).toBe(0);
    await expect.poll(() => api.graphql.tail.attached).toBe(0);
    const lines = await Promise.all(Array.from({ length: 40 }, async () => (await open()).greet(api.tokens.admin)));
    const oneMore = await open();
    oneMore.send({ type: "connection_init", payload: { authorization: `Bearer ${api.tokens.admin}` } });
    expect((await oneMore.closed).code).toBe(4290);
    lines.forEach((each) => each.socket.close());
    await Promise.all(lines.map((each) => each.closed));
    await (await open()).greet(api.tokens.admin).then((each) => each.socket.close());
  });

  test("`complete` and a cut line end the subscription at once, also a quiet one", async () => {
    const line = await (await open()).greet();
    line.send({ id: "q", type: "subscribe", payload: { query: "subscription { fleetEvents { __typename } }" } });
    await line.hear({ id: "q", type: "next" });
    expect(api.graphql.tail.attached).toBe(1);
    line.send({ id: "q", type: "complete" });
    await expect.poll(() => api.graphql.tail.attached, { interval: 5, timeout: 1_000 }).toBe(0);
    line.send({ id: "r", type: "subscribe", payload: { query: "subscription { fleetEvents { __typename } }" } });
    await line.hear({ id: "r", type: "next" });
    line.socket.terminate();
    await expect.poll(() => api.graphql.tail.attached, { interval: 5, timeout: 1_000 }).toBe(0);
    expect(api.http.webSocket.operations).toBe(0);
  });
});

describe("tokens that end", () => {
  test("a revoked token's sockets close with 4403 within a second; other tokens' stay", async () => {
    const { createToken } = await api.data('mutation { createToken(input: { name: "leaver", role: VIEWER }) { ... on CreateTokenPayload { secret token { id } } } }');
    const leaver = await (await open()).greet(createToken.secret), stays = await (await open()).greet();
    const begun = performance.now();
    await api.world.database.db.updateTable("tokens").set({ revoked_at: new Date() }).where("id", "=", createToken.token.id).execute(); // as another process does it
    expect((await leaver.closed).code).toBe(4403);
    expect(performance.now() - begun).toBeLessThan(1_000);
    expect(stays.socket.readyState).toBe(WebSocket.OPEN);
    stays.socket.close();
  });

  test("an expired token's sockets close as well", async () => {
    const { createToken } = await api.data('mutation { createToken(input: { name: "short", role: VIEWER, expiresInDays: 0.00001 }) { ... on CreateTokenPayload { secret } } }');
    const line = await (await open()).greet(createToken.secret);
    expect((await line.closed).code).toBe(4403);
  });
});

describe("readers that do not read", () => {
  test("a paused reader holds a bounded number of bytes, delays nobody, is closed with 4290, and resumes without a gap", async () => {
    const api = await startApi({ bookmarkEveryMs: 60_000, http: { webSocketLimits: { stalledAfterMs: 800 } } });
    const id = await api.world.submit(gate);
    const query = "subscription ($id: ID!, $after: EventCursor) { pipelineEvents(pipelineId: $id, after: $after) { __typename ... on PipelineEvent { seq cursor payload } } }";
    const from = encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 });
    const slow = await (await open({}, api)).greet();
    slow.send({ id: "s", type: "subscribe", payload: { query, variables: { id, after: from } } });
    await slow.hear({ id: "s", type: "next" });
    slow.socket.pause();
    const fast = listen(api.client("viewer"), { query, variables: { id, after: from } });
    await api.world.database.db.transaction().execute(async (trx) => { // 4,000 events of 4 KB, as the engine would number them
      const { position } = await trx.updateTable("event_counter").set((eb) => ({ position: eb("position", "+", 4_000) })).returning("position").executeTakeFirstOrThrow();
      const { seq } = await trx.updateTable("pipelines").set((eb) => ({ seq: eb("seq", "+", 4_000) })).where("id", "=", id).returning("seq").executeTakeFirstOrThrow();
      for (let batch = 0; batch < 40; batch++) {
        await trx.insertInto("events").values(Array.from({ length: 100 }, (_, i) => ({ position: position - 4_000 + 1 + batch * 100 + i, pipeline_id: id, seq: seq - 4_000 + 1 + batch * 100 + i, type: "PipelinePaused" as const, stage: null, payload: JSON.stringify({ pad: "x".repeat(4_000) }), at: new Date() }))).execute();
      }
    });
    const seqs: number[] = [];
    while (seqs.length < 4_002) seqs.push((await fast.take(1))[0].pipelineEvents.seq);
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, i) => i + 1));
    await fast.stop();
    await expect.poll(() => api.graphql.tail.attached, { timeout: 10_000 }).toBe(1); // only the slow one is left
    const [serverSide] = [...api.http.webSocket.lines];
    await expect.poll(() => serverSide!.closing, { timeout: 10_000 }).toBe(true);
    expect(serverSide!.unsentBytes).toBeLessThan(200_000);
    slow.socket.resume();
    expect((await slow.closed).code).toBe(4290);
    const got = slow.heard.filter((message) => message.type === "next").map((message) => message.payload.data.pipelineEvents);
    expect(got.length).toBeLessThan(3_900); // the rest was never made for it
    const rest = listen(api.client("viewer"), { query, variables: { id, after: got.at(-1).cursor } });
    const missing = await rest.take(4_002 - got.length);
    expect([...got, ...missing.map((item) => item.pipelineEvents)].map((event) => event.seq)).toEqual(seqs);
    await rest.stop();
    await api.stop();
  }, 60_000);
});

describe("sharing", () => {
  test("subscribers with the same document, variables and role share one execution and one text; others get their own", async () => {
    const id = await api.world.submit(gate);
    const queries = ["subscription ($id: ID!) { pipelineEvents(pipelineId: $id) { __typename ... on PipelineEvent { type seq payload } } }", "subscription ($id: ID!, $full: Boolean = false) { pipelineEvents(pipelineId: $id) { ... on PipelineEvent { kind: type payload @include(if: $full) } } }"];
    const lines = await Promise.all(Array.from({ length: 4 }, async (_, index) => (await open()).greet(index === 3 ? api.tokens.admin : api.tokens.viewer)));
    lines.forEach((line, index) => line.send({ id: `id-"${index}`, type: "subscribe", payload: { query: queries[index < 2 || index === 3 ? 0 : 1], variables: { id } } }));
    const fullLine = await (await open()).greet();
    fullLine.send({ id: "full", type: "subscribe", payload: { query: queries[1], variables: { id, full: true } } });
    for (const line of [...lines, fullLine]) await line.hear({ type: "next" });
    await order(id, "pausePipeline");
    for (const [index, line] of lines.entries()) await expect.poll(() => line.heard.filter((message) => message.type === "next").at(-1)).toEqual({
      id: `id-"${index}`, type: "next", payload: { data: { pipelineEvents: index === 2 ? { kind: "PipelinePaused" } : { __typename: "PipelineEvent", type: "PipelinePaused", seq: expect.any(Number), payload: expect.any(Object) } } },
    });
    await expect.poll(() => fullLine.heard.filter((message) => message.type === "next").at(-1).payload.data.pipelineEvents).toEqual({ kind: "PipelinePaused", payload: expect.any(Object) });
    for (const line of [...lines, fullLine]) line.socket.close();
  });
});
