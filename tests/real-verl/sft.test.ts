// Supervised fine-tuning by unmodified verl, from raw data to scores, whatever is killed meanwhile.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import "../support/built-cli.js"; // has the command line built before the workers start
import { EXAMPLE, judgeModel, MODEL, PIPELINE_MS, pythonFor, REPORTS, SFT, startChatServer, startVerlWorld } from "./verl-world.js";

const python = pythonFor("verl", "SFT by verl 0.7.1: the example pipeline, killed and resumed; LoRA folded in");
const newer = pythonFor("verl-0.9", "SFT by verl 0.9");
const TIMEOUT = { timeout: PIPELINE_MS + 120_000 };

interface Spec { readonly stages: { name: string; params: Record<string, unknown> }[] }

/** examples/verl-on-cpu/pipeline.yaml as the command line would submit it, with this run's interpreter and server of answers. */
function examplePipeline(interpreter: string, answers: string): Spec {
  const text = readFileSync(join(EXAMPLE, "pipeline.yaml"), "utf8").replaceAll("${pipeline.directory}", EXAMPLE).replace("http://127.0.0.1:8009/v1", answers).replace("[python,", `[${interpreter},`);
  return parse(text) as Spec;
}

const numbered = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);
const stepsOf = (points: readonly (readonly [number, number])[] | undefined): number[] => (points ?? []).map(([step]) => step);

describe.skipIf(python === null)("verl 0.7.1", () => {
  test("the example pipeline completes though torchrun, its ranks and then the agent are killed: training goes on from the last checkpoint, and the merged model has learned", TIMEOUT, async () => {
    const world = await startVerlWorld(python!);
    const agent = world.startVerlAgent();
    const id = await world.submit(examplePipeline(python!, await startChatServer(python!)));

    await world.reached(id, "train", 1, 12);
    for (const pid of world.programs("agent", "verl.trainer.sft_trainer")) process.kill(pid, "SIGKILL");
    await world.reached(id, "train", 2, 13);
    const training = world.programs("agent", "torch.distributed.run");
    await world.kill(agent);
    world.startVerlAgent();
    const stages = await world.completed(id);

    expect(stages.get("train")!.attempts.map(({ number, status }) => ({ number, status }))).toEqual([{ number: 1, status: "FAILED" }, { number: 2, status: "COMPLETED" }]);
    expect(training).toHaveLength(1); // attempt 2 was one program, which the second agent took over
    const losses = await world.points(id, "train", "train/loss");
    expect(stepsOf(losses.get(1)).slice(0, 12)).toEqual(numbered(1, 12));
    expect(stepsOf(losses.get(2))).toEqual(numbered(11, 39));
    expect(losses.get(2)!.at(-1)![1]).toBeLessThan(losses.get(1)![0]![1] / 2);
    expect(stepsOf((await world.points(id, "train", "val/loss")).get(2))).toEqual([20, 30, 39]);
    expect(stages.get("train")!.outputs).toMatchObject({ steps: 39, checkpoint: expect.stringMatching(/global_step_39$/) as string });
    const { rows: checkpoints } = await world.db.query<{ attempt: number; step: string }>("select attempt, step from checkpoints c join stages s on s.id = c.stage_id where s.pipeline_id = $1 order by attempt, step", [id]);
    expect(checkpoints.map(({ attempt, step }) => [attempt, Number(step)])).toEqual([[1, 10], [2, 20], [2, 30], [2, 39]]);

    const { model } = stages.get("merge")!.outputs as { model: string };
    const judged = await judgeModel<{ finite: boolean; fromBase: number }>(python!, { base: (stages.get("model")!.outputs as { model: string }).model, model });
    expect(judged.finite).toBe(true);
    expect(judged.fromBase).toBeGreaterThan(1);
    const { rows: [evaluation] } = await world.db.query<{ scores: Record<string, number>; sample_count: string; checkpoint_id: string | null }>("select scores, sample_count, checkpoint_id from evaluations where pipeline_id = $1", [id]);
    expect(evaluation).toMatchObject({ sample_count: "24", checkpoint_id: expect.any(String) as string });
    expect(Object.values(evaluation!.scores)[0]).toBeGreaterThan(0.8); // untrained it says nothing of the kind
    await world.until("no program is left", async () => world.programs("agent", "python").length === 0);
  });

  // A learning rate that leaves the weights small: at 0.05 they grew until the rounding of bfloat16 alone moved a logit by up to a third of what the training did.
  test("a low-rank adapter is folded in: the model computes what base and adapter compute together, and not what the base does", TIMEOUT, async () => {
    const world = await startVerlWorld(python!);
    world.startVerlAgent();
    const id = await world.submit({
      name: "lora",
      stages: [
        MODEL(python!), REPORTS,
        { name: "train", kind: "train", dependsOn: ["model", "prepare"], params: { ...SFT, epochs: 1, saveEvery: 13, learningRate: 0.003, lora: { rank: 8 } } },
        { name: "merge", kind: "merge", dependsOn: ["train"], params: { checkpoint: "${stages.train.outputs.checkpoint}" } },
      ],
    });
    const stages = await world.completed(id);
    const base = (stages.get("model")!.outputs as { model: string }).model;
    const { checkpoint, model: exported } = stages.get("train")!.outputs as { checkpoint: string; model: string };
    const merged = (stages.get("merge")!.outputs as { model: string }).model;
    for (const model of [exported, merged]) {
      const judged = await judgeModel<{ finite: boolean; fromBase: number; fromAdapter: number }>(python!, { base, model, checkpoint });
      expect(judged.finite).toBe(true);
      expect(judged.fromBase).toBeGreaterThan(0.2);
      expect(judged.fromAdapter).toBeLessThan(judged.fromBase / 10); // bfloat16's rounding
    }
  });
});

describe.skipIf(newer === null)("verl 0.9", () => {
  test("trains, is killed, goes on, and its checkpoint becomes a model", TIMEOUT, async () => {
    const world = await startVerlWorld(newer!);
    world.startVerlAgent();
    const id = await world.submit({
      name: "newer",
      stages: [MODEL(newer!), REPORTS, { name: "train", kind: "train", dependsOn: ["model", "prepare"], retry: { maxAttempts: 2, backoffSeconds: 0 }, params: { ...SFT, epochs: 2, saveEvery: 5, verl: "0.9.1" } }],
    });
    await world.reached(id, "train", 1, 6);
    for (const pid of world.programs("agent", "verl.trainer.sft_trainer")) process.kill(pid, "SIGKILL");
    const stages = await world.completed(id);
    const losses = await world.points(id, "train", "train/loss");
    expect(stepsOf(losses.get(2)).at(-1)).toBe(26);
    expect(stepsOf(losses.get(2))[0]! % 5).toBe(1); // behind a checkpoint, not from the beginning
    expect(stepsOf(losses.get(2))[0]).toBeGreaterThan(5);
    const judged = await judgeModel<{ finite: boolean; fromBase: number }>(newer!, { base: (stages.get("model")!.outputs as { model: string }).model, model: (stages.get("train")!.outputs as { model: string }).model });
    expect(judged).toMatchObject({ finite: true });
    expect(judged.fromBase).toBeGreaterThan(1);
  });
});
