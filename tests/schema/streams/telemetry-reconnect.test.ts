// Invariant 15 on the wire: a reader of metrics or of a log whose connection breaks again and again, and who comes back with the place where it stood, is told everything or told what it was not.
import { afterAll, beforeAll, expect, test } from "vitest";
import { CHAOS_SEED, createChance } from "../../support/chance.js";
import { startFollower } from "../../support/checker-follower.js";
import type { ScriptedAgent } from "../../support/world.js";
import type { Api } from "../api-world.js";
import { startTelemetryWorld, type TelemetryWorld } from "./telemetry-world.js";

let api: Api;
let agent: ScriptedAgent;
let running: TelemetryWorld["running"];
beforeAll(async () => {
  ({ api, agent, running } = await startTelemetryWorld());
});
afterAll(() => api.stop());

test("points: what was told and what was declared as dropped add up to what is stored, over many connections", async () => {
  const { stageId, assignment: { attemptId, fence } } = await running("points");
  const chance = createChance(CHAOS_SEED).of("points");
  const reader = startFollower({ url: api.wsUrl, token: api.tokens.viewer, stageId, chance });
  let step = 0;
  for (let part = 0; part < 40; part++) {
    const steps = Array.from({ length: part % 20 === 19 ? 4_000 : 1 + chance.below(60) }, () => step++); // now and then more than a reader takes at once
    await agent.report({ type: "metrics", attemptId, fence, names: ["loss", "lr"], points: steps.flatMap((at) => [[0, at, at, at / 2], [1, at, at, at % 7 === 0 ? "NaN" as const : 1]]) });
  }
  const { followed } = reader;
  const told = () => new Set(followed.points.map((point) => `${point.name} ${point.step}`)).size;
  await expect.poll(() => told() + followed.dropped, { timeout: 15_000 }).toBe(2 * step);
  await reader.stop();
  expect(followed.points.length).toBe(told()); // nothing twice
  expect(followed.dropped).toBeGreaterThan(0);
  expect(followed.torn).toBeGreaterThanOrEqual(2);
  for (const { name, step: at, value, nonFinite } of followed.points) expect([name, at, value, nonFinite]).toEqual(name === "loss" ? [name, at, at / 2, null] : at % 7 === 0 ? [name, at, null, "NaN"] : [name, at, 1, null]);
});

test("a log: text and declared gaps cover every byte once, in order, over many connections", async () => {
  const { stageId, assignment: { attemptId, fence } } = await running("log");
  const chance = createChance(CHAOS_SEED).of("log");
  const reader = startFollower({ url: api.wsUrl, token: api.tokens.viewer, stageId, chance });
  let end = 0;
  let skipped = 0;
  let written = "";
  for (let part = 0; part < 60; part++) {
    const text = `part ${part}: ${"é=".repeat(part % 20 === 19 ? 60_000 : chance.below(200))}\n`;
    const skippedBytes = chance.below(10) === 0 ? 1 + chance.below(5_000) : 0;
    await agent.report({ type: "log", attemptId, fence, fromByte: end + skippedBytes, skippedBytes, text });
    end += skippedBytes + Buffer.byteLength(text);
    skipped += skippedBytes;
    written += text;
  }
  const { followed } = reader;
  await expect.poll(() => followed.chunks.at(-1)?.toByte, { timeout: 15_000 }).toBe(end);
  await reader.stop();
  let place = 0;
  for (const chunk of followed.chunks) {
    expect(chunk.fromByte - chunk.skippedBytes).toBe(place);
    expect(Buffer.byteLength(chunk.text)).toBe(chunk.toByte - chunk.fromByte);
    place = chunk.toByte;
  }
  expect(followed.chunks.map((chunk) => chunk.text).join("")).toBe(written);
  expect(followed.chunks.reduce((sum, chunk) => sum + chunk.skippedBytes, 0)).toBe(skipped);
  expect(followed.torn).toBeGreaterThanOrEqual(2);
});
