// Webhooks the whole way: made over the API, entered with the events, delivered by the caretaker to a real receiver.
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { post } from "../../src/actors/webhooks/post.js";
import { newId } from "../../src/domain/ids.js";
import { startReceiver } from "../support/webhook-receiver.js";
import { startApi, type Api } from "./api-world.js";

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.world.agent({ run: ({ params }) => ((params["run"] as string[])[0] === "fail" ? { kind: "FAILED", failure: { code: "EXIT_NONZERO", message: "It broke.", hint: null, exitCode: 3, logTail: [] } } : { kind: "COMPLETED", outputs: {} }) });
});
afterAll(() => api.stop());

const CREATE = "mutation ($input: CreateWebhookInput!) { createWebhook(input: $input) { __typename ... on CreateWebhookPayload { secret webhook { id name format events url } } ... on DomainError { code message } ... on InvalidInputError { problems { path code } } } }";
const create = async (input: Record<string, unknown>) => (await api.data(CREATE, { input: { name: newId("whk"), format: "JSON", events: ["PIPELINE_ENDED", "STAGE_FAILED"], ...input } })).createWebhook;
const deliveries = async (id: string) => (await api.data("{ webhooks { id deliveries { id event tries nextAt deliveredAt deadAt lastError } } }")).webhooks.find((one: { id: string }) => one.id === id).deliveries;
const remove = (id: string) => api.data("mutation ($id: ID!) { deleteWebhook(id: $id) { __typename } }", { id });
const soon = (id: string) => api.world.database.pool.query("update webhook_deliveries set next_at = now() where webhook_id = $1 and delivered_at is null", [id]);
const pipeline = (run: string) => api.world.submit({ name: "nightly", labels: { team: "x" }, stages: [{ name: "work", kind: "command", params: { run: [run] } }] });

test("what happened is told once, signed, with a stable id and the names of pipeline and stage", async () => {
  const receiver = await startReceiver();
  const { webhook, secret } = await create({ secretUrl: receiver.url });
  const pipelineId = await pipeline("fail");
  await api.world.ended(pipelineId, "FAILED");
  await receiver.count(2);
  expect(receiver.told.map(({ json }) => json)).toMatchObject([
    { event: "stage.failed", pipeline: { id: pipelineId, name: "nightly", labels: { team: "x" } }, stage: { name: "work" }, title: "failed: EXIT_NONZERO", text: "It broke.", details: { code: "EXIT_NONZERO", exitCode: 3 } },
    { event: "pipeline.ended", pipeline: { id: pipelineId }, stage: null, details: { status: "FAILED" } },
  ]);
  for (const { body, headers, json } of receiver.told) {
    expect(headers["x-trainyard-signature"]).toBe(`v1=${createHmac("sha256", secret).update(`${headers["x-trainyard-timestamp"] as string}.${body}`).digest("hex")}`);
    expect(headers["x-trainyard-delivery"]).toBe(json.id);
    expect(Math.abs(Date.now() / 1_000 - Number(headers["x-trainyard-timestamp"]))).toBeLessThan(60);
  }
  await expect.poll(async () => (await deliveries(webhook.id)).every((one: { deliveredAt: string | null }) => one.deliveredAt !== null), { timeout: 10_000 }).toBe(true);
  expect((await deliveries(webhook.id)).map((one: { id: string }) => one.id).sort()).toEqual(receiver.told.map(({ json }) => json.id as string).sort());
  await remove(webhook.id);
});

test("a receiver that fails or breaks off is told again under the same id, until it answers", async () => {
  const replies = [500, "cut", { status: 429, text: "slow down", headers: { "retry-after": "60" } }, 204] as const;
  const receiver = await startReceiver((_, times) => replies[times - 1] ?? 200);
  const { webhook } = await create({ secretUrl: receiver.url, events: ["PIPELINE_ENDED"] });
  await api.world.ended(await pipeline("true"), "COMPLETED");
  const errors: (string | null)[] = [];
  for (let tries = 1; tries <= replies.length; tries++) {
    await expect.poll(async () => (await deliveries(webhook.id))[0]?.tries, { timeout: 15_000 }).toBe(tries);
    errors.push((await deliveries(webhook.id))[0].lastError);
    await soon(webhook.id);
  }
  expect(errors).toEqual(["HTTP 500", "ECONNRESET", "HTTP 429: slow down", null]);
  expect(new Set(receiver.told.map(({ json }) => json.id)).size).toBe(1);
  expect((await deliveries(webhook.id))[0]).toMatchObject({ tries: 4, nextAt: null, deadAt: null });
  await remove(webhook.id);
});

test("a receiver that says nothing is not waited for longer than the time allowed", async () => {
  const receiver = await startReceiver(() => "silence");
  await expect(post(receiver.url, {}, "{}", 300)).rejects.toThrow("no answer within 0.3 s");
});

test("after its last try a delivery is dead and says why, without address or secret", async () => {
  const receiver = await startReceiver(({ path, headers }) => ({ status: 403, text: `no ${path} for ${String(headers["x-trainyard-signature"])} s3cret-of-mine` }));
  const { webhook } = await create({ secretUrl: receiver.url, secret: "s3cret-of-mine", events: ["PIPELINE_ENDED"] });
  await api.world.ended(await pipeline("true"), "COMPLETED");
  await receiver.count(1);
  await expect.poll(async () => (await deliveries(webhook.id))[0].tries, { timeout: 10_000 }).toBe(1);
  await api.world.database.pool.query("update webhook_deliveries set tries = 11, next_at = now() where webhook_id = $1", [webhook.id]);
  await expect.poll(async () => (await deliveries(webhook.id))[0].deadAt, { timeout: 10_000 }).not.toBeNull();
  const [dead] = await deliveries(webhook.id);
  expect(dead).toMatchObject({ tries: 12, nextAt: null, deliveredAt: null, lastError: expect.stringMatching(/^HTTP 403: no \[redacted\] for v1=[0-9a-f]+ \[redacted\]$/) });
  await remove(webhook.id);
});

test("what was sent when the process died before it could note so is sent again under the same id", async () => {
  const receiver = await startReceiver();
  const { webhook } = await create({ secretUrl: receiver.url, events: ["APPROVAL_WAITING"] });
  await api.world.submit({ name: "asks", stages: [{ name: "ask", kind: "approval", params: { message: "Ship it?" } }] });
  await receiver.count(1);
  expect(receiver.told[0]!.json).toMatchObject({ event: "approval.waiting", stage: { name: "ask" }, text: "Ship it?" });
  await expect.poll(async () => (await deliveries(webhook.id))[0].deliveredAt, { timeout: 10_000 }).not.toBeNull();
  // As it stands after a death between sending and noting: the same message comes again, under the same id.
  await api.world.database.pool.query("update webhook_deliveries set delivered_at = null, next_at = now() where webhook_id = $1", [webhook.id]);
  await receiver.count(2);
  expect(receiver.told[1]!.json.id).toBe(receiver.told[0]!.json.id);
  await remove(webhook.id);
});

test("an anomaly is told as it is found, with what was done about it", async () => {
  const receiver = await startReceiver();
  const { webhook } = await create({ secretUrl: receiver.url, events: ["ANOMALY"] });
  const trainer = await api.world.agent({ name: "gpu", pools: [{ queues: ["training"], concurrency: 1 }], capabilities: ["train:simulate"], run: () => "hold" });
  const pipelineId = await api.world.submit({ name: "diverges", stages: [{ name: "train", kind: "train", params: { algorithm: "sft", model: "m", trainFiles: "/d/t.parquet", simulate: true, health: { onNonFinite: "notify" } } }] });
  await api.world.until(pipelineId, (state) => state.stages.at(0).status === "RUNNING");
  const { attemptId, fence } = trainer.started.find((each) => each.pipelineId === pipelineId)!;
  await trainer.report({ type: "metrics", attemptId, fence, names: ["train/loss"], points: [1, 2, 3, 4, 5].map((step) => [0, step, Date.now(), step < 3 ? 2 : "NaN"]) });
  await receiver.count(1);
  expect(receiver.told[0]!.json).toMatchObject({ event: "anomaly", simulated: true, pipeline: { id: pipelineId, name: "diverges" }, stage: { name: "train" }, details: { kind: "NON_FINITE", action: "NOTIFIED" } });
  await remove(webhook.id);
});

describe("admins alone", () => {
  test("make them; address and secret are in no table, trail or answer afterwards", async () => {
    const receiver = await startReceiver();
    const { webhook } = await create({ name: "chat", secretUrl: "https://hooks.example.test/services/T0/B0/verysecret", format: "SLACK", events: ["ANOMALY"] });
    expect(webhook).toMatchObject({ name: "chat", format: "SLACK", events: ["ANOMALY"], url: "https://hooks.example.test/…" });
    expect(await create({ name: "chat", secretUrl: receiver.url })).toMatchObject({ __typename: "ConflictError", code: "WEBHOOK_EXISTS" });
    const { rows } = await api.world.database.pool.query("select to_jsonb(w)::text as text from webhooks w union all select to_jsonb(a)::text from audit a where action = 'createWebhook'");
    expect(rows.length).toBeGreaterThan(2);
    for (const { text } of rows as { text: string }[]) expect(text).not.toMatch(/verysecret|s3cret-path/);
    for (const who of ["viewer", "operator"] as const) expect((await api.ask(who, "{ webhooks { id } }")).errors?.[0]?.extensions).toMatchObject({ code: "FORBIDDEN" });
    expect((await api.ask("operator", CREATE, { input: { name: "x", secretUrl: receiver.url, format: "JSON", events: ["ANOMALY"] } })).data.createWebhook).toMatchObject({ __typename: "ForbiddenError" });
    await remove(webhook.id);
  });

  test("are refused what cannot work, each at its field", async () => {
    expect(await create({ name: "no spaces", secretUrl: "ftp://x", format: "SLACK", events: [], secret: "short" })).toMatchObject({
      __typename: "InvalidInputError", problems: ["name", "secretUrl", "events", "secret", "secret"].map((path) => ({ path: `input.${path}`, code: "INVALID_VALUE" })),
    });
    expect(await create({ secretUrl: "http://hooks.example.test/x", format: "FEISHU" })).toMatchObject({ problems: [{ path: "input.secretUrl" }] });
  });

  test("test one, and see the answer", async () => {
    const receiver = await startReceiver();
    const { webhook } = await create({ secretUrl: receiver.url, events: ["ANOMALY"] });
    const { testWebhook } = await api.data("mutation ($id: ID!) { testWebhook(id: $id) { ... on TestWebhookPayload { delivery { id event tries } } } }", { id: webhook.id });
    expect(testWebhook.delivery).toMatchObject({ event: "test", tries: 0 });
    await receiver.count(1);
    expect(receiver.told[0]!.json).toMatchObject({ id: testWebhook.delivery.id, event: "test", pipeline: null, stage: null });
    expect((await api.data("mutation { testWebhook(id: \"whk_x\") { __typename } }")).testWebhook).toEqual({ __typename: "NotFoundError" });
    await remove(webhook.id);
  });
});
