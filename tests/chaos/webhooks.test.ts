// A control plane that dies between telling a receiver and noting that it did: the next one tells it again, under the same id, and notes it then.
import { afterEach, expect, test } from "vitest";
import { startProcessesWorld, type ProcessesWorld } from "../support/processes-world.js";
import { startReceiver } from "../support/webhook-receiver.js";

let world: ProcessesWorld | undefined;
afterEach(() => world?.stop());

const CREATE = "mutation ($input: CreateWebhookInput!) { createWebhook(input: $input) { __typename ... on DomainError { message } ... on InvalidInputError { problems { message } } } }";

test("what was told before a death and not noted is told once more under the same id, and no third time", { timeout: 120_000 }, async () => {
  const receiver = await startReceiver();
  world = await startProcessesWorld({ link: "https" });
  const { db } = world;
  const doomed = world.startServer({ failpoint: "webhook-sent-before-noted:1" });
  await world.ready(doomed);
  expect(await world.ask(CREATE, { input: { name: "ops", format: "JSON", events: ["APPROVAL_WAITING"], secretUrl: receiver.url } })).toMatchObject({ createWebhook: { __typename: "CreateWebhookPayload" } });
  await world.submit({ name: "asks", stages: [{ name: "ask", kind: "approval", params: { message: "Ship it?" } }] });
  await receiver.count(1, 40_000);
  expect(await doomed.ended).toBe("SIGKILL");
  const noted = async () => (await db.query<{ tries: number; delivered: boolean }>("select tries, delivered_at is not null as delivered from webhook_deliveries")).rows;
  expect(await noted()).toEqual([{ tries: 0, delivered: false }]);

  const next = world.startServer();
  await world.ready(next);
  await receiver.count(2, 40_000);
  await world.until("the delivery is noted", async () => (await noted())[0]!.delivered, 40_000);
  expect(receiver.told.map(({ json }) => json)).toMatchObject([{ event: "approval.waiting", text: "Ship it?" }, { id: receiver.told[0]!.json.id as string, event: "approval.waiting" }]);
  expect(await noted()).toEqual([{ tries: 1, delivered: true }]);
  await world.submit({ name: "asks-again", stages: [{ name: "ask", kind: "approval", params: { message: "And this?" } }] });
  await receiver.count(3, 40_000);
  expect(receiver.told[2]!.json).toMatchObject({ text: "And this?" }); // what was noted is not told again before what is new
});
