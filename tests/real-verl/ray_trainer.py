"""What verl's main_ppo would do as far as a cluster sees it: joins it by RAY_ADDRESS, uses every GPU of it, logs steps and leaves a checkpoint."""

import os
import re
import sys
import time

import ray

arguments = {key.lstrip("+"): value.strip("'") for key, value in (word.split("=", 1) for word in sys.argv if re.match(r"[+\w.]+=", word))}
ray.init(runtime_env={"env_vars": {"TOKENIZERS_PARALLELISM": "true"}})
gpus = int(ray.cluster_resources().get("GPU", 0))


@ray.remote(num_gpus=1, num_cpus=0)
def where() -> str:
    time.sleep(1)
    return ray.get_runtime_context().get_node_id()


nodes = len(set(ray.get([where.remote() for _ in range(gpus)])))
steps = 4
print(f"Total training steps: {steps}", flush=True)
for step in range(1, steps + 1):
    if os.environ.get("HANG_AFTER_STEP") == str(step - 1):
        time.sleep(600)
    if step % int(arguments["trainer.save_freq"]) == 0:
        folder = os.path.join(arguments["trainer.default_local_dir"], f"global_step_{step}", "actor")
        os.makedirs(folder)
        for rank in range(gpus):
            for kind in ("model", "optim", "extra_state"):
                open(os.path.join(folder, f"{kind}_world_size_{gpus}_rank_{rank}.pt"), "w").close()
        with open(os.path.join(folder, "fsdp_config.json"), "w") as file:
            file.write("{}")
        with open(os.path.join(arguments["trainer.default_local_dir"], "latest_checkpointed_iteration.txt"), "w") as file:
            file.write(str(step))
    print(f"\x1b[36m(TaskRunner pid=1)\x1b[0m step:{step} - actor/pg_loss:0.5 - cluster/gpus:{gpus} - cluster/nodes_used:{nodes}", flush=True)
