import { afterAll, beforeAll, expect, test } from "vitest";
import { diamond } from "../support/specs.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => { api = await startApi(); });
afterAll(() => api.stop());

const trail = async (subject?: string) => (await api.data("query ($subject: String) { audit(first: 100, subject: $subject) { edges { node { actor role action subject input outcome code requestId address } } } }", { subject })).audit.edges.map((edge: any) => edge.node);

test("a token is shown once, works, and is listed without its text", async () => {
  const { createToken: made } = await api.data('mutation { createToken(input: { name: "ci", role: OPERATOR, expiresInDays: 30 }) { ... on CreateTokenPayload { secret token { id name role createdBy expiresAt lastUsedAt revokedAt } } } }');
  expect(made).toMatchObject({ secret: expect.stringMatching(/^ty_o_/), token: { name: "ci", role: "OPERATOR", createdBy: "the admin", revokedAt: null } });
  const used = await fetch(api.url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${made.secret}` }, body: '{"query":"{ viewer { name role } }"}' });
  expect(await used.json()).toEqual({ data: { viewer: { name: "ci", role: "OPERATOR" } } });
  const { tokens } = await api.data("{ tokens { id name role agentName } }");
  expect(tokens[0]).toEqual({ id: made.token.id, name: "ci", role: "OPERATOR", agentName: null });
  expect(JSON.stringify([tokens, await trail()])).not.toContain(made.secret);
  const { revokeToken } = await api.data("mutation ($id: ID!) { revokeToken(id: $id) { ... on TokenPayload { token { revokedAt } } } }", { id: made.token.id });
  expect(revokeToken.token.revokedAt).not.toBeNull();
  expect((await fetch(api.url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${made.secret}` }, body: '{"query":"{ viewer { name } }"}' })).status).toBe(401);
  expect((await trail(made.token.id)).map((row: any) => [row.action, row.outcome])).toEqual([["revokeToken", "ACCEPTED"], ["createToken", "ACCEPTED"]]);
});

test("bad tokens are members of the union, with the place that is wrong", async () => {
  const { createToken } = await api.data('mutation { createToken(input: { name: "", role: VIEWER, agentName: "a" }) { ... on InvalidInputError { problems { path } } } }');
  expect(createToken.problems.map((problem: { path: string }) => problem.path)).toEqual(["name", "agentName"]);
});

test("every mutation leaves a row, accepted or refused, with who, what and why", async () => {
  const submit = (role: "operator" | "viewer" | "agent", spec: unknown) => api.ask(role, "mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { __typename ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { code message } } }", { spec });
  const accepted = await submit("operator", { ...diamond as object, name: "audited" });
  const id = accepted.data.submitPipeline.pipeline.id;
  expect(await trail(id)).toMatchObject([{ actor: "the operator", role: "operator", action: "submitPipeline", outcome: "ACCEPTED", code: null, input: { input: { spec: { name: "audited" } } }, requestId: expect.any(String), address: expect.stringContaining("127.0.0.1") }]);
  for (const role of ["viewer", "agent"] as const) {
    expect((await submit(role, diamond)).data.submitPipeline).toMatchObject({ __typename: "ForbiddenError", code: "FORBIDDEN", message: expect.stringContaining("operator") });
    expect((await trail())[0]).toMatchObject({ actor: `the ${role}`, role, action: "submitPipeline", outcome: "REFUSED", code: "FORBIDDEN" });
  }
  await submit("operator", { name: "broken" });
  expect((await trail())[0]).toMatchObject({ outcome: "REFUSED", code: "INVALID_INPUT" });
  await api.ask("operator", "mutation ($id: ID!) { resumePipeline(input: { pipelineId: $id }) { __typename } }", { id });
  expect((await trail(id))[0]).toMatchObject({ action: "resumePipeline", outcome: "REFUSED", code: "PIPELINE_NOT_PAUSED" });
});

test("strangers are refused and noted, but cannot fill the trail", async () => {
  const count = async () => (await api.world.database.db.selectFrom("audit").select((eb) => eb.fn.countAll<number>().as("n")).where("actor", "=", "anonymous").executeTakeFirstOrThrow()).n;
  const before = await count();
  for (let i = 0; i < 80; i++) expect((await api.ask(null, 'mutation { cancelPipeline(input: { pipelineId: "x" }) { __typename } }')).errors?.[0]?.extensions?.["code"]).toBe("UNAUTHENTICATED");
  expect((await count()) - before).toBeGreaterThan(0);
  expect(await count()).toBeLessThanOrEqual(60);
});

test("the audit trail is paged, newest first", async () => {
  const page = async (args: string) => (await api.data(`{ audit(${args}) { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage endCursor } } }`)).audit;
  const first = await page("first: 3"), second = await page(`first: 3, after: "${first.pageInfo.endCursor}"`);
  const ids = [...first.edges, ...second.edges].map((edge: any) => edge.node.id);
  expect(ids).toEqual([...ids].sort((a, b) => b - a));
  expect(first.pageInfo).toMatchObject({ hasNextPage: true, hasPreviousPage: false });
  const back = await page(`last: 3, before: "${second.edges[0].cursor}"`);
  expect(back.edges.map((edge: any) => edge.node.id)).toEqual(first.edges.map((edge: any) => edge.node.id));
});
