import { auditServer } from "graphql-http";
import { connect } from "node:net";
import { getIntrospectionQuery } from "graphql";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startApi, type Api } from "../schema/api-world.js";

let api: Api;
const logged: string[] = [];
const log = pino({ level: "error" }, { write: (line: string) => void logged.push(line) });
beforeAll(async () => { api = await startApi({ log, cors: ["https://ui.example"] }); });
afterAll(() => api.stop());

const post = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
  fetch(api.url, { method: "POST", body: body as BodyInit, headers: { "content-type": "application/json", accept: "application/graphql-response+json", authorization: `Bearer ${api.tokens.viewer}`, ...headers } });
const json = async (response: Response) => response.json() as Promise<any>;

test("the 61 audits of GraphQL over HTTP pass: CSRF prevention costs three that are optional", async () => {
  const results = await auditServer({ url: api.url, fetchFn: (url: string, init: RequestInit = {}) => fetch(url, { ...init, headers: { ...(init.headers as object), authorization: `Bearer ${api.tokens.viewer}` } }) });
  expect(results).toHaveLength(61);
  const notOk = results.filter((result) => result.status !== "ok").map((result) => [result.id, result.status]);
  expect(notOk.sort()).toEqual([["5A70", "notice"], ["6A70", "notice"], ["D6D5", "notice"]]);
}, 60_000);

describe("who asks", () => {
  test("a token that is not good is refused before anything runs, whatever is asked", async () => {
    const almost = api.tokens.admin.replace(/.$/, (last) => (last === "x" ? "y" : "x"));
    for (const authorization of ["Bearer nonsense", `Bearer ${almost}`, "Basic abc", "Bearer"]) {
      const response = await post('{"query":"{ __typename }"}', { authorization });
      expect(response.status, authorization).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect((await json(response)).errors[0].extensions.code).toBe("UNAUTHENTICATED");
    }
  });

  test("without a token the schema can be asked for and nothing else", async () => {
    expect((await api.ask(null, getIntrospectionQuery())).errors).toBeUndefined();
    expect((await api.ask(null, "{ agents { id } }")).errors?.[0]).toMatchObject({ extensions: { code: "UNAUTHENTICATED" }, message: expect.stringContaining("Authorization: Bearer") });
  });

  test("the token's own name and role can be asked for", async () => {
    expect((await api.ask("operator", "{ viewer { name role expiresAt } }")).data.viewer).toEqual({ name: "the operator", role: "OPERATOR", expiresAt: null });
  });
});

describe("hostile requests are refused with a 4xx, quickly", () => {
  const nested = (depth: number) => `{ pipelines(first: 1) { edges { node { ${"stages { pipeline { ".repeat(depth)} id ${"} }".repeat(depth)} } } } }`;
  const cases: [string, string | Uint8Array, RegExp | null][] = [
    ["a syntax error", JSON.stringify({ query: "{ pipelines(" }), /Syntax Error/],
    ["an unknown field", JSON.stringify({ query: "{ nope }" }), /Cannot query field/],
    ["a document that is too deep", JSON.stringify({ query: nested(12) }), /depth/],
    ["a document that is deep and not too expensive by depth", JSON.stringify({ query: nested(4) }), /may ask for about/],
    ["10,000 aliases", JSON.stringify({ query: `{ ${Array.from({ length: 10_000 }, (_, i) => `a${i}: __typename`).join(" ")} }` }), /tokens|token/],
    ["100 aliases", JSON.stringify({ query: `{ ${Array.from({ length: 100 }, (_, i) => `a${i}: __typename`).join(" ")} }` }), /aliases/],
    ["a flood of directives", JSON.stringify({ query: `{ __typename ${"@include(if: true) ".repeat(200)} }` }), /directive/],
    ["a cycle of fragments", JSON.stringify({ query: "query { ...A } fragment A on Query { ...B } fragment B on Query { ...A }" }), /Cannot spread fragment/],
    ["fragments that double", JSON.stringify({ query: `{ ...F0 } ${Array.from({ length: 18 }, (_, i) => `fragment F${i} on Query { ...F${i + 1} ...F${i + 1} }`).join(" ")} fragment F18 on Query { a: agents { id } }` }), null],
    ["a million bytes of commas", JSON.stringify({ query: `{ ${",".repeat(1_000_000)} nope }` }), /nope/],
    ["an introspection bomb", JSON.stringify({ query: `{ __schema { types { ${"fields { type { ".repeat(6)} name ${"} }".repeat(6)} } } }` }), /depth|Maximum introspection/],
    ["bytes that are no UTF-8", new Uint8Array([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), null],
    ["no JSON", "{", null],
    ["a list of operations", JSON.stringify([{ query: "{ __typename }" }, { query: "{ __typename }" }]), null],
    ["a query that is no text", JSON.stringify({ query: { a: 1 } }), null],
    ["variables that are no object", JSON.stringify({ query: "{ __typename }", variables: "x" }), null],
    ["an ambiguous operation", JSON.stringify({ query: "query A { __typename } query B { __typename }" }), null],
    ["a missing variable", JSON.stringify({ query: "query ($id: ID!) { pipeline(id: $id) { id } }" }), null],
  ];
  test.each(cases)("%s", async (_name, body, message) => {
    await post('{"query":"{ __typename }"}');
    const begun = performance.now();
    const response = await post(body);
    const text = await response.text();
    expect(performance.now() - begun).toBeLessThan(500); // far above the 50 ms it takes on a quiet machine
    expect(text).not.toMatch(/Unexpected error/);
    if (message === null) expect(response.status === 200 || (response.status >= 400 && response.status < 500), `${response.status} ${text}`).toBe(true);
    else {
      expect(response.status, text).toBe(400);
      expect(text).toMatch(message);
    }
  });

  test("page sizes and cursors that are none are refused by name", async () => {
    for (const [query, message] of [
      ["{ pipelines(first: 0) { pageInfo { hasNextPage } } }", /between 1 and 100/], ["{ pipelines(first: 101) { pageInfo { hasNextPage } } }", /between 1 and 100/],
      ["{ pipelines(last: 1000000000) { pageInfo { hasNextPage } } }", /between 1 and 100/], ["{ pipelines(first: -1) { pageInfo { hasNextPage } } }", /between 1 and 100/],
      ["{ pipelines(first: 1, last: 1) { pageInfo { hasNextPage } } }", /not for both/], ['{ pipelines(after: "zzz") { pageInfo { hasNextPage } } }', /no cursor/],
      ['{ events(after: "Zzot") { seq } }', /no event cursor/], ["{ events(first: 101) { seq } }", /between 1 and 100/],
    ] as const) {
      const answer = await api.ask("viewer", query);
      expect(answer.errors?.[0], query).toMatchObject({ message: expect.stringMatching(message), extensions: { code: "BAD_USER_INPUT" } });
    }
  });

  test("`first` is priced by its value, as a literal and as a variable", async () => {
    const query = (first: string) => `{ pipelines(first: ${first}) { edges { node { stages { attempts { agent { gpus { heldBy { id } } queues { name } } } } } } } }`;
    expect((await api.ask("viewer", query("2"))).status).toBe(200);
    const literal = await api.ask("viewer", query("100"));
    expect(literal.status).toBe(400);
    expect(literal.errors?.[0]?.extensions?.["code"]).toBe("DOCUMENT_LIMIT");
    const asked = (n: number) => api.ask("viewer", query("$n").replace("{", "query ($n: Int) {"), { n });
    expect((await asked(2)).status).toBe(200);
    expect((await asked(100)).status).toBe(400);
    expect((await api.ask("viewer", query("$n").replace("{", "query ($n: Int = 100) {"))).status).toBe(400);
  });
});

describe("the size of a body", () => {
  test("a body above 1 MiB is refused by its announced length and by counted bytes; one below is not", async () => {
    const big = JSON.stringify({ query: "{ __typename }", pad: "x".repeat(1_100_000) });
    const announced = await post(big);
    expect(announced.status).toBe(413);
    expect((await json(announced)).errors[0].extensions.code).toBe("BODY_TOO_LARGE");
    const port = Number(new URL(api.url).port);
    const socket = connect(port, "127.0.0.1");
    socket.write(`POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.viewer}\r\nContent-Type: application/json\r\nContent-Length: 2000000\r\n\r\n`);
    expect(String(await new Promise((resolve) => socket.once("data", resolve)))).toMatch(/^HTTP\/1.1 413 /); // before a byte of it came
    socket.destroy();
    const counted = await fetch(api.url, { method: "POST", duplex: "half", headers: { "content-type": "application/json", authorization: `Bearer ${api.tokens.viewer}` }, body: new Blob([big]).stream() } as RequestInit);
    expect(counted.status).toBe(413);
    const { validatePipeline } = await api.data("query ($spec: JSON!) { validatePipeline(spec: $spec) { ok } }", { spec: { name: "x", description: "y".repeat(900_000), stages: [] } });
    expect(validatePipeline.ok).toBe(false);
  });
});

describe("browsers", () => {
  test("simple cross-site requests are refused, and other origins get no permission", async () => {
    expect((await fetch(`${api.url}?query=%7B__typename%7D`)).status).toBe(403);
    expect((await post('{"query":"{__typename}"}', { "content-type": "text/plain" })).status).toBe(403);
    expect((await fetch(`${api.url}?query=%7B__typename%7D`, { headers: { "x-graphql-yoga-csrf": "1" } })).status).toBe(200);
    const preflight = (origin: string) => fetch(api.url, { method: "OPTIONS", headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type,authorization" } });
    expect((await preflight("https://evil.example")).headers.get("access-control-allow-origin")).not.toBe("https://evil.example");
    expect((await preflight("https://ui.example")).headers.get("access-control-allow-origin")).toBe("https://ui.example");
  });

  test("the endpoint shows a page that loads nothing from elsewhere", async () => {
    const page = await fetch(api.url, { headers: { accept: "text/html,*/*" } });
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(await page.text()).not.toMatch(/(src|href)=["']?http/);
    expect((await fetch(new URL("/", api.url), { redirect: "manual" })).headers.get("location")).toBe("/graphql");
  });
});

describe("masking", () => {
  test("an internal fault reads the same from every field: no message, no statement, no host; the log has it whole under the request id", async () => {
    const broken = { cause: "password=hunter2 at db.internal" };
    const { controlPlane } = api.world.actors;
    const order = controlPlane.order;
    (controlPlane as { order: unknown }).order = () => Promise.reject(new Error("connect ECONNREFUSED db.internal:5432 password=hunter2", broken));
    const answer = await api.ask("operator", 'mutation { cancelPipeline(input: { pipelineId: "pip_00000000000000000000000000" }) { __typename } }');
    (controlPlane as { order: unknown }).order = order;
    expect(answer.errors).toEqual([expect.objectContaining({ message: "Unexpected error.", extensions: { code: "INTERNAL", requestId: expect.any(String) } })]);
    expect(JSON.stringify(answer)).not.toMatch(/hunter2|ECONNREFUSED|db\.internal/);
    const requestId = answer.errors![0]!.extensions!["requestId"] as string;
    expect(logged.find((line) => line.includes(requestId))).toContain("hunter2");
  });

  test("texts that no store can keep are refused by name before they get there", async () => {
    for (const query of ['{ pipelines(name: "\\u0000") { pageInfo { hasNextPage } } }', 'mutation { createToken(input: { name: "a\\u0000b", role: VIEWER }) { ... on DomainError { code message } __typename } }']) {
      expect(JSON.stringify(await api.ask("admin", query)), query).toMatch(/NUL character/);
    }
  });
});

describe("beside GraphQL", () => {
  test("health, readiness and metrics", async () => {
    const at = (path: string, headers: Record<string, string> = {}) => fetch(new URL(path, api.url), { headers });
    expect(await json(await at("/healthz"))).toEqual({ ok: true });
    await expect.poll(async () => (await at("/readyz")).status, { timeout: 10_000 }).toBe(200);
    const metrics = await (await at("/metrics")).text();
    for (const name of ["trainyard_queue_depth", "trainyard_stage_wait_seconds", "trainyard_stage_transitions_total", "trainyard_ingest_lag_seconds", "trainyard_metric_points_total", "trainyard_open_subscriptions", "trainyard_http_request_seconds"]) expect(metrics).toContain(`# TYPE ${name}`);
    expect((await at("/metrics", { "x-forwarded-for": "10.0.0.9" })).status).toBe(401);
    expect((await at("/metrics", { "x-forwarded-for": "10.0.0.9", authorization: `Bearer ${api.tokens.agent}` })).status).toBe(401);
    expect((await at("/metrics", { "x-forwarded-for": "10.0.0.9", authorization: `Bearer ${api.tokens.viewer}` })).status).toBe(200);
    expect((await at("/nowhere")).status).toBe(404);
  });

  test("an address that is none is a 400, and every answer names its request", async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(new URL(api.url).port), "127.0.0.1", () => socket.write("GET //[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
      let text = "";
      socket.on("data", (part) => { text += String(part); }).on("end", () => resolve(text)).on("error", reject);
    });
    expect(answer).toMatch(/^HTTP\/1.1 400 /);
    expect(answer).toMatch(/x-request-id: [0-9a-f-]{36}/);
  });
});
