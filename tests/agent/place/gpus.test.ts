// What nvidia-smi writes: real output captured on hosts of others (captures/, each file says whence), and by hand, in the documented form, what no capture shows. The programs are small shell
// scripts that print it.
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { createGpuKeeper } from "../../../src/agent/place/gpu-keeper.js";
import { askNvidiaSmi, parseGpuProcesses, parseGpus, queryGpus } from "../../../src/agent/place/gpus.js";
import { csv, fromXml, GPU_COLUMNS, PROCESS_COLUMNS, readCapture, sections } from "./captures.js";

const HOST_MIB = 124_610;
const EIGHT = Array.from({ length: 8 }, (_, i) => `${i}, GPU-5a5f7a1e-7d0a-4c2b-9f61-00000000000${i}, NVIDIA H100 80GB HBM3, 81559, ${i === 3 ? 40123 : 4}, ${i === 3 ? 97 : 0}`).join("\n");

const nobody = async (): Promise<ReadonlySet<number>> => new Set();
const only = (mine: number) => async (pids: readonly number[]): Promise<ReadonlySet<number>> => new Set(pids.filter((pid) => pid === mine));

function smi(gpus: string, processes: string, exit = 0): string {
  const file = join(mkdtempSync(join(inject("runFolder"), "smi-")), "nvidia-smi");
  writeFileSync(file, `#!/bin/sh\ncase "$1" in --query-gpu=*) cat <<'X'\n${gpus}\nX\n;; *) cat <<'X'\n${processes}\nX\n;; esac\nexit ${exit}\n`);
  chmodSync(file, 0o755);
  return file;
}

describe("parsing real output, of a command with more columns than ours in another order", () => {
  const MASKED = "GPU-00000000-0000-0000-0000-000000000000";
  test.each([
    ["h100-80gb-hbm3.txt", "NVIDIA H100 80GB HBM3", 81_559, { idle: [0, 0], load: [19_818, 100] }],
    ["h200.txt", "NVIDIA H200", 143_771, { idle: [0, 0], load: [32_362, 100] }],
    ["h100-mig.txt", "NVIDIA H100 80GB HBM3", 81_559, { idle: [59, null], load: [11_125, null] }], // utilisation of a GPU in MIG mode: [N/A]
    ["l40s.txt", "NVIDIA L40S", 46_068, { idle: [0, 100], load: [1_235, 9] }],
    ["rtx-4080-super.txt", "NVIDIA GeForce RTX 4080 SUPER", 16_376, { idle: [596, 0], load: [1_474, 7] }],
  ] as const)("%s", (file, model, memoryTotalMiB, states) => {
    for (const [state, [memoryUsedMiB, utilizationPercent]] of Object.entries(states)) {
      const section = sections(file).find(({ title }) => title === `${state} :: query-gpu`)!;
      expect(parseGpus(csv(section, GPU_COLUMNS), HOST_MIB)).toEqual({ gpus: [{ index: 0, uuid: MASKED, model, memoryTotalMiB, memoryUsedMiB, utilizationPercent, strangers: 0 }], unusable: [] });
    }
  });
  test("eight GPUs of a host, titan-x-8.txt", () => {
    const { gpus, unusable } = parseGpus(csv(sections("titan-x-8.txt")[0]!, GPU_COLUMNS), HOST_MIB);
    expect(unusable).toEqual([]);
    expect(gpus.map((gpu) => [gpu.index, gpu.memoryTotalMiB, gpu.memoryUsedMiB, gpu.utilizationPercent])).toEqual([
      [0, 12_206, 802, 0], [1, 12_206, 10_032, 86], [2, 12_206, 6_442, 85], [3, 12_206, 6_442, 60], [4, 12_206, 6_459, 84], [5, 12_206, 6_440, 83], [6, 12_206, 6_451, 83], [7, 12_206, 6_442, 82],
    ]);
    expect(gpus[7]).toMatchObject({ uuid: "GPU-f199c9ea-65d8-5382-aefe-a9e8fb48057b", model: "GeForce GTX TITAN X" });
  });
  test("processes on GPUs: none, a desktop's and two of a load", () => {
    const processes = (file: string, title: string) => parseGpuProcesses(csv(sections(file).find((section) => section.title === title)!, PROCESS_COLUMNS));
    expect(processes("h100-80gb-hbm3.txt", "idle :: query-compute-apps")).toEqual([]);
    expect(processes("rtx-4080-super.txt", "idle :: query-compute-apps")).toEqual([{ pid: 2_165, gpuUuid: MASKED }]);
    expect(processes("l40s.txt", "load :: query-compute-apps")).toEqual([{ pid: 20_037, gpuUuid: MASKED }, { pid: 20_038, gpuUuid: MASKED }]);
  });
});

describe("parsing real output that lacks some of our columns: those read [N/A], and the index counts the rows", () => {
  const absent = { index: (row: number) => String(row), uuid: "[N/A]", name: "[N/A]", "memory.used": "[N/A]", "utilization.gpu": "[N/A]" };
  test("a MIG device in a container, whose memory may not be seen: there, with no amount of memory known (a100-mig-container.txt)", () => {
    const [section] = sections("a100-mig-container.txt");
    expect(parseGpus(csv(section!, GPU_COLUMNS, absent), HOST_MIB)).toEqual({ gpus: [{ index: 0, uuid: null, model: "NVIDIA A100-SXM4-80GB", memoryTotalMiB: 0, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 }], unusable: [] });
  });
  test("a GPU without memory of its own has the host's (gb10.txt)", () => {
    const [first, second] = sections("gb10.txt");
    expect(parseGpus(csv(first!, GPU_COLUMNS, absent), HOST_MIB)).toEqual({ gpus: [{ index: 0, uuid: null, model: "NVIDIA GB10", memoryTotalMiB: HOST_MIB, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 }], unusable: [] });
    expect(parseGpus(csv(second!, GPU_COLUMNS, absent), HOST_MIB).gpus).toMatchObject([{ memoryTotalMiB: HOST_MIB, memoryUsedMiB: null, utilizationPercent: 0 }]);
  });
});

describe("parsing what was written by hand, in the documented form", () => {
  test("numbers that the driver keeps to itself are null", () => {
    expect(parseGpus("0, GPU-aaaa, NVIDIA H200, 143771, [N/A], [N/A]\r\n1, [N/A], NVIDIA GB10, 100, [Not Supported], [Unknown Error]", HOST_MIB).gpus).toEqual([
      { index: 0, uuid: "GPU-aaaa", model: "NVIDIA H200", memoryTotalMiB: 143_771, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 },
      { index: 1, uuid: null, model: "NVIDIA GB10", memoryTotalMiB: 100, memoryUsedMiB: null, utilizationPercent: null, strangers: 0 },
    ]);
  });
  test.each(["81559, 0, [GPU requires reset]", "[GPU is lost], [GPU is lost], [GPU is lost]", "ERR!, ERR!, ERR!", "[Unknown Error], 1, 1", ", 1, 1"])("a GPU given up by the driver (%s) is left out and said; its neighbour is not", (fields) => {
    const { gpus, unusable } = parseGpus(`0, GPU-aaaa, NVIDIA H100, ${fields}\n1, GPU-bbbb, NVIDIA H100, 81559, 0, 0\n`, HOST_MIB);
    expect(gpus.map(({ index }) => index)).toEqual([1]);
    expect(unusable).toEqual([expect.stringMatching(/^GPU 0 \(NVIDIA H100\) is left out: /)]);
  });
  test.each(["No devices were found", "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.54", "", "0, GPU-a, X, 1, 1"])("%j is no GPU", (text) => {
    expect(parseGpus(text, HOST_MIB)).toEqual({ gpus: [], unusable: [] });
  });
  test("processes whose pid or GPU is not told are nobody's", () => {
    expect(parseGpuProcesses("12345, GPU-aaaa\n[N/A], GPU-bbbb\n[Insufficient Permissions], GPU-bbbb\n77, [Not Found]\nNo running processes found\n")).toEqual([{ pid: 12_345, gpuUuid: "GPU-aaaa" }]);
  });
});

describe("asking", () => {
  test("no program of that name: no GPUs and no problem", async () => {
    expect(await queryGpus(askNvidiaSmi("/nonexistent/nvidia-smi"), nobody)).toEqual({ gpus: [], strangers: new Map(), problem: null });
  });
  test("a program that fails: no GPUs, and its words", async () => {
    expect(await queryGpus(askNvidiaSmi(smi("Failed to initialize NVML: Driver/library version mismatch", "", 18)), nobody)).toMatchObject({ gpus: [], problem: expect.stringContaining("Driver/library version mismatch") });
  });
  test("real `nvidia-smi -q -x` of four GPUs, turned into our two answers: strangers are counted on the GPUs that they run on (k80-x4.xml)", async () => {
    const { gpus, processes } = fromXml(readCapture("k80-x4.xml"));
    const told = await queryGpus(askNvidiaSmi(smi(gpus.trimEnd(), processes.trimEnd())), only(58_642));
    expect(told.problem).toBeNull();
    expect(told.gpus.map((gpu) => [gpu.index, gpu.uuid, gpu.memoryTotalMiB, gpu.memoryUsedMiB, gpu.utilizationPercent, gpu.strangers])).toEqual([
      [0, "GPU-c3b26f7a-8dcb-619c-fa1b-8029265a4db0", 11_441, 587, 99, 1], [1, "GPU-b01b80eb-0f18-1df0-cf88-0725bd90f1e1", 11_441, 587, 99, 0],
      [2, "GPU-30bc2701-3bc2-5f35-0ebd-9867a077e138", 11_441, 0, 0, 0], [3, "GPU-3341aba2-f01d-2c1f-7dd4-e389779faec2", 11_441, 0, 0, 0],
    ]);
    expect([...told.strangers]).toEqual([[0, [58_813]]]);
  });
  test("a GPU in need of a reset is refused with the driver's word", async () => {
    const keeper = createGpuKeeper(askNvidiaSmi(smi("0, GPU-a, NVIDIA H100, 81559, 0, [GPU requires reset]\n1, GPU-b, NVIDIA H100, 81559, 0, 0", "")), nobody);
    expect((await keeper.report()).map(({ index }) => index)).toEqual([1]);
    expect(await keeper.taken([0])).toMatch(/GPU 0 is not there: GPU 0 \(NVIDIA H100\) is left out: nvidia-smi says \[GPU requires reset\]/);
  });
  test("a question that failed once is asked again, and harms nobody who did not wait for it", async () => {
    let ours: () => Promise<ReadonlySet<number>> = () => Promise.reject(new Error("the place was left"));
    let now = 0;
    const keeper = createGpuKeeper(askNvidiaSmi(smi("0, GPU-a, NVIDIA H100, 81559, 0, 0", "111, GPU-a")), () => ours(), () => now);
    await expect(keeper.report()).rejects.toThrow("the place was left");
    ours = async () => new Set([111]);
    expect((await keeper.report()).map(({ strangers }) => strangers)).toEqual([0]);
    now = 60_000; // what is known is old: it is asked for in the background
    ours = () => Promise.reject(new Error("the place was left")); // nobody waits: an unhandled rejection would end this run
    expect((await keeper.report()).map(({ strangers }) => strangers)).toEqual([0]);
    await keeper.taken([0]).catch(() => undefined);
    ours = async () => new Set();
    expect(await keeper.taken([0])).toMatch(/held by process 111/);
  });
  test("a stranger's process is counted, ours is not, and a GPU held by a stranger is said", async () => {
    const program = smi(EIGHT, "111, GPU-5a5f7a1e-7d0a-4c2b-9f61-000000000003\n222, GPU-5a5f7a1e-7d0a-4c2b-9f61-000000000004");
    const keeper = createGpuKeeper(askNvidiaSmi(program), only(222));
    expect((await keeper.report()).map((gpu) => gpu.strangers)).toEqual([0, 0, 0, 1, 0, 0, 0, 0]);
    expect(await keeper.taken([4, 5])).toBeNull();
    expect(await keeper.taken([3])).toMatch(/GPU 3 is held by process 111/);
    expect(await keeper.taken([9])).toMatch(/GPU 9 is not there/);
    expect(keeper.hostHasGpus()).toBe(true);
  });
});
