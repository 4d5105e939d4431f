"""Composes launches with the configurations of their verl and says what Hydra thinks of each.

stdin: one JSON object a line, {"version", "config", "overrides"}. Usage: compose_launches.py <folder with one folder per version>.
stdout: one line each, null or Hydra's refusal as a JSON string. Values are resolved as far as they stand on their own, so that quoting is judged too:
with "expect": {key: value} the composed value must equal.
"""

import json
import sys
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf


def judge(folder: Path, launch: dict):
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder / launch["version"] / "verl" / "trainer" / "config"), version_base=None):
        try:
            config = compose(config_name=launch["config"], overrides=launch["overrides"])
        except Exception as error:  # any refusal of Hydra's is an answer
            return str(error).split("\n")[0]
    for key, wanted in launch.get("expect", {}).items():
        found = OmegaConf.select(config, key)
        found = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
        if found != wanted:
            return f"{key} is {found!r}, not {wanted!r}"
    return None


for line in sys.stdin:
    print(json.dumps(judge(Path(sys.argv[1]), json.loads(line))), flush=True)
