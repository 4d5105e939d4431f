// Evaluate stages against an OpenAI-compatible service: a real agent, the real program, a real HTTP server.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { startTestAgent, startAgentProcess, agentDirectory } from "../../support/agents.js";
import { startChatServer } from "../../support/chat-server.js";
import { assign, startPeer, stop } from "../../support/control-plane-peer.js";
import { outputsOf, startDataWorld, dataFolder } from "../preprocess/data-world.js";
import { evaluating, linesOf, samplesOf, sumAsked, sums, tries } from "./evaluation-world.js";

const QUICK = { retry: { maxAttempts: 4, backoffSeconds: 0.01, maxBackoffSeconds: 0.02 } };

test("every row is asked once, scored, and told with its answer; score, interval and n stand in the outputs", async () => {
  const world = await startDataWorld();
  const chat = await startChatServer(({ prompt }) => ({ say: `Let me see. #### ${sumAsked(prompt) + (sumAsked(prompt) % 10 === 0 ? 1 : 0)}` }));
  const assignment = evaluating({ input: world.file("sums.jsonl", sums(40)), answerPattern: "#### (-?[0-9.,]+)", endpoint: { url: chat.url, model: "tiny" }, generation: { maxTokens: 77, extra: { seed: 5 } } });
  const outputs = outputsOf(await world.run(assignment));
  expect(outputs).toMatchObject({ scores: { score: 0.8 }, sampleCount: 40, errors: 0, rejected: 0, truncated: 0 });
  expect(outputs["intervals"]).toMatchObject({ score: { n: 40, level: 0.95, method: "wilson", low: expect.closeTo(0.652, 3), high: expect.closeTo(0.895, 3) } });
  expect(chat.asked).toHaveLength(40);
  expect(new Set(chat.asked.map(({ prompt }) => prompt)).size).toBe(40);
  expect(chat.asked[0]!.body).toMatchObject({ model: "tiny", temperature: 0, max_tokens: 77, seed: 5 });
  const samples = samplesOf(world.peer, assignment);
  expect(samples).toHaveLength(40);
  expect(samples.filter(({ score }) => score === 1)).toHaveLength(32);
  expect(samples.find(({ prompt }) => prompt === "What is 3 plus 3?")).toEqual({ source: "evaluation", step: null, key: expect.stringMatching(/^[0-9a-f]{32}$/), prompt: "What is 3 plus 3?", output: "Let me see. #### 6", truth: "6", score: 1, error: null });
  expect(world.peer.pointsOf(assignment.attemptId).at(-1)).toEqual(["eval/errors", 40, 0]);
  expect(linesOf(String(outputs["samplesFile"]))).toHaveLength(40);
  expect(world.peer.reports.at(-1)).toMatchObject({ type: "ended" });
});

test("never more requests are under way than concurrency allows, and so many are", async () => {
  const world = await startDataWorld();
  const waiting: (() => void)[] = [];
  const chat = await startChatServer(async ({ prompt }) => {
    if (waiting.length < 4) {
      await new Promise<void>((go) => {
        waiting.push(go);
        if (waiting.length === 4) for (const one of waiting) one();
      });
    }
    return { say: String(sumAsked(prompt)) };
  });
  const outputs = outputsOf(await world.run(evaluating({ input: world.file("sums.jsonl", sums(30)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, concurrency: 4 })));
  expect(outputs).toMatchObject({ scores: { score: 1 } });
  expect(chat.busiest).toBe(4);
});

test("busy services, server errors, broken connections and silence are tried again; Retry-After is kept by everybody", async () => {
  const world = await startDataWorld();
  const replies: Record<number, Parameters<typeof startChatServer>[0]> = {
    0: () => ({ status: 429, headers: { "retry-after": "1" } }), 2: () => ({ status: 503 }), 4: () => "cut", 6: () => "cut half", 8: () => "silence", 10: () => ({ status: 200, text: "<html>one moment</html>" }), 12: () => ({ status: 408 }),
  };
  const chat = await startChatServer((asked) => (asked.times === 1 ? replies[sumAsked(asked.prompt)]?.(asked) : undefined) ?? { say: String(sumAsked(asked.prompt)) });
  const assignment = evaluating({ input: world.file("sums.jsonl", sums(9)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, concurrency: 1, requestTimeoutSeconds: 0.5, ...QUICK });
  expect(outputsOf(await world.run(assignment))).toMatchObject({ scores: { score: 1 }, sampleCount: 9, errors: 0 });
  expect(chat.asked).toHaveLength(9 + 7);
  const [first, second] = chat.asked;
  expect(first!.prompt).toBe(second!.prompt);
  expect(second!.at - first!.at).toBeGreaterThan(950);
  expect(world.peer.logOf(assignment.attemptId)).toContain("the service asks to wait 1.0 s (HTTP 429: status 429)");
});

test("rows that get no answer are errors and in no score; more of them than maxErrorFraction fail the stage", async () => {
  const world = await startDataWorld();
  const chat = await startChatServer(({ prompt }) => (sumAsked(prompt) === 4 ? { status: 400, body: { error: { message: "this prompt is filtered" } } } : sumAsked(prompt) === 6 ? { status: 500 } : { say: String(sumAsked(prompt)) }));
  const params = { input: world.file("sums.jsonl", sums(10)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, ...QUICK };
  const allowed = evaluating({ ...params, maxErrorFraction: 0.2 });
  expect(outputsOf(await world.run(allowed))).toMatchObject({ scores: { score: 1 }, sampleCount: 8, errors: 2 });
  expect(samplesOf(world.peer, allowed).filter(({ error }) => error !== null).map(({ error, score, output }) => [error, score, output]).sort()).toEqual([["HTTP_400: HTTP 400: this prompt is filtered", null, ""], ["HTTP_500: HTTP 500: status 500", null, ""]]);
  expect(chat.asked.filter(({ prompt }) => sumAsked(prompt) === 4)).toHaveLength(1);
  expect(chat.asked.filter(({ prompt }) => sumAsked(prompt) === 6)).toHaveLength(4);
  expect(await world.run(evaluating({ ...params, maxErrorFraction: 0.1 }))).toMatchObject({ kind: "FAILED", failure: { code: "NETWORK", message: expect.stringMatching(/^2 of 10 rows have no score, more than maxErrorFraction \(0\.1\) allows; the first: HTTP_/) } });
});

describe("what no try can mend ends the stage at once and says what to do", () => {
  test.each([
    ["a wrong key", { status: 401, body: { error: { message: "bad key" } } }, ["tiny"], /HTTP 401: bad key\. Check the key \(endpoint\.apiKey/],
    ["an unknown model", { status: 404, body: { error: { message: "The model `tiny` does not exist", code: "model_not_found" } } }, ["tiny-2", "huge"], /has no model "tiny"; did you mean "tiny-2"\?/],
    ["an address that redirects", { status: 302, headers: { location: "http://127.0.0.1:1/" } }, null, /redirects \(HTTP 302\), which is not followed/],
    ["something that is no chat service", { status: 200, body: { hello: 1 } }, null, /holds no choices/],
    ["a used-up quota", { status: 429, body: { error: { message: "pay", code: "insufficient_quota" } } }, null, /HTTP 429: pay/],
  ] as const)("%s", async (_, reply, models, message) => {
    const world = await startDataWorld();
    const chat = await startChatServer(() => reply, models);
    const outcome = await world.run(evaluating({ input: world.file("sums.jsonl", sums(20)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, concurrency: 2, ...QUICK }));
    expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringMatching(message) } });
    expect(chat.asked.length).toBeLessThanOrEqual(4);
  });

  test("nobody listens: after rows in a row without an answer it gives up instead of failing each", async () => {
    const world = await startDataWorld();
    const chat = await startChatServer(() => "cut");
    await chat.close();
    const outcome = await world.run(evaluating({ input: world.file("sums.jsonl", sums(100)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, retry: { maxAttempts: 1 } }));
    expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "NETWORK", message: expect.stringMatching(/rows in a row got no answer, the last one: .*ECONNREFUSED/) } });
  });
});

test("a try after a kill asks nothing again that was answered, and the score is that of all rows", async () => {
  const world = await startDataWorld();
  let kill = true;
  const chat = await startChatServer(({ prompt }) => (kill && chat.asked.length > 25 ? "silence" : { say: String(sumAsked(prompt) + (sumAsked(prompt) < 20 ? 1 : 0)) }));
  const attempt = tries({ input: world.file("sums.jsonl", sums(50)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, concurrency: 3, graceSeconds: 0 });
  const first = attempt(1);
  world.peer.order(assign(first));
  await world.peer.until(() => samplesOf(world.peer, first).length === 25, "25 samples are told");
  world.peer.order(stop(first));
  expect((await world.peer.report("ended", first.attemptId)).outcome.kind).toBe("STOPPED");
  kill = false;
  const askedBefore = chat.asked.length;
  const second = attempt(2);
  expect(outputsOf(await world.run(second))).toMatchObject({ scores: { score: 0.8 }, sampleCount: 50 });
  expect(chat.asked.length - askedBefore).toBe(25);
  const answered = new Set(samplesOf(world.peer, first).map(({ prompt }) => prompt));
  expect(chat.asked.slice(askedBefore).filter(({ prompt }) => answered.has(prompt))).toEqual([]);
  expect(new Set(samplesOf(world.peer, second).map(({ key }) => key)).size).toBe(50);
  expect(world.peer.logOf(second.attemptId)).toContain("25 rows were answered by an earlier try and are taken over");
});

test("answers drawn otherwise are not taken over; those scored otherwise are scored anew without being asked", async () => {
  const world = await startDataWorld();
  const chat = await startChatServer(({ prompt }) => ({ say: `about ${sumAsked(prompt)}` }));
  const params = { input: world.file("sums.jsonl", sums(10)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" } };
  const first = evaluating({ ...params, scorer: "exact" });
  expect(outputsOf(await world.run(first))).toMatchObject({ scores: { score: 0 } });
  const again = (fence: number, more: object) => evaluating({ ...params, ...more }, { pipelineId: first.pipelineId, fence });
  expect(outputsOf(await world.run(again(2, { scorer: "numeric" })))).toMatchObject({ scores: { score: 1 } });
  expect(chat.asked).toHaveLength(10);
  expect(outputsOf(await world.run(again(3, { scorer: "numeric", generation: { temperature: 0.5 } })))).toMatchObject({ scores: { score: 1 } });
  expect(chat.asked).toHaveLength(20);
});

test("another agent process goes on where the killed one stopped: each sample is told once", async () => {
  const data = dataFolder();
  writeFileSync(join(data, "sums.jsonl"), sums(60));
  const peer = await startPeer();
  onTestFinished(() => peer.stop());
  let hold: Promise<void> | null = null;
  let go: () => void = () => undefined;
  const chat = await startChatServer(async ({ prompt }) => {
    if (chat.asked.length === 31) hold = new Promise((done) => { go = done; });
    if (hold !== null) await hold;
    return { say: String(sumAsked(prompt)) };
  });
  const directory = agentDirectory();
  const settings = { TRAINYARD_DATA_DIRS: data };
  const process = startAgentProcess(peer.url, directory, settings);
  await process.started;
  const assignment = evaluating({ input: join(data, "sums.jsonl"), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, concurrency: 1 });
  peer.order(assign(assignment));
  await peer.until(() => samplesOf(peer, assignment).length === 30, "30 samples are told", 20_000);
  await process.kill();
  go();
  await startTestAgent(peer.url, directory, { settings });
  expect((await peer.report("ended", assignment.attemptId)).outcome).toMatchObject({ kind: "COMPLETED", outputs: { sampleCount: 60 } });
  const keys = samplesOf(peer, assignment).map(({ key }) => key);
  expect([keys.length, new Set(keys).size]).toEqual([60, 60]);
  expect(chat.asked).toHaveLength(60);
});

test("several answers per row: the score is their mean, best the share of rows with a right one; fewer choices than asked for are asked for again", async () => {
  const world = await startDataWorld();
  const chat = await startChatServer(({ prompt, body, times }) => ({ say: [String(sumAsked(prompt)), ...(body["n"] === undefined || times > 1 ? [] : ["no"])], finish: "length" }));
  const assignment = evaluating({ input: world.file("sums.jsonl", sums(6)), answerPattern: "#### (.+)", endpoint: { url: chat.url, model: "tiny" }, generation: { n: 3 } });
  const outputs = outputsOf(await world.run(assignment));
  expect(outputs).toMatchObject({ scores: { score: expect.closeTo(2 / 3, 9), best: 1 }, truncated: 18, intervals: { best: { n: 6, method: "wilson" }, score: { n: 6, method: "bootstrap" } } });
  expect(chat.asked).toHaveLength(12);
  expect(samplesOf(world.peer, assignment)[0]!.output).toMatch(/^\[answer 1 of 3, score 1\]\n\d+\n\n\[answer 2 of 3, score 0\]\nno\n\n\[answer 3 of 3, score 1\]\n\d+$/);
});

test("key and headers reach the service by reference, and are nowhere in what the agent tells or leaves for others", async () => {
  const [key, header] = ["sk-very-secret-key-123", "tenant-secret-456"];
  const world = await startDataWorld({ environment: { TRAINYARD_SECRET_EVAL_KEY: key, TRAINYARD_SECRET_TENANT: header } });
  const chat = await startChatServer(({ prompt, headers }) => (sumAsked(prompt) === 2 ? { status: 400, body: { error: { message: `rejected ${headers.authorization}` } } } : { say: `${sumAsked(prompt)}, and your key is ${headers.authorization} with ${String(headers["x-tenant"])}` }));
  const assignment = evaluating({
    input: world.file("sums.jsonl", sums(5)), answerPattern: "#### (.+)", scorer: "contains", maxErrorFraction: 1,
    endpoint: { url: chat.url, model: "tiny", apiKey: "secret://eval-key", headers: { "X-Tenant": "secret://tenant", "X-Plain": "shown" } },
  });
  const outputs = outputsOf(await world.run(assignment));
  expect(chat.asked[0]!.headers).toMatchObject({ authorization: `Bearer ${key}`, "x-tenant": header, "x-plain": "shown" });
  expect(samplesOf(world.peer, assignment).find(({ error }) => error !== null)!.error).toContain("rejected Bearer [redacted]");
  const root = join(world.directory, "attempts", assignment.pipelineId, assignment.stage, "1");
  for (const text of [JSON.stringify(world.peer.reports), readFileSync(String(outputs["samplesFile"]), "utf8"), readFileSync(join(root, "evaluation.json"), "utf8"), readFileSync(join(root, "log"), "utf8")]) {
    expect(text).not.toContain(key);
    expect(text).not.toContain(header);
  }
});

test("params that make no sense together are refused before anything is asked", async () => {
  const world = await startDataWorld();
  const outcome = await world.run(evaluating({ input: world.file("sums.jsonl", sums(1)), endpoint: { url: "http://127.0.0.1:1/v1", model: "m", headers: { Authorization: "Bearer plain" } } }));
  expect(outcome).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("params.endpoint.headers.Authorization: The header Authorization carries a secret") } });
  expect(await world.run(evaluating({ input: world.file("none.jsonl", sums(3).replaceAll("#### ", "")), answerPattern: "#### (.+)", endpoint: { url: "http://127.0.0.1:1/v1", model: "m" } }))).toMatchObject({ kind: "FAILED", failure: { code: "INVALID_INPUT", message: expect.stringContaining("No row can be asked") } });
});
