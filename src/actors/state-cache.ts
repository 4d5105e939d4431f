// States this process decided on last, so that a batch need not read them again. A cached state is used only when the locked row shows the same seq.

import type { PipelineId } from "../domain/ids.js";
import { TERMINAL_PIPELINE, type PipelineState } from "../domain/pipeline/state.js";

/** Stages kept in all, over all pipelines: about 1 KB each. */
const MAX_STAGES = 200_000;

export class StateCache {
  readonly #states = new Map<PipelineId, PipelineState>();
  #stages = 0;

  get(id: PipelineId): PipelineState | null {
    return this.#states.get(id) ?? null;
  }

  put(id: PipelineId, state: PipelineState): void {
    this.forget([id]);
    if (TERMINAL_PIPELINE.has(state.status)) return;
    this.#states.set(id, state);
    this.#stages += state.stages.length;
    for (const [oldest, old] of this.#states) {
      if (this.#stages <= MAX_STAGES || oldest === id) break;
      this.#states.delete(oldest);
      this.#stages -= old.stages.length;
    }
  }

  forget(ids: Iterable<PipelineId>): void {
    for (const id of ids) {
      const state = this.#states.get(id);
      if (state === undefined) continue;
      this.#states.delete(id);
      this.#stages -= state.stages.length;
    }
  }
}
