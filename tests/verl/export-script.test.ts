// The script of a run, run by a real shell in which `python3` writes down what it was given.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { RESUME_PROGRAM } from "../../src/verl/dpo.js";
import { exportRun, type RunToExport } from "../../src/verl/export-script.js";
import { trainCommand } from "../../src/verl/train-command.js";
import { launchContext, release, trainParams } from "./launch.js";

const run = (params: Record<string, unknown>, more: Partial<RunToExport> = {}): string =>
  exportRun({ about: "Training job job_1\nof a test", project: "p", experiment: "e", params: trainParams(params), resources: { gpus: 2, nodes: 1 }, release: release(), ...more });

/** Runs the script; answers each call of python3, and the environment of the last. */
function shell(script: string, environment: Record<string, string> = {}): { calls: string[][]; environment: Record<string, string>; folder: string; error: string | null } {
  const folder = mkdtempSync(join(inject("runFolder"), "export-"));
  mkdirSync(join(folder, "bin"));
  const program = `#!${process.execPath}\nconst fs = require("node:fs");\nfs.appendFileSync(process.env.CALLS, JSON.stringify(process.argv.slice(2)) + "\\n");\nfs.writeFileSync(process.env.CALLS + ".env", JSON.stringify(process.env));\n`;
  writeFileSync(join(folder, "bin", "python3"), program);
  chmodSync(join(folder, "bin", "python3"), 0o755);
  writeFileSync(join(folder, "run.sh"), script);
  let error: string | null = null;
  try {
    execFileSync("/bin/sh", [join(folder, "run.sh")], { cwd: folder, env: { PATH: `${join(folder, "bin")}:/usr/bin:/bin`, CALLS: join(folder, "calls"), ...environment }, stdio: "pipe" });
  } catch (failed) {
    error = String((failed as { stderr: Buffer }).stderr);
  }
  const read = (file: string) => { try { return readFileSync(file, "utf8"); } catch { return ""; } };
  return { calls: read(join(folder, "calls")).split("\n").filter((line) => line !== "").map((line) => JSON.parse(line) as string[]), environment: JSON.parse(read(join(folder, "calls.env")) || "{}") as Record<string, string>, folder, error };
}

describe("a run as a shell script", () => {
  test("starts the very command that an agent would start, with paths of its own, whatever characters the params hold", () => {
    for (const params of [{ algorithm: "sft", model: "it's a; $(touch no) `model` \\" }, { algorithm: "grpo", batchSize: 64, overrides: { "ray_kwargs.ray_init.given": "a\"b'c ${HOME} \n é漢" } }]) {
      const { calls, folder, error, environment } = shell(run(params));
      expect(error).toBeNull();
      const at = join(folder, "run");
      const expected = trainCommand(trainParams(params), release(), launchContext({ checkpointDir: `${at}/checkpoints`, hydraDir: `${at}/hydra`, samplesDir: `${at}/samples`, project: "p", experiment: "e" }));
      expect(calls).toEqual([expected.argv.slice(1)]);
      expect(environment).toMatchObject({ ...expected.environment, VERL_FILE_LOGGER_PATH: `${at}/metrics.jsonl` });
    }
  });

  test("puts everything below RUN_DIR when that is set", () => {
    const { calls, folder } = shell(run({ algorithm: "sft" }), { RUN_DIR: "/tmp/elsewhere it is" });
    expect(calls[0]).toContain("trainer.default_local_dir='/tmp/elsewhere it is/checkpoints'");
    expect(folder).not.toBe("");
  });

  test("asks for secrets by name and never holds them", () => {
    const script = run({ algorithm: "sft", env: { HF_TOKEN: "secret://hub-token", NOTE: "it's plain" } });
    expect(script).not.toContain("secret://");
    expect(shell(script)).toMatchObject({ calls: [], error: expect.stringContaining("HF_TOKEN: set it to the secret hub-token") });
    expect(shell(script, { HF_TOKEN: "hidden" }).environment).toMatchObject({ HF_TOKEN: "hidden", NOTE: "it's plain" });
  });

  test("of several nodes starts the member of RANK: torchrun at the head's address, or a Ray cluster that the head waits for", () => {
    const sft = run({ algorithm: "sft" }, { resources: { gpus: 8, nodes: 2 } });
    expect(shell(sft)).toMatchObject({ calls: [], error: expect.stringContaining("set RANK") });
    expect(shell(sft, { RANK: "1", HEAD_ADDRESS: "10.0.0.7" }).calls[0]).toEqual(expect.arrayContaining(["--nnodes=2", "--nproc_per_node=8", "--node_rank=1", "--master_addr=10.0.0.7"]));
    const rl = run({ algorithm: "grpo", batchSize: 64 }, { resources: { gpus: 8, nodes: 2 } });
    expect(shell(rl, { RANK: "1", HEAD_ADDRESS: "10.0.0.7" }).calls).toEqual([["-m", "ray.scripts.scripts", "start", "--address=10.0.0.7:6379", "--block"]]);
    const head = shell(rl, { RANK: "0", HEAD_ADDRESS: "10.0.0.7" }).calls;
    expect(head.map((call) => call.slice(0, 3))).toEqual([["-m", "ray.scripts.scripts", "start"], ["-c", expect.stringContaining("< 2")], ["-m", "verl.trainer.main_ppo", expect.any(String)]]);
    expect(shell(rl, { RANK: "2", HEAD_ADDRESS: "h" }).error).toContain("RANK is 0 to 1");
  });

  test("of DPO links the files into the folder that TRL reads", () => {
    const { calls, folder } = shell(exportRun({ about: "x", project: "p", experiment: "e", params: trainParams({ algorithm: "dpo", trainFiles: ["/d/a.parquet", "/d/b.parquet"] }), resources: { gpus: 1, nodes: 1 }, release: release() }));
    expect(calls[0]!.join(" ")).toMatch(/^-m trl\.\S+ .*--dataset_name /);
    expect(calls[0]).toContain(join(folder, "run", "data"));
    expect(readlinkSync(join(folder, "run", "data", "train-00001.parquet"))).toBe("/d/b.parquet");
    expect(readlinkSync(join(folder, "run", "data", "validation-00000.parquet"))).toBe("/data/validation.parquet");
  });

  test("of DPO that goes on from a checkpoint brings the file that it needs for that", () => {
    const { calls, folder } = shell(run({ algorithm: "dpo", resume: { from: "/c/checkpoint-5" } }, { resources: { gpus: 1, nodes: 1 } }));
    expect(calls).toHaveLength(2);
    expect(calls[0]!.slice(2)).toEqual([join(folder, "run", "resume_dpo.py"), readFileSync(RESUME_PROGRAM, "utf8")]);
    expect(calls[1]).toEqual(expect.arrayContaining([join(folder, "run", "resume_dpo.py"), "--resume_from_checkpoint", "/c/checkpoint-5"]));
  });

  test("of a simulated run says so", () => {
    expect(run({ algorithm: "sft", simulate: true })).toContain("# The run was SIMULATED");
    expect(run({ algorithm: "sft" })).not.toContain("SIMULATED");
  });
});
