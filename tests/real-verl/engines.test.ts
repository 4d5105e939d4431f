// Models of checkpoints that engines other than FSDP leave, made by the program of every export (src/verl/python/export_model.py) with real verl and PyTorch.
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { runFolder } from "../simulation/stand-in.js";
import { EXAMPLE, pythonFor } from "./verl-world.js";

const run = promisify(execFile);
const TIMEOUT = { timeout: 600_000 };

/** The newer release's merger is the older one's in this; each case takes half a minute. */
const MESHES = { verl: ["dp_shard", "dp_shard_sp", "dp_replicate,dp_shard"], "verl-0.9": ["dp_shard_sp"] } as const;

describe.each(["verl", "verl-0.9"] as const)("%s", (environment) => {
  const python = pythonFor(environment, `models of other engines' checkpoints in ${environment}`);
  const folder = runFolder();
  const model = join(folder, "tiny");
  const settings = { ...process.env, OMP_NUM_THREADS: "1", HF_HUB_OFFLINE: "1", PYTHONPATH: EXAMPLE, VERL_USE_EXTERNAL_MODULES: "verl_on_cpu" };
  const started = (words: readonly string[]) => run(python!, words, { env: settings, cwd: folder, maxBuffer: 64 * 1_048_576 });
  const exported = (source: string, backend: string, more: readonly string[] = []) => started([packagePath("src", "verl", "python", "export_model.py"), "--trainer", "verl", "--source", source, "--target", join(source, "exported"), "--backend", backend, ...more]);
  const compare = async (one: string, other: string) => (await started(["-c", "import sys; from safetensors.torch import load_file as l; a, b = l(sys.argv[1]), l(sys.argv[2]); print(all(n in b and (a[n].float() - b[n].float()).abs().max() == 0 for n in a))", one, other])).stdout.trim();

  beforeAll(async () => {
    if (python === null) return;
    await started([join(EXAMPLE, "tiny_model.py"), model]);
  }, 600_000);

  test.skipIf(python === null).each(MESHES[environment])("VeOmni's shards over the mesh %s become the very weights, though verl's merger alone refuses them", TIMEOUT, async (names) => {
    const checkpoint = join(folder, names.replace(",", "-"));
    await started(["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", packagePath("tests", "real-verl", "veomni_checkpoint.py"), model, checkpoint, names]);
    if (names === "dp_shard_sp") await expect(exported(checkpoint, "fsdp")).rejects.toMatchObject({ stderr: expect.stringContaining("Unsupported mesh_dim_names") as string });
    await exported(checkpoint, "veomni");
    expect(await compare(join(checkpoint, "exported", "model.safetensors"), join(checkpoint, "expected.safetensors"))).toBe("True");
    expect(existsSync(join(checkpoint, "exported", "tokenizer_config.json"))).toBe(true);
  });

  test.skipIf(python === null || environment !== "verl")("VeOmni's experts over GPUs are refused with what can be done", TIMEOUT, async () => {
    const checkpoint = join(folder, "experts");
    await started(["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", packagePath("tests", "real-verl", "veomni_checkpoint.py"), model, checkpoint, "ep,ep_fsdp"]);
    await expect(exported(checkpoint, "veomni")).rejects.toMatchObject({ stderr: expect.stringContaining("export refused: VeOmni spread this model's experts") as string });
  });

  test.skipIf(python === null).each([["megatron", "huggingface"], ["megatron", "model/huggingface"], ["automodel", "model/consolidated"]])("the model that %s left whole in %s is taken as it is", TIMEOUT, async (backend, place) => {
    const checkpoint = join(folder, `whole-${backend}-${place.replace("/", "-")}`);
    mkdirSync(join(checkpoint, "model"), { recursive: true });
    cpSync(model, join(checkpoint, place), { recursive: true });
    if (backend === "automodel") for (const name of ["tokenizer.json", "tokenizer_config.json"]) rmSync(join(checkpoint, place, name), { force: true });
    await exported(checkpoint, backend, ["--base", model]);
    expect(readFileSync(join(checkpoint, "exported", "model.safetensors")).equals(readFileSync(join(model, "model.safetensors")))).toBe(true);
    expect(existsSync(join(checkpoint, "exported", "tokenizer_config.json"))).toBe(true);
  });

  test.skipIf(python === null)("an adapter of Megatron's, and Automodel's shards that nobody put together, are refused", TIMEOUT, async () => {
    const megatron = join(folder, "adapter");
    mkdirSync(join(megatron, "model", "huggingface", "adapter"), { recursive: true });
    await expect(exported(megatron, "megatron")).rejects.toMatchObject({ stderr: expect.stringContaining("export refused: ") as string });
    const automodel = join(folder, "shards");
    mkdirSync(join(automodel, "model"), { recursive: true });
    writeFileSync(join(automodel, "model", "shard-00001-model-00001-of-00001.safetensors"), "");
    await expect(exported(automodel, "automodel")).rejects.toMatchObject({ stderr: expect.stringContaining("has no weights") as string });
  });
});
