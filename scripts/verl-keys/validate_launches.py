"""Composes launches with the configurations of one verl and asks that verl's own validate_config about each, as its RL trainer does when it starts.

stdin: one JSON object a line, {"config", "overrides", "lora"}. Usage: validate_launches.py <folder that holds the package verl>, with an interpreter that has what verl imports.
stdout: one line each, null or the refusal as a JSON string.
"""

import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from verl.trainer.ppo.utils import need_critic
from verl.utils.config import validate_config


def judge(launch: dict):
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(folder / "verl" / "trainer" / "config"), version_base=None):
        config = compose(config_name=launch["config"], overrides=launch["overrides"])
    reference = bool(config.algorithm.get("use_kl_in_reward", False) or config.actor_rollout_ref.actor.use_kl_loss)
    try:
        validate_config(config=config, use_reference_policy=reference, use_critic=need_critic(config))
    except Exception as error:  # any refusal of verl's is an answer
        if launch.get("lora") and "vllm version None not supported" in str(error):
            return None  # the very last rule, that vLLM takes the adapter's rank, asks vLLM itself, which is not installed beside verl on a processor
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return None


answers = [judge(json.loads(line)) for line in sys.stdin]
for answer in answers:
    print("answer " + json.dumps(answer), flush=True)  # verl prints lines of its own
