// Knows the GPUs of this host without asking nvidia-smi more often than needed.

import type { GpuReport } from "../../protocol/messages.js";
import { queryGpus, type GpuInventory } from "./gpus.js";

/** Age at which an answer is asked for again, in milliseconds: with GPUs, and on a host that had none. */
const KEPT_MS = 8_000;
const KEPT_NONE_MS = 600_000;

export interface GpuKeeper {
  /** What is known, renewed in the background when it is old. The first call waits. */
  report(): Promise<readonly GpuReport[]>;
  hostHasGpus(): boolean;
  /** Asks now. Processes of strangers on these GPUs, in words; null when all are there and free. */
  taken(indices: readonly number[]): Promise<string | null>;
}

export function createGpuKeeper(program: string, isOurs: (pid: number) => boolean): GpuKeeper {
  let known: GpuInventory | null = null;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<GpuInventory> | null = null;
  const ask = (): Promise<GpuInventory> => {
    asking ??= queryGpus(program, isOurs).then((inventory) => {
      known = inventory;
      askedAt = performance.now();
      asking = null;
      return inventory;
    });
    return asking;
  };
  return {
    async report() {
      if (known === null) return (await ask()).gpus;
      const kept = known.gpus.length === 0 && known.problem === null ? KEPT_NONE_MS : KEPT_MS;
      if (performance.now() - askedAt > kept) void ask();
      return known.gpus;
    },
    hostHasGpus: () => (known?.gpus.length ?? 0) > 0,
    async taken(indices) {
      if (asking !== null) await asking;
      const { gpus, strangers, problem } = await ask();
      for (const index of indices) {
        if (!gpus.some((gpu) => gpu.index === index)) return `GPU ${index} is not there${problem === null ? "" : `: ${problem}`}.`;
        const pids = strangers.get(index);
        if (pids !== undefined) return `GPU ${index} is held by process ${pids.join(", ")}, which no attempt of this agent started. End it, or run the stage elsewhere.`;
      }
      return null;
    },
  };
}
