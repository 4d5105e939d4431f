// The argv of DPO: TRL's own program, whichever way it is begun.

import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { dpoCommand, type DpoContext } from "../../src/verl/dpo.js";
import { launchContext, trainParams } from "./launch.js";

const context = (changes: Partial<DpoContext> = {}): DpoContext => ({ ...launchContext({ gpusPerNode: 1 }), dataFolder: "/run/data", validates: true, ...changes });
const argv = (changes?: Partial<DpoContext>, params = {}): readonly string[] => dpoCommand(trainParams({ algorithm: "dpo", ...params }), context(changes));

test("a fresh training starts TRL's own program, as a module that all its releases have", () => {
  expect(argv().slice(0, 3)).toEqual(["python3", "-m", "trl.scripts.dpo"]);
  expect(argv()).not.toContain("--resume_from_checkpoint");
});

test("several GPUs are several processes of Accelerate, which TRL's command line would drop", () => {
  expect(argv({ gpusPerNode: 4 }).slice(0, 7)).toEqual(["python3", "-m", "accelerate.commands.launch", "--num_processes", "4", "-m", "trl.scripts.dpo"]);
});

test("going on from a checkpoint is said to the program that listens", () => {
  const resumed = argv({ resumeFrom: "/run/checkpoints/checkpoint-3" });
  expect(resumed[1]).toMatch(/resume_dpo\.py$/);
  expect(existsSync(resumed[1]!)).toBe(true);
  expect(resumed[resumed.indexOf("--resume_from_checkpoint") + 1]).toBe("/run/checkpoints/checkpoint-3");
});

test("a processor is told to TRL, and half precision is left out there", () => {
  const told = argv({ device: "cpu", gpusPerNode: 0 });
  expect(told[told.indexOf("--use_cpu") + 1]).toBe("true");
  expect(told[told.indexOf("--bf16") + 1]).toBe("false");
});

test("the modules of an adapter are several arguments", () => {
  const told = argv({}, { lora: { rank: 4, targetModules: ["q_proj", "v_proj"] } });
  expect(told.slice(told.indexOf("--lora_target_modules") + 1).slice(0, 2)).toEqual(["q_proj", "v_proj"]);
});
