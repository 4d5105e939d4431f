// verl's checkpoints on disk, as names: which folders are checkpoints, which files make one complete. Reading the disk is the caller's business.
//   L1. The tracker names the newest step whose saving has begun and, but for its own moment of writing, ended. It is rewritten in place by RL: an empty or odd
//       read says nothing and is repeated.
//   L2. A step is complete when the tracker has reached it and every rank's files are there. A folder newer than the tracker may be partial.

export const TRACKER_FILE = "latest_checkpointed_iteration.txt";

/** The step that the tracker's text names; null when it says nothing (L1). */
export function readTracker(text: string): number | null {
  const match = /^\s*(\d{1,15})\s*$/.exec(text);
  return match === null ? null : Number(match[1]);
}

/** The step of a checkpoint folder's name; null when it is none. */
export function stepOfFolder(name: string): number | null {
  const match = /^global_step_(\d{1,15})$/.exec(name);
  return match === null ? null : Number(match[1]);
}

/** Where a trainer keeps the model within a step's folder. */
export function modelFolder(trainer: "verl-sft" | "verl-rl"): "" | "actor" {
  return trainer === "verl-sft" ? "" : "actor";
}

export interface CheckpointShape {
  /** Ranks that saved. */
  readonly worldSize: number;
  /** Files, relative to the step's folder, that must be there. */
  readonly files: readonly string[];
}

/** What a complete checkpoint of `worldSize` ranks has, for FSDP. `folders`: "" for SFT; "actor" and, with a critic, "critic" for RL. `contents`: checkpoint.save_contents. */
export function fsdpShape(worldSize: number, folders: readonly string[], contents: readonly string[] = ["model", "optimizer", "extra"]): CheckpointShape {
  const kinds = [["model", "model"], ["optimizer", "optim"], ["extra", "extra_state"]].filter(([content]) => contents.includes(content!)).map(([, file]) => file!);
  const files = folders.flatMap((folder) => {
    const at = (name: string) => (folder === "" ? name : `${folder}/${name}`);
    return [at("fsdp_config.json"), ...Array.from({ length: worldSize }, (_, rank) => kinds.map((kind) => at(`${kind}_world_size_${worldSize}_rank_${rank}.pt`))).flat()];
  });
  return { worldSize, files };
}

/** The world size that shard names tell; null when there are none or they contradict each other. */
export function worldSizeOf(fileNames: readonly string[]): number | null {
  const sizes = new Set(fileNames.flatMap((name) => /^model_world_size_(\d+)_rank_\d+\.pt$/.exec(name)?.[1] ?? []));
  return sizes.size === 1 ? Number([...sizes][0]) : null;
}
