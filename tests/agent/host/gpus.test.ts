// nvidia-smi as it writes, one case a driver state; the programs are small shell scripts that print it.
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { createGpuKeeper } from "../../../src/agent/host/gpu-keeper.js";
import { parseGpuProcesses, parseGpus, queryGpus } from "../../../src/agent/host/gpus.js";

const EIGHT = Array.from({ length: 8 }, (_, i) => `${i}, GPU-5a5f7a1e-7d0a-4c2b-9f61-00000000000${i}, NVIDIA H100 80GB HBM3, 81559, ${i === 3 ? 40123 : 4}, ${i === 3 ? 97 : 0}`).join("\n");

function smi(gpus: string, processes: string, exit = 0): string {
  const file = join(mkdtempSync(join(inject("runFolder"), "smi-")), "nvidia-smi");
  writeFileSync(file, `#!/bin/sh\ncase "$1" in --query-gpu=*) cat <<'X'\n${gpus}\nX\n;; *) cat <<'X'\n${processes}\nX\n;; esac\nexit ${exit}\n`);
  chmodSync(file, 0o755);
  return file;
}

describe("parsing", () => {
  test("eight GPUs of a host", () => {
    const gpus = parseGpus(`${EIGHT}\n`);
    expect(gpus).toHaveLength(8);
    expect(gpus[3]).toEqual({ index: 3, uuid: "GPU-5a5f7a1e-7d0a-4c2b-9f61-000000000003", model: "NVIDIA H100 80GB HBM3", memoryTotalMiB: 81_559, memoryUsedMiB: 40_123, utilizationPercent: 97, strangers: 0 });
  });
  test("what the driver cannot tell is null", () => {
    expect(parseGpus("0, GPU-aaaa, NVIDIA H200, 143771, [N/A], [N/A]\n1, [N/A], NVIDIA GB10, 100, [Not Supported], [Unknown Error]")).toEqual([
      { index: 0, uuid: "GPU-aaaa", model: "NVIDIA H200", memoryTotalMiB: 143_771, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 },
      { index: 1, uuid: null, model: "NVIDIA GB10", memoryTotalMiB: 100, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 },
    ]);
  });
  test.each(["No devices were found", "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.54", "", "0, GPU-a, X, [N/A], 1, 1"])("%j is no GPU", (text) => {
    expect(parseGpus(text)).toEqual([]);
  });
  test("processes on GPUs", () => {
    expect(parseGpuProcesses("12345, GPU-aaaa\n[N/A], GPU-bbbb\nNo running processes found\n")).toEqual([{ pid: 12_345, gpuUuid: "GPU-aaaa" }]);
  });
});

describe("asking", () => {
  test("no program of that name: no GPUs and no problem", async () => {
    expect(await queryGpus("/nonexistent/nvidia-smi", () => false)).toEqual({ gpus: [], strangers: new Map(), problem: null });
  });
  test("a program that fails: no GPUs, and its words", async () => {
    expect(await queryGpus(smi("Failed to initialize NVML: Driver/library version mismatch", "", 18), () => false)).toMatchObject({ gpus: [], problem: expect.stringContaining("Driver/library version mismatch") });
  });
  test("a stranger's process is counted, ours is not, and a GPU held by a stranger is said", async () => {
    const program = smi(EIGHT, "111, GPU-5a5f7a1e-7d0a-4c2b-9f61-000000000003\n222, GPU-5a5f7a1e-7d0a-4c2b-9f61-000000000004");
    const keeper = createGpuKeeper(program, (pid) => pid === 222);
    expect((await keeper.report()).map((gpu) => gpu.strangers)).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
    expect(await keeper.taken([4, 5])).toBeNull();
    expect(await keeper.taken([3])).toMatch(/GPU 3 is held by process 111/);
    expect(await keeper.taken([9])).toMatch(/GPU 9 is not there/);
    expect(keeper.hostHasGpus()).toBe(true);
  });
});
