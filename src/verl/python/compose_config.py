"""Composes verl's configuration with the overrides of a launch, as verl itself would, and starts nothing.

Standard input: {"config": name, "overrides": [argument, ...]}. Last line of standard output: {"problem": null or what Hydra says}.
Imports hydra and nothing of verl: neither torch nor a GPU is needed.
"""

import importlib.util
import json
import os
import sys


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf
    except ImportError as error:
        print(json.dumps({"problem": f"{error}. Install what verl requires (hydra-core, omegaconf).", "missing": True}))
        return
    found = importlib.util.find_spec("verl")
    if found is None or not found.submodule_search_locations:
        print(json.dumps({"problem": "this interpreter has no verl", "missing": True}))
        return
    folder = os.path.abspath(os.path.join(list(found.submodule_search_locations)[0], "trainer", "config"))
    OmegaConf.register_new_resolver("get_megatron_config", lambda *_: None, replace=True)  # exists only inside verl
    try:
        with initialize_config_dir(config_dir=folder, version_base=None):
            compose(config_name=asked["config"], overrides=asked["overrides"])
    except Exception as error:  # whatever Hydra raises is what the launch would end with
        cause = error.__cause__
        text = str(error) if cause is None else f"{error}: {cause}"
        print(json.dumps({"problem": " ".join(text.split())[:2000]}))
        return
    print(json.dumps({"problem": None}))


main()
