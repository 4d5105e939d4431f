import { afterAll, beforeAll, expect, test } from "vitest";
import type { ScriptedAgent } from "../../support/world.js";
import type { Assignment } from "../../../src/protocol/messages.js";
import { listen, type Api } from "../api-world.js";
import { startTelemetryWorld, type TelemetryWorld } from "./telemetry-world.js";

let api: Api;
let agent: ScriptedAgent;
let running: TelemetryWorld["running"];
beforeAll(async () => {
  ({ api, agent, running } = await startTelemetryWorld());
});
afterAll(() => api.stop());
const points = ({ attemptId, fence }: Assignment, names: string[], list: [number, number, number | "NaN" | "Infinity" | "-Infinity"][]) =>
  agent.report({ type: "metrics", attemptId, fence, names, points: list.map(([index, step, value]) => [index, step, 1_700_000_000_000 + step, value]) });
const log = ({ attemptId, fence }: Assignment, fromByte: number, text: string, skippedBytes = 0) => agent.report({ type: "log", attemptId, fence, fromByte, skippedBytes, text });

const METRICS = "subscription ($id: ID!, $names: [String!], $afterStep: SafeInt) { stageMetrics(stageId: $id, names: $names, afterStep: $afterStep) { dropped points { name step at value nonFinite } } }";
const LOGS = "subscription ($id: ID!, $fromByte: SafeInt) { stageLogs(stageId: $id, fromByte: $fromByte) { fromByte toByte text skippedBytes } }";

test("points come live, NaN and infinities as data, from now on or from after a step", async () => {
  const { stageId, assignment } = await running("m1");
  await points(assignment, ["loss"], [[0, 1, 0.5], [0, 2, "NaN"]]);
  const live = listen(api.client("viewer"), { query: METRICS, variables: { id: stageId } });
  const after = listen(api.client("viewer"), { query: METRICS, variables: { id: stageId, afterStep: 1 } });
  expect((await after.take(1))[0].stageMetrics).toEqual({ dropped: 0, points: [{ name: "loss", step: 2, at: new Date(1_700_000_000_002).toISOString(), value: null, nonFinite: "NaN" }] });
  const next = live.take(1);
  let batch: any = null;
  void next.then(([item]) => { batch = item.stageMetrics; });
  for (let step = 3; batch === null; step++) { // until the stream stands at its "now"
    await points(assignment, ["loss", "lr"], [[0, step, "-Infinity"], [1, step, 1e-5]]);
    await new Promise(setImmediate);
  }
  expect(batch.points[0].step).toBeGreaterThanOrEqual(3); // nothing from before
  expect(batch.points.slice(0, 2).map((point: any) => [point.name, point.value, point.nonFinite])).toEqual([["loss", null, "-Infinity"], ["lr", 1e-5, null]]);
  const only = listen(api.client("viewer"), { query: METRICS, variables: { id: stageId, names: ["lr"], afterStep: 0 } });
  expect(new Set((await only.take(1))[0].stageMetrics.points.map((point: any) => point.name))).toEqual(new Set(["lr"]));
  for (const stream of [live, after, only]) await stream.stop();
});

test("a flood is thinned and says by how much; the query has the rest", async () => {
  const { stageId, assignment } = await running("m2");
  for (let part = 0; part < 4; part++) await points(assignment, ["loss"], Array.from({ length: 4_000 }, (_, i) => [0, part * 4_000 + i, i]));
  const stream = listen(api.client("viewer"), { query: METRICS, variables: { id: stageId, afterStep: -1 } });
  const { stageMetrics } = (await stream.take(1))[0];
  expect(stageMetrics.points.length + stageMetrics.dropped).toBe(16_000);
  expect(stageMetrics.dropped).toBeGreaterThan(0);
  expect(stageMetrics.points.at(-1).step).toBe(15_999);
  await stream.stop();
  const { stage } = await api.data("query ($id: ID!) { stage(id: $id) { metricNames metrics(fromStep: 100, toStep: 200, maxPoints: 1000) { name points { step value } } } }", { id: stageId });
  expect(stage.metricNames).toEqual(["loss"]);
  expect(stage.metrics[0].points).toHaveLength(101);
  const { stage: chart } = await api.data("query ($id: ID!) { stage(id: $id) { metrics(maxPoints: 50) { points { step } } } }", { id: stageId });
  expect(chart.metrics[0].points.length).toBeLessThanOrEqual(50);
});

test("a log comes from a byte offset, and a gap is declared", async () => {
  const { stageId, assignment } = await running("l1");
  await log(assignment, 0, "héllo\n");
  const stream = listen(api.client("viewer"), { query: LOGS, variables: { id: stageId, fromByte: 0 } });
  expect((await stream.take(1))[0].stageLogs).toEqual({ fromByte: 0, toByte: 7, text: "héllo\n", skippedBytes: 0 });
  await log(assignment, 107, "after the gap\n", 100);
  expect((await stream.take(1))[0].stageLogs).toEqual({ fromByte: 107, toByte: 121, text: "after the gap\n", skippedBytes: 100 });
  await stream.stop();
  const { stage } = await api.data("query ($id: ID!) { stage(id: $id) { logs(fromByte: 0, maxBytes: 3) { fromByte toByte text skippedBytes totalBytes } } }", { id: stageId });
  expect(stage.logs).toEqual({ fromByte: 0, toByte: 3, text: "hé", skippedBytes: 0, totalBytes: 121 });
});

test("without an offset the log starts at its present end", async () => {
  const { stageId, assignment } = await running("l3");
  await log(assignment, 0, "old\n");
  const stream = listen(api.client("viewer"), { query: LOGS, variables: { id: stageId } });
  const heard: { fromByte: number; text: string }[] = [];
  const pending = stream.take(1).then(([item]) => heard.push(item.stageLogs));
  for (let at = 4; heard.length === 0; at += 4) { // until the stream stands at its "now"
    await log(assignment, at, "new\n");
    await new Promise(setImmediate);
  }
  await pending;
  expect(heard[0]!.fromByte).toBeGreaterThanOrEqual(4);
  expect(heard[0]!.text).toMatch(/^(new\n)+$/);
  await stream.stop();
});

test("a long log comes whole, piece by piece, while it grows", async () => {
  const { stageId, assignment } = await running("l2");
  const lines = Array.from({ length: 3_000 }, (_, i) => `line ${i} ${"=".repeat(60)}\n`);
  const stream = listen(api.client("viewer"), { query: LOGS, variables: { id: stageId, fromByte: 0 } });
  const writing = (async () => {
    let at = 0;
    for (let i = 0; i < lines.length; i += 500) {
      const text = lines.slice(i, i + 500).join("");
      await log(assignment, at, text);
      at += Buffer.byteLength(text);
    }
  })();
  let text = "", place = 0;
  const whole = lines.join("");
  while (text.length < whole.length) {
    const chunk = (await stream.take(1))[0].stageLogs;
    expect(chunk.fromByte).toBe(place);
    place = chunk.toByte;
    text += chunk.text;
  }
  await writing;
  expect(text).toBe(whole);
  await stream.stop();
});

test("unknown stages are not found, bad offsets and sizes are refused", async () => {
  for (const [query, field] of [[METRICS, "stageMetrics"], [LOGS, "stageLogs"]] as const) {
    for (const id of ["stg_00000000000000000000000000", "x"]) {
      const error = await listen(api.client("viewer"), { query, variables: { id } }).take(1).then(() => null, (reason: any) => reason.errors ?? reason);
      expect(JSON.stringify(error), field).toContain("NOT_FOUND");
    }
  }
  const { stageId } = await running("bad");
  for (const field of ["metrics(maxPoints: 0) { name }", "metrics(maxPoints: 10001) { name }", "logs(maxBytes: 0) { text }", "logs(fromByte: -1) { text }"]) {
    expect((await api.ask("viewer", `query ($id: ID!) { stage(id: $id) { ${field} } }`, { id: stageId })).errors?.[0]?.extensions?.["code"], field).toBe("BAD_USER_INPUT");
  }
});

test("the streams leave no listener behind", async () => {
  await expect.poll(() => api.http.webSocket.operations).toBe(0);
});
