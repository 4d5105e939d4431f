"""Composes verl's own configurations with Hydra and prints every key with its type and default, as one JSON object.

Usage: compose.py <folder that holds the package verl> <version>. Needs hydra-core and omegaconf; imports nothing of verl, so neither torch nor a GPU.
A type is what the composed value shows; where that is null, the annotation of verl's dataclass (`_target_`, or what the group around it says) is read from its source instead.
Output: {"version", "registered", "configs": {name: {key: [type, default]}}, "addable": {name: {key: type}}}. Types: bool int float str list dict any, with "?" when null is allowed.
Addable is what only the dataclass has: verl takes it from a user who adds it, although its files never mention it.
Registered is what verl's decorators enter by name: advantage estimators, policy losses, and per kind of model the training engines with the devices they run on.
"""

import ast
import json
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, ListConfig, OmegaConf

CONFIGS = {
    "ppo_trainer": [],
    "ppo_trainer+veomni": ["model_engine=veomni"],
    "ppo_trainer+mindspeed": ["model_engine=mindspeed"],
    "ppo_megatron_trainer": [],
    "sft_trainer_engine": [],
    "sft_trainer_engine+megatron": ["engine=megatron", "optim=megatron"],
    "sft_trainer_engine+veomni": ["engine=veomni", "optim=veomni"],
    "sft_trainer_engine+automodel": ["engine=automodel", "optim=automodel"],
    "sft_trainer": [],
    "evaluation": [],
}
# What verl writes into its dataclasses itself while it runs; nobody else can.
FILLED_BY_VERL = {
    "model_config", "engine", "hf_config", "tokenizer", "processor", "generation_config", "architectures", "local_path", "local_hf_config_path", "local_tokenizer_path",
    "global_tool_config", "global_batch_info",
}
SIMPLE = {"bool": "bool", "int": "int", "float": "float", "str": "str", "Path": "str"}


def dataclass_annotations(package: Path) -> dict:
    """Class name -> (bases, {field: annotation}) for every class with annotated fields. Later definitions of one name lose."""
    found = {}
    for file in sorted(package.rglob("*.py")):
        try:
            tree = ast.parse(file.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            fields = {item.target.id: ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)}
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            found.setdefault(node.name, (bases, fields))
    return found


def annotation_of(classes: dict, name: str, field: str):
    if name not in classes:
        return None
    bases, fields = classes[name]
    if field in fields:
        return fields[field]
    for base in bases:
        if (text := annotation_of(classes, base, field)) is not None:
            return text
    return None


def type_of_annotation(text: str) -> str:
    """Optional[int] -> int?, list[str] -> list, anything else -> any."""
    text = text.replace("typing.", "").replace(" ", "")
    nullable = False
    if text.startswith("Optional[") and text.endswith("]"):
        text, nullable = text[len("Optional["):-1], True
    if text.startswith("Union[") and text.endswith("]"):
        parts = text[len("Union["):-1].split(",")
    else:
        parts = text.split("|")
    nullable = nullable or "None" in parts
    parts = [part for part in parts if part != "None"]
    if len(parts) != 1:
        return "any"
    head = parts[0].split("[")[0]
    kind = SIMPLE.get(head) or {"list": "list", "List": "list", "tuple": "list", "dict": "dict", "Dict": "dict"}.get(head)
    return "any" if kind is None else kind + ("?" if nullable else "")


def type_of_value(value) -> str:
    if isinstance(value, bool):
        return "bool"
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind.__name__
    return "list" if isinstance(value, (list, ListConfig)) else "any"


def class_in(classes: dict, annotation: str):
    """The dataclass that an annotation names alone, Optional or not; None when there is none."""
    name = annotation.replace(" ", "").removeprefix("Optional[").removesuffix("]").removesuffix("|None").strip("'\"")
    return name if name in classes and classes[name][1] else None


def fields_of(classes: dict, name: str) -> dict:
    """Every field of a dataclass with its annotation, those of its bases too."""
    if name not in classes:
        return {}
    bases, own = classes[name]
    inherited: dict = {}
    for base in bases:
        inherited.update(fields_of(classes, base))
    return {**inherited, **own}


def add_fields(classes: dict, owner: str, prefix: str, present, addable: dict) -> None:
    """What the dataclass has and the composed group lacks. Fields that are dataclasses themselves are entered."""
    for field, annotation in fields_of(classes, owner).items():
        if field in present or field in FILLED_BY_VERL or field.startswith("_") or annotation.startswith(("ClassVar", "InitVar")):
            continue
        inner = class_in(classes, annotation)
        if inner is not None and inner != owner:
            add_fields(classes, inner, f"{prefix}{field}.", (), addable)
        else:
            addable[f"{prefix}{field}"] = type_of_annotation(annotation)


def flatten(config: DictConfig, classes: dict, prefix: str, out: dict, addable: dict, owner=None) -> None:
    target = OmegaConf.to_container(config, resolve=False).get("_target_")
    owner = target.split(".")[-1] if isinstance(target, str) else owner
    if owner is not None:
        add_fields(classes, owner, prefix, config, addable)
    for key in config:
        path = f"{prefix}{key}"
        if key in ("_target_", "hydra"):
            continue
        raw = OmegaConf.to_container(config, resolve=False)[key]
        node = config._get_node(key)
        annotated = None if owner is None else annotation_of(classes, owner, key)
        if isinstance(node, DictConfig) and raw is not None and not isinstance(raw, str):
            if len(node) == 0:
                out[path] = ["dict", {}]
            else:
                flatten(node, classes, path + ".", out, addable, None if annotated is None else class_in(classes, annotated))
            continue
        hinted = "any" if annotated is None else type_of_annotation(annotated)
        if isinstance(raw, str) and "${" in raw:
            default, kind = raw, hinted
            if kind == "any":
                try:
                    resolved = config[key]
                    kind = "any" if isinstance(resolved, DictConfig) else type_of_value(resolved)
                except Exception:  # an interpolation that only verl's own resolvers can follow
                    kind = "any"
        elif raw == "???":
            default, kind = "???", hinted
        elif raw is None:
            default, kind = None, hinted if hinted.endswith("?") or hinted == "any" else hinted + "?"
        else:
            default = raw
            kind = type_of_value(raw)
            # verl's own examples give fractions to keys whose default is a whole number, and null where the annotation says so.
            if hinted.rstrip("?") == "float" and kind == "int":
                kind = "float"
            if hinted.endswith("?"):
                kind += "?"
            if hinted == "any" and annotated is not None and kind != "bool":
                kind = "any"
        out[path] = [kind, default]


def decorators(package: Path, name: str):
    """Every call of that name which decorates a class or function, with the keyword arguments by name and the others by position."""
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == name:
                    yield {**dict(enumerate(call.args)), **{word.arg: word.value for word in call.keywords}}


def names_of(node) -> list:
    """The names that an argument gives: one or a list."""
    return [item.value for item in node.elts] if isinstance(node, ast.List) else [node.value]


def registered(package: Path) -> dict:
    algorithms = ast.parse((package / "trainer" / "ppo" / "core_algos.py").read_text(encoding="utf-8"))
    enumerated = {
        f"AdvantageEstimator.{item.targets[0].id}": item.value.value
        for node in ast.walk(algorithms) if isinstance(node, ast.ClassDef) and node.name == "AdvantageEstimator"
        for item in node.body if isinstance(item, ast.Assign)
    }
    estimators = [call[0] for call in decorators(package / "trainer" / "ppo", "register_adv_est")]
    engines: dict = {}
    for call in decorators(package / "workers" / "engine", "EngineRegistry.register"):
        for backend in names_of(call.get("backend", call.get(1))):
            devices = engines.setdefault(call.get("model_type", call.get(0)).value, {}).setdefault(backend, [])
            devices.extend(names_of(call.get("device", call.get(2, ast.Constant("cuda")))))
    return {
        "estimators": sorted(name.value if isinstance(name, ast.Constant) else enumerated[ast.unparse(name)] for name in estimators),
        "losses": sorted(call[0].value for call in decorators(package / "trainer" / "ppo", "register_policy_loss")),
        "aggregations": sorted({value for node in ast.walk(algorithms) if isinstance(node, ast.FunctionDef) and node.name == "agg_loss" for value in compared(node, "loss_agg_mode")}),
        "engines": {model: {backend: sorted(set(devices)) for backend, devices in sorted(by.items())} for model, by in sorted(engines.items())},
    }


def compared(function, name: str):
    """The texts that a function compares its argument of that name with."""
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and ast.unparse(node.left) == name:
            for other in node.comparators:
                yield from [item.value for item in other.elts] if isinstance(other, (ast.List, ast.Tuple, ast.Set)) else [other.value]


def main() -> None:
    root, version = Path(sys.argv[1]).resolve(), sys.argv[2]
    folder = root / "verl" / "trainer" / "config"
    classes = dataclass_annotations(root / "verl")
    for name in ("get_megatron_config",):  # resolvers that only exist inside verl; composing does not call them
        OmegaConf.register_new_resolver(name, lambda *_: None, replace=True)
    configs, addable = {}, {}
    for label, overrides in CONFIGS.items():
        name = label.split("+")[0]
        if not (folder / f"{name}.yaml").exists() or not all((folder / f"{word.replace('=', '/')}.yaml").exists() for word in overrides):
            continue
        GlobalHydra.instance().clear()
        with initialize_config_dir(config_dir=str(folder), version_base=None):
            config = compose(config_name=name, overrides=overrides)
        OmegaConf.set_readonly(config, True)
        keys: dict = {}
        added: dict = {}
        flatten(config, classes, "", keys, added)
        configs[label] = dict(sorted(keys.items()))
        addable[label] = dict(sorted(added.items()))
    print(json.dumps({"version": version, "registered": registered(root / "verl"), "configs": configs, "addable": addable}, ensure_ascii=False, separators=(",", ":")))


main()
