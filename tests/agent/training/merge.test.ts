// Merge stages on an agent.
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assign } from "../../support/control-plane-peer.js";
import type { ReportOf } from "../../../src/protocol/messages.js";
import { startTrainingWorld, trainAssignment } from "./training-world.js";

function outputsOf({ outcome }: ReportOf<"ended">): Readonly<Record<string, unknown>> {
  if (outcome.kind !== "COMPLETED") throw new Error(JSON.stringify(outcome));
  return outcome.outputs;
}

test("a checkpoint of this agent's training is merged with what is known of that training", async () => {
  const { peer, sft } = await startTrainingWorld();
  const training = trainAssignment(sft({}, { export: "none", lora: { rank: 8, alpha: 24 } }));
  peer.order(assign(training));
  const { checkpoint } = outputsOf(await peer.report("ended", training.attemptId)) as { checkpoint: string };
  const merge = trainAssignment({ checkpoint }, { kind: "merge", stage: "merge", pipelineId: training.pipelineId });
  peer.order(assign(merge));
  const { model } = outputsOf(await peer.report("ended", merge.attemptId)) as { model: string };
  expect(model).toMatch(/merge\/1\/output\/model$/);
  const { source, args } = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as { source: string; args: string[] };
  expect(source).toBe(checkpoint);
  expect(args.join(" ")).toContain("--trainer verl");
  expect(args.join(" ")).toContain("--backend fsdp --lora fold --lora-alpha 24");
});

test("of an RL checkpoint the actor is merged, and what the stage says of backend and adapter is passed on", async () => {
  const { peer, folder } = await startTrainingWorld();
  const checkpoint = join(folder, "elsewhere", "global_step_7");
  mkdirSync(join(checkpoint, "actor"), { recursive: true });
  const merge = trainAssignment({ checkpoint, backend: "megatron", lora: "keep" }, { kind: "merge" });
  peer.order(assign(merge));
  const { model } = outputsOf(await peer.report("ended", merge.attemptId)) as { model: string };
  const { source, args } = JSON.parse(readFileSync(join(model, "config.json"), "utf8")) as { source: string; args: string[] };
  expect(source).toBe(join(checkpoint, "actor"));
  expect(args.join(" ")).toContain("--backend megatron --lora keep");
});

test("a checkpoint that is not on this host is refused", async () => {
  const { peer } = await startTrainingWorld();
  const merge = trainAssignment({ checkpoint: "/nowhere/global_step_7" }, { kind: "merge" });
  peer.order(assign(merge));
  expect((await peer.report("ended", merge.attemptId)).outcome).toMatchObject({ kind: "FAILED", failure: { code: "FILE_NOT_FOUND", message: expect.stringContaining("/nowhere/global_step_7") } });
});
