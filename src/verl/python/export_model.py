"""A checkpoint of a training run as one Hugging Face folder that transformers loads.

verl's checkpoints go through verl's own merger, unless an engine has put the weights together itself (Megatron by its bridge, Automodel): those are taken as they are. The merger leaves a low-rank adapter beside the base weights, in some releases with an alpha of 0. Here the adapter is
folded in with PEFT, its alpha taken from where it is known. The folder appears whole: it is made beside its place and renamed.

A refusal is one line "export refused: ..." on standard error and exit code 1.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys


def refuse(text: str) -> None:
    print(f"export refused: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def read_json(path: str):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


# verl's merger knows the meshes of its own FSDP by name and refuses others. VeOmni's are the same under other names, as long as no experts are spread over GPUs.
MERGE_VEOMNI = """
import sys
from torch.distributed.tensor import DTensor
from verl.model_merger.__main__ import main
from verl.model_merger.fsdp_model_merger import FSDPModelMerger

NAMES = {("dp_shard",): ("fsdp",), ("dp_shard_sp",): ("fsdp",), ("dp_replicate", "dp_shard"): ("ddp", "fsdp"), ("dp_replicate", "dp_shard_sp"): ("ddp", "fsdp")}
examine = FSDPModelMerger._extract_device_mesh_info

def examine_veomni(self, state_dict, world_size):
    meshes = {value.device_mesh.mesh_dim_names for value in state_dict.values() if isinstance(value, DTensor)}
    if len(meshes) > 1 or any(name == "ep" or name.startswith("ep_") for names in meshes for name in names or ()):
        print("export refused: VeOmni spread this model's experts over GPUs, and verl's merger cannot put those together; VeOmni's own tools can", file=sys.stderr, flush=True)
        sys.exit(1)
    mesh, names = examine(self, state_dict, world_size)
    return mesh, NAMES.get(tuple(names), names)

FSDPModelMerger._extract_device_mesh_info = examine_veomni
main()
"""


def merge_with_verl(source: str, target: str, backend: str) -> None:
    words = ["merge", "--backend", "fsdp" if backend == "veomni" else backend, "--local_dir", source, "--target_dir", target]
    command = [sys.executable, *(["-c", MERGE_VEOMNI] if backend == "veomni" else ["-m", "verl.model_merger"]), *words]
    environment = dict(os.environ)
    if backend == "megatron":
        if (read_json(os.path.join(source, "huggingface", "config.json")) or {}).get("tie_word_embeddings"):
            command.append("--tie-word-embedding")
        with socket.socket() as free:  # the merger's own port is a fixed one
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    code = subprocess.run(command, env=environment, check=False).returncode
    if code != 0:
        sys.exit(code if 0 < code < 128 else 1)


def without_task_type(source: str, view: str) -> str:
    """The merger of 0.7.1 ends with an AttributeError where the trainer noted the adapter's task as text, which is always: it gets a view of the checkpoint without that note."""
    noted = read_json(os.path.join(source, "lora_train_meta.json"))
    if not isinstance(noted, dict) or not isinstance(noted.get("task_type"), str):
        return source
    os.makedirs(view)
    for name in os.listdir(source):
        if name != "lora_train_meta.json":
            os.symlink(os.path.abspath(os.path.join(source, name)), os.path.join(view, name))
    with open(os.path.join(view, "lora_train_meta.json"), "w", encoding="utf-8") as file:
        json.dump({key: value for key, value in noted.items() if key != "task_type"}, file)
    return view


def alpha_of(source: str, written: dict, given: "float | None") -> float:
    """What verl's merger wrote, unless that is 0: then what the trainer left beside the weights, then what the stage says."""
    if written.get("lora_alpha"):
        return written["lora_alpha"]
    for path in (os.path.join(source, "lora_adapter", "adapter_config.json"), os.path.join(source, "lora_train_meta.json")):
        alpha = (read_json(path) or {}).get("lora_alpha")
        if alpha:
            return alpha
    if given is None:
        refuse(f"nothing beside {source} tells the alpha of the low-rank adapter")
    return given


WEIGHTS = (".safetensors", ".bin", ".pt", ".safetensors.index.json", ".bin.index.json")


def copy_around(source: str, target: str) -> None:
    """Everything that is no weight: configuration of generation, tokenizer, chat template."""
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        if os.path.isfile(path) and not name.endswith(WEIGHTS) and name not in TRAINING_ONLY and not os.path.exists(os.path.join(target, name)):
            shutil.copyfile(path, os.path.join(target, name))


TRAINING_ONLY = {"trainer_state.json", "training_args.bin", "adapter_config.json", "README.md", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt"}


def model_class(folder: str):
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    named = getattr(transformers, (config.architectures or [""])[0], None)
    return named or transformers.AutoModelForCausalLM


def fold(base: str, adapter: str, target: str) -> None:
    import peft

    model = model_class(base).from_pretrained(base, torch_dtype="auto")
    before = sum(parameter.numel() for parameter in model.parameters())
    folded = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
    after = sum(parameter.numel() for parameter in folded.parameters())
    if before != after:
        refuse(f"folding the adapter in changed the number of parameters from {before} to {after}")
    folded.save_pretrained(target)
    print(f"folded {adapter} into {base}", flush=True)


def check(folder: str) -> None:
    """Every weight that the model has is in the files (ties followed), by names alone."""
    from accelerate import init_empty_weights
    from safetensors import safe_open
    from transformers import AutoConfig

    names = set()
    for name in os.listdir(folder):
        if name.endswith(".safetensors"):
            with safe_open(os.path.join(folder, name), framework="pt") as file:
                names.update(file.keys())
    if not names:
        refuse(f"{folder} has no weights")
    kind = model_class(folder)
    make = getattr(kind, "_from_config", None) or kind.from_config
    with init_empty_weights():
        model = make(AutoConfig.from_pretrained(folder))
    tied = set(getattr(model, "_tied_weights_keys", None) or [])
    missing = sorted(name for name, _ in model.named_parameters() if name not in names and name not in tied)
    if missing:
        refuse(f"the model lacks {len(missing)} of its weights, {missing[0]} among them")


def has_weights(folder: str) -> bool:
    return os.path.isdir(folder) and any(name.endswith((".safetensors", ".bin")) for name in os.listdir(folder))


def take_whole(source: str, aside: str) -> None:
    """Weights that an engine has put together itself. No second copy on the disk where that can be; deleting one leaves the other."""
    os.makedirs(aside)
    for name in sorted(os.listdir(source)):
        path = os.path.join(source, name)
        if not os.path.isfile(path):
            continue
        try:
            os.link(path, os.path.join(aside, name))
        except OSError:
            shutil.copyfile(path, os.path.join(aside, name))
    print(f"took the model that lies whole in {source}", flush=True)


def put_together(source: str, backend: str) -> "str | None":
    """The folder where an engine left the model whole; None: the merger has to do it. Refuses what neither can."""
    if backend == "automodel":
        folder = os.path.join(source, "model", "consolidated")
        if not has_weights(folder):
            refuse(f"{folder} has no weights: Automodel puts them together there, and verl's merger does not know its shards")
        return folder
    for folder in (os.path.join(source, "model", "huggingface"), os.path.join(source, "huggingface")):
        if os.path.isdir(os.path.join(folder, "adapter")) or os.path.isdir(os.path.join(source, "adapter_checkpoint")):
            refuse(f"{source} has a low-rank adapter of Megatron's, which cannot be folded in here; Megatron-Bridge's own tools can")
        if has_weights(folder):
            return folder
    return None


def add_tokenizer(base: "str | None", aside: str) -> None:
    """Automodel leaves none beside its weights."""
    if os.path.exists(os.path.join(aside, "tokenizer_config.json")):
        return
    if base is None:
        print("the checkpoint has no tokenizer, and the model that it began from is not known here: take that one's", flush=True)
        return
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(base).save_pretrained(aside)


def export_verl(arguments, aside: str) -> None:
    if arguments.backend in ("megatron", "automodel"):
        whole = put_together(arguments.source, arguments.backend)
        if whole is not None:
            take_whole(whole, aside)
            add_tokenizer(arguments.base, aside)
            return
    merged, view = f"{aside}.merged", f"{aside}.view"
    for folder in (merged, view):
        shutil.rmtree(folder, ignore_errors=True)
    merge_with_verl(without_task_type(arguments.source, view), merged, arguments.backend)
    shutil.rmtree(view, ignore_errors=True)
    adapter = os.path.join(merged, "lora_adapter")
    settings = read_json(os.path.join(adapter, "adapter_config.json"))
    if settings is None:
        os.rename(merged, aside)
        return
    settings["lora_alpha"] = alpha_of(arguments.source, settings, arguments.lora_alpha)
    settings["task_type"] = settings.get("task_type") or "CAUSAL_LM"
    settings["base_model_name_or_path"] = merged if arguments.lora == "fold" else arguments.target
    with open(os.path.join(adapter, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump(settings, file, ensure_ascii=False, indent=2)
    if arguments.lora == "keep":
        os.rename(merged, aside)
        return
    os.makedirs(aside)
    fold(merged, adapter, aside)
    copy_around(merged, aside)
    shutil.rmtree(merged)


def export_trl(arguments, aside: str) -> None:
    os.makedirs(aside)
    adapter = read_json(os.path.join(arguments.source, "adapter_config.json"))
    if adapter is not None and arguments.lora == "fold":
        base = arguments.base or adapter.get("base_model_name_or_path")
        fold(base, arguments.source, aside)
        copy_around(arguments.source, aside)
        return
    for name in sorted(os.listdir(arguments.source)):
        path = os.path.join(arguments.source, name)
        if os.path.isfile(path) and (name not in TRAINING_ONLY or name == "adapter_config.json") and not name.startswith("rng_state"):
            try:
                os.link(path, os.path.join(aside, name))  # no second copy on the disk; deleting one leaves the other
            except OSError:
                shutil.copyfile(path, os.path.join(aside, name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trainer", choices=["verl", "trl"], required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--backend", choices=["fsdp", "megatron", "veomni", "automodel"], default="fsdp")
    parser.add_argument("--lora", choices=["fold", "keep"], default="fold")
    parser.add_argument("--lora-alpha", type=float, default=None)
    parser.add_argument("--base", default=None)
    arguments = parser.parse_args()
    aside = f"{arguments.target}.making"
    shutil.rmtree(aside, ignore_errors=True)
    (export_verl if arguments.trainer == "verl" else export_trl)(arguments, aside)
    if arguments.lora == "fold":
        check(aside)
    shutil.rmtree(arguments.target, ignore_errors=True)
    os.rename(aside, arguments.target)
    print(f"exported {arguments.source} to {arguments.target}", flush=True)


main()
