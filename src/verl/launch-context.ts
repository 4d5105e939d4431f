// What a launch needs to know beyond the stage's params: where it runs and where its files go. Filled in by the agent; by examples in previews and exports.

/** One member of a run. Paths are absolute on its host. */
export interface LaunchContext {
  readonly nodes: number;
  readonly gpusPerNode: number;
  /** Of this member, 0 for the head. */
  readonly rank: number;
  /** Address and port at which the members meet; null on one node. */
  readonly meeting: { readonly address: string; readonly port: number } | null;
  /** Words that start the interpreter that has the trainer: ["/opt/venv/bin/python"], or those of src/simulation's stand-in for it (simulatedPython). */
  readonly python: readonly string[];
  /** Checkpoints of this attempt. */
  readonly checkpointDir: string;
  /** Hydra's own folder. */
  readonly hydraDir: string;
  /** Drawn answers, per step. */
  readonly samplesDir: string;
  /** Of the pipeline and stage: shown by loggers. */
  readonly project: string;
  readonly experiment: string;
  /** A complete checkpoint (…/global_step_N) to go on from; null: from the model. */
  readonly resumeFrom: string | null;
  /** Processors that Ray may use; null: all. */
  readonly cpus: number | null;
  /** verl's device; "cpu" only where the stage's environment brings the shim for it. */
  readonly device: "cuda" | "npu" | "cpu";
}

/** The whole world of the run. */
export function worldSize(context: Pick<LaunchContext, "nodes" | "gpusPerNode">): number {
  return context.nodes * Math.max(1, context.gpusPerNode);
}
