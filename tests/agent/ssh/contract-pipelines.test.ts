// The pipelines of the contract, whole, on a host over SSH: a real control plane, a real sshd, GSM8K itself, and verl's stand-in in verl's place on the host.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { packagePath } from "../../../src/package-root.js";
import { SCENARIO_VARIABLE } from "../../../src/simulation/stand-in.js";
import type { PipelineWorld, StageAnswer } from "../../simulation/pipeline-world.js";
import { sshdForTest } from "../../support/ssh-agents.js";
import { fleetWorld } from "../../support/ssh-fleet.js";
import { sshdIsHere } from "../../support/sshd.js";
import { verlPython } from "../../support/verl-python.js";
import { callsOf, standInPython } from "../../support/verl-stand-in.js";
import { nvidiaSmi, trainingFolder, trainingInputs } from "../training/training-world.js";

const WITHIN_MS = 200_000;
const CONTRACT = packagePath("..", "shared", "contract", "pipelines");
const DATA = packagePath("..", "shared", "data");
const files = existsSync(CONTRACT) ? readdirSync(CONTRACT).filter((name) => name.endsWith(".yaml")).sort() : [];
const gsm8kIsHere = existsSync(join(DATA, "gsm8k", "train.jsonl"));
if (files.length === 0) console.warn("\nNOT RUN: the contract's pipelines over SSH: no folder shared/contract/pipelines beside the repository\n");
else if (!gsm8kIsHere) console.warn("\nNOT RUN: the contract's gsm8k pipeline over SSH: shared/data/gsm8k is not beside this checkout\n");

interface Stage { readonly name: string; readonly kind: string; readonly resources?: object; readonly params: Readonly<Record<string, unknown>> }
const stagesOf = (file: string): readonly Stage[] => (parse(readFileSync(join(CONTRACT, file), "utf8")) as { stages: Stage[] }).stages.map((stage) => ({ ...stage, resources: { ...stage.resources, labels: { host: "gpu1" } } }));

async function completed(world: PipelineWorld, stages: readonly Stage[]): Promise<{ readonly id: string; readonly stages: ReadonlyMap<string, StageAnswer> }> {
  const id = await world.submit(stages as unknown as readonly Record<string, unknown>[]);
  const ended = new Map<string, StageAnswer>();
  for (const { name } of stages) {
    const over = () => world.stage(id, name);
    await world.until(id, `${name} is over`, async () => /COMPLETED|FAILED|SKIPPED/.test((await over()).status), WITHIN_MS);
    const stage = await over();
    expect(stage, JSON.stringify(stage)).toMatchObject({ status: "COMPLETED", attempts: [{ number: 1, status: "COMPLETED" }] });
    ended.set(name, stage);
  }
  return { id, stages: ended };
}

describe.skipIf(!sshdIsHere || files.length === 0)("the contract's pipelines over SSH", { timeout: 400_000 }, () => {
  test("every one of them is run here", () => expect(files).toEqual(["diamond.yaml", "gsm8k.yaml", "line.yaml", "metrics.yaml"]));

  test("line, diamond and metrics complete there, with their logs, outputs and points", async () => {
    const { world, add, start } = await fleetWorld();
    const sshd = await sshdForTest();
    await add("gpu1", sshd);
    start();
    const line = await completed(world, stagesOf("line.yaml"));
    const { pipeline } = await world.ask<{ pipeline: { stages: { logs: { text: string } }[] } }>("query ($id: ID!) { pipeline(id: $id) { stages { logs { text } } } }", { id: line.id });
    expect(pipeline.stages.map(({ logs }) => logs.text)).toEqual(["one\n", "two\n", "three\n"]);
    expect(readdirSync(join(sshd.folder, "work", "attempts", line.id)).sort()).toEqual(["layer1", "layer2", "layer3"]);
    expect((await completed(world, stagesOf("diamond.yaml"))).stages.get("d")!.outputs).toEqual({ n: 42 });
    const metrics = await completed(world, stagesOf("metrics.yaml"));
    for (const [name, value] of [["train/loss", (step: number) => 2 / step], ["train/lr", () => 1e-5]] as const) {
      expect(await world.points(metrics.id, name)).toEqual(Array.from({ length: 50 }, (_, i) => [i + 1, value(i + 1)]));
    }
  });

  test.skipIf(!gsm8kIsHere)("gsm8k goes the whole way there: prepared at home, trained, reinforced, exported, scored and tidied on the host", async () => {
    const { world, add, start } = await fleetWorld();
    const sshd = await sshdForTest();
    const [trains, draws] = [join(sshd.folder, "trains"), join(sshd.folder, "draws")]; // a python3 in each
    for (const folder of [trains, draws]) mkdirSync(folder);
    const { model } = await trainingInputs(trainingFolder());
    await add("gpu1", sshd, { environment: { TRAINYARD_AGENT_CPUS: "16" } });
    start(undefined, { TRAINYARD_AGENT_PYTHON: verlPython(trains), TRAINYARD_DATA_DIRS: DATA, TRAINYARD_NVIDIA_SMI: nvidiaSmi(sshd.folder, 1) });
    const scenario = { [SCENARIO_VARIABLE]: JSON.stringify({ stepMs: 5 }) };
    const stages = stagesOf("gsm8k.yaml").map((stage) => ({
      ...stage, params: {
        ...stage.params, ...(stage.kind === "train" ? { env: scenario } : {}), ...(stage.params["model"] === "Qwen/Qwen2.5-0.5B" ? { model } : {}),
        ...(stage.kind === "evaluate" ? { model, python: standInPython(draws), env: { STAND_IN: JSON.stringify({ version: "0.7.1", calls: join(draws, "calls") }) } } : {}), // what the stand-in trained is refused: it has no weights
      },
    }));
    const { id, stages: ended } = await completed(world, stages);
    const outputs = (name: string) => ended.get(name)!.outputs!;
    for (const name of ["prepare-sft", "prepare-rl"]) expect(outputs(name)).toMatchObject({ rows: 7_473 });
    const attempts = join(sshd.folder, "work", "attempts", id);
    for (const [stage, key] of [["sft", "model"], ["grpo", "checkpoint"], ["export", "model"]]) {
      expect(outputs(stage!)[key!]).toMatch(new RegExp(`^${join(attempts, stage!)}/`));
      expect(existsSync(outputs(stage!)[key!] as string)).toBe(true);
    }
    expect(outputs("score")).toMatchObject({ sampleCount: 1_319 });
    expect(callsOf(join(draws, "calls")).length).toBeGreaterThan(0); // it drew there
    expect(outputs("tidy")).toMatchObject({ failed: 0 });
  });
});
