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

/** How the files of a checkpoint are cut. VeOmni's are FSDP's by their names, but for the merger (export_model.py); MindSpeed's are Megatron's. */
export type CheckpointBackend = "fsdp" | "megatron" | "veomni" | "automodel";

/** What a run saves in each step's folder. */
export interface CheckpointExpectation {
  readonly backend: CheckpointBackend;
  /** See fsdpShape. */
  readonly folders: readonly string[];
  readonly contents: readonly string[];
}

/** Judges a step's folder by the names in it, relative to it. `worldSize` is null where the names do not tell; `missing`: what it lacks to be complete. */
export function examineCheckpoint(names: ReadonlySet<string>, { backend, folders, contents }: CheckpointExpectation): { readonly worldSize: number | null; readonly missing: readonly string[] } {
  const at = (folder: string, name: string) => (folder === "" ? name : `${folder}/${name}`);
  const lacking = (folder: string, needed: readonly string[]) => needed.map((name) => at(folder, name)).filter((name) => !names.has(name));
  if (backend === "megatron") return { worldSize: null, missing: folders.flatMap((folder) => lacking(folder, MEGATRON_PARTS.some((part) => names.has(at(folder, part))) ? [MEGATRON_MANIFEST] : MEGATRON_FILES)) };
  if (backend === "automodel") return { worldSize: null, missing: folders.flatMap((folder) => [...lacking(folder, AUTOMODEL_FILES), ...([...names].some((name) => name.startsWith(at(folder, "model/consolidated/")) && name.endsWith(".safetensors")) ? [] : [at(folder, "model/consolidated/*.safetensors")])]) };
  const own = (folder: string) => [...names].filter((name) => (folder === "" ? !name.includes("/") : name.startsWith(`${folder}/`))).map((name) => name.slice(folder === "" ? 0 : folder.length + 1));
  const worldSize = worldSizeOf(own(folders[0] ?? ""));
  if (worldSize === null) return { worldSize, missing: [at(folders[0] ?? "", "model_world_size_*_rank_*.pt")] };
  return { worldSize, missing: fsdpShape(worldSize, folders, contents).files.filter((name) => !names.has(name)) };
}

/** Written last of a distributed checkpoint of Megatron, up to verl 0.8. */
const MEGATRON_FILES = ["dist_ckpt/common.pt", "dist_ckpt/metadata.json"] as const;
/** From 0.9 on the model, the optimizer and the rest lie apart, and a list of them is written when all are there, by rename. */
const MEGATRON_PARTS = ["model", "optimizer", "extra"] as const;
const MEGATRON_MANIFEST = "ckpt_contents.json";
/** PyTorch writes `.metadata` of a distributed checkpoint last. */
const AUTOMODEL_FILES = ["model/consolidated/config.json", "optim/.metadata"] as const;

/** Folders within each of the expectation's whose names matter, "" among them. */
export function foldersThatTell({ backend }: Pick<CheckpointExpectation, "backend">): readonly string[] {
  return { fsdp: [""], veomni: [""], megatron: ["", "dist_ckpt"], automodel: ["", "model/consolidated", "optim"] }[backend];
}
