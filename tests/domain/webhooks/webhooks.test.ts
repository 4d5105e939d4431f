import { createHmac } from "node:crypto";
import { expect, test } from "vitest";
import { newId } from "../../../src/domain/ids.js";
import { MOST_TRIES, waitAfter } from "../../../src/domain/webhooks/backoff.js";
import { messageOf, refusalIn, type NamedNotice } from "../../../src/domain/webhooks/formats.js";
import { noticeOf } from "../../../src/domain/webhooks/notice.js";

const pipelineId = newId("pip"), stageId = newId("stg");
const of = { pipelineId, seq: 7, stageId };
const failed = noticeOf({ type: "StageFailed", at: 1_764_000_000_000, stage: "train", failure: { code: "NETWORK", message: "No route to <host> & \"more\".", hint: "Look.", exitCode: 1, logTail: ["secret log"] } }, of)!;
const named: NamedNotice = { ...failed, simulated: false, id: "dlv_1", pipelineName: "nightly", labels: { team: "x" }, stageName: "train" };

test("the ends of pipelines, failures of stages and waits for approval are told; everything else is not, and never the log", () => {
  expect(noticeOf({ type: "PipelineCompleted", at: 5 }, { ...of, stageId: null })).toMatchObject({ key: `${pipelineId}:7`, event: "pipeline.ended", tone: "GOOD", details: { status: "COMPLETED" } });
  expect(noticeOf({ type: "PipelineFailed", at: 5, error: "x".repeat(5_000) }, of)!.text).toHaveLength(1_501);
  expect(noticeOf({ type: "StageWaitingApproval", at: 5, stage: "ask", message: null }, of)).toMatchObject({ event: "approval.waiting", text: null });
  expect(noticeOf({ type: "PipelineStarted", at: 5 }, of)).toBeNull();
  expect(failed).toMatchObject({ event: "stage.failed", details: { code: "NETWORK", exitCode: 1 } });
  expect(JSON.stringify(failed)).not.toContain("secret log");
});

test("our own form is signed over time and body", () => {
  const { body, headers } = messageOf("json", named, "the secret", 1_764_000_001);
  expect(JSON.parse(body)).toEqual({
    id: "dlv_1", event: "stage.failed", at: "2025-11-24T16:00:00.000Z", pipeline: { id: pipelineId, name: "nightly", labels: { team: "x" } }, stage: { id: stageId, name: "train" },
    title: "failed: NETWORK", text: "No route to <host> & \"more\". Look.", simulated: false, details: { code: "NETWORK", exitCode: 1 },
  });
  expect(headers).toMatchObject({ "x-trainyard-delivery": "dlv_1", "x-trainyard-event": "stage.failed", "x-trainyard-timestamp": "1764000001", "x-trainyard-signature": `v1=${createHmac("sha256", "the secret").update(`1764000001.${body}`).digest("hex")}` });
});

test("Slack gets text and blocks with its control characters escaped, and no signature", () => {
  const { body, headers } = messageOf("slack", named, null, 1);
  const message = JSON.parse(body) as { text: string; blocks: { type: string; text?: { text: string } }[] };
  expect(message.text).toBe("Pipeline nightly: stage train failed: NETWORK");
  expect(message.blocks[0]).toEqual({ type: "section", text: { type: "mrkdwn", text: ":x: Pipeline nightly: stage train failed: NETWORK\nNo route to &lt;host&gt; &amp; \"more\". Look." } });
  expect(headers).toEqual({ "content-type": "application/json; charset=utf-8" });
});

test("Feishu gets a post, signed by its own rule when the bot has a secret; its refusals come with status 200", () => {
  const message = JSON.parse(messageOf("feishu", named, "bot", 99).body) as Record<string, any>;
  expect(message).toMatchObject({ msg_type: "post", timestamp: "99", sign: createHmac("sha256", "99\nbot").digest("base64"), content: { post: { en_us: { title: "❌ Pipeline nightly: stage train failed: NETWORK" } } } });
  expect(message["content"].post.en_us.content[0]).toEqual([{ tag: "text", text: "No route to <host> & \"more\". Look." }]);
  expect(JSON.parse(messageOf("feishu", named, null, 99).body)).not.toHaveProperty("sign");
  expect([refusalIn("feishu", '{"code":0,"msg":"success"}'), refusalIn("feishu", '{"code":19021,"msg":"sign match fail"}'), refusalIn("feishu", "ok"), refusalIn("slack", "ok")]).toEqual([null, "code 19021: sign match fail", "the answer is no JSON", null]);
});

test("what is simulated says so in every form", () => {
  const simulated = { ...named, simulated: true };
  expect(JSON.parse(messageOf("json", simulated, null, 1).body)).toMatchObject({ simulated: true });
  expect(messageOf("slack", simulated, null, 1).body).toContain("stage train failed: NETWORK (simulated)");
  expect(messageOf("feishu", simulated, null, 1).body).toContain("stage train failed: NETWORK (simulated)");
});

test("waits grow, honour what the receiver asks for, and end", () => {
  const waits = Array.from({ length: MOST_TRIES }, (_, index) => waitAfter(index + 1));
  expect(waits.slice(0, 4)).toEqual([5_000, 15_000, 45_000, 135_000]);
  expect(waits.at(-2)).toBe(4 * 3_600_000);
  expect(waits.at(-1)).toBeNull();
  expect([waitAfter(1, 60_000), waitAfter(1, 1), waitAfter(1, 1e12)]).toEqual([60_000, 5_000, 4 * 3_600_000]);
});
