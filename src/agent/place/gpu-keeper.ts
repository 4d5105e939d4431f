// Knows the GPUs of a host without asking nvidia-smi more often than needed.

import { queryGpus, type AskNvidia, type GpuInventory } from "./gpus.js";
import type { PlaceGpus } from "./place.js";

/** Age at which an answer is asked for again, in milliseconds: with GPUs, and on a host that had none. */
const KEPT_MS = 8_000;
const KEPT_NONE_MS = 600_000;

/** `ours`: which of these processes belong to attempts. `now`: milliseconds of a clock that never goes back. */
export function createGpuKeeper(askNvidia: AskNvidia, ours: (pids: readonly number[]) => Promise<ReadonlySet<number>>, now: () => number = () => performance.now()): PlaceGpus {
  let known: GpuInventory | null = null;
  let askedAt = Number.NEGATIVE_INFINITY;
  let asking: Promise<GpuInventory> | null = null;
  const ask = (): Promise<GpuInventory> => {
    asking ??= queryGpus(askNvidia, ours).then((inventory) => {
      known = inventory;
      askedAt = now();
      return inventory;
    }).finally(() => { asking = null; }); // whoever asks after a failure asks anew
    return asking;
  };
  return {
    async report() {
      if (known === null) return (await ask()).gpus;
      const kept = known.gpus.length === 0 && known.problem === null ? KEPT_NONE_MS : KEPT_MS;
      if (now() - askedAt > kept) ask().catch(() => undefined); // what is known stays until somebody can say more
      return known.gpus;
    },
    hostHasGpus: () => (known?.gpus.length ?? 0) > 0,
    async taken(indices) {
      await asking?.catch(() => undefined);
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
