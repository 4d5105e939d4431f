import type { Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { Cli } from "../../../src/cli/cli.js";
import { openSubscriptions } from "../../../src/cli/api/subscriptions.js";
import { createStyle } from "../../../src/cli/style.js";
import { encodePlace } from "../../../src/schema/event-cursor.js";
import { startApi } from "../../schema/api-world.js";

const QUERY = "subscription ($id: ID!, $after: EventCursor) { pipelineEvents(pipelineId: $id, after: $after) { __typename ... on PipelineEvent { seq cursor } } }";

test("a stream whose line is cut again and again asks each time from where its reader stands: the server sends nothing twice and leaves nothing out", async () => {
  const api = await startApi();
  onTestFinished(() => api.stop());
  const sockets = new Set<Socket>();
  api.http.server.on("connection", (socket) => { sockets.add(socket); });
  const said: string[] = [];
  const subscriptions = openSubscriptions({
    self: "trainyard", note: (text: string) => void said.push(text), noteStyle: createStyle(false),
    connection: () => ({ url: api.url, wsUrl: api.wsUrl, token: api.tokens.viewer, source: "the test", dataDir: null }),
  } as unknown as Cli);
  onTestFinished(() => subscriptions.close());

  const id = await api.world.submit({ name: "gate", stages: [{ name: "ask", kind: "approval" }] });
  const variables: Record<string, unknown> = { id, after: encodePlace({ kind: "pipeline", pipelineId: id, seq: 0 }) };
  const seen: number[] = [];
  const stream = subscriptions.stream<{ seq: number; cursor: string }>({
    query: QUERY, variables,
    onItem({ seq, cursor }) {
      seen.push(seq);
      variables["after"] = cursor;
    },
  });
  const newest = async () => (await api.world.state(id)).seq;
  for (let round = 1; round <= 4; round++) {
    for (const order of ["PausePipeline", "ResumePipeline"] as const) await api.world.actors.controlPlane.order({ type: order, pipelineId: id, by: "test", reason: "test" });
    const target = await newest();
    await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(target);
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    await expect.poll(() => said.length, { timeout: 5_000 }).toBe(2 * round - 1); // lost
    await expect.poll(() => said.length, { timeout: 10_000 }).toBe(2 * round); // back
  }
  await api.world.actors.controlPlane.order({ type: "CancelPipeline", pipelineId: id, by: "test", reason: "test" });
  const last = await newest();
  await expect.poll(() => seen.at(-1), { timeout: 10_000 }).toBe(last);
  expect(seen).toEqual(Array.from({ length: last }, (_, index) => index + 1));
  stream.stop();
  await stream.done;
});
