"""Trains nothing, on a real Ray cluster: what stands in for verl.trainer.main_ppo where there is no GPU.

It joins the cluster that it is told of, takes every GPU of every node at once, and then does for `trainer.total_training_steps` steps what verl's own does around the
training: metrics printed by a Ray actor, shards of every rank, the tracker written in place behind them, and going on from a checkpoint.
"""

import json
import os
import sys
import time

import ray

STEP_SECONDS = 0.5


def override(key, fallback=None):
    for argument in sys.argv[1:]:
        name, _, value = argument.lstrip("+").partition("=")
        if name == key:
            return value.strip("'")
    return fallback


@ray.remote(num_cpus=0, num_gpus=1)
class Rank:
    """One GPU's worth of a training; sits where its GPU is."""

    def node(self):
        return ray.get_runtime_context().get_node_id()

    def save(self, folder, world, rank):
        for kind in ("model", "optim", "extra_state"):
            with open(os.path.join(folder, f"{kind}_world_size_{world}_rank_{rank}.pt"), "wb") as file:
                file.write(b"stand-in")


@ray.remote(num_cpus=1)
class TaskRunner:
    def run(self, folder, nodes, gpus, steps, every, start):
        world = nodes * gpus
        ranks = [Rank.remote() for _ in range(world)]
        seats = ray.get([rank.node.remote() for rank in ranks])
        print(f"ranks by node: {sorted(seats.count(node) for node in set(seats))}", flush=True)
        print(f"Total training steps: {steps}", flush=True)
        for step in range(start + 1, steps + 1):
            time.sleep(STEP_SECONDS)
            print(f"step:{step} - actor/pg_loss:{1 / step} - actor/entropy:1.0 - critic/score/mean:{step / steps} - training/global_step:{step}", flush=True)
            if step % every == 0 or step == steps:
                actor = os.path.join(folder, f"global_step_{step}", "actor")
                os.makedirs(actor, exist_ok=True)
                with open(os.path.join(actor, "fsdp_config.json"), "w") as file:
                    json.dump({"FSDP_version": 2, "world_size": world}, file)
                ray.get([rank.save.remote(actor, world, position) for position, rank in enumerate(ranks)])
                with open(os.path.join(folder, "latest_checkpointed_iteration.txt"), "w") as file:
                    file.write(str(step))


def main():
    ray.init(address=os.environ["RAY_ADDRESS"])
    resume = override("trainer.resume_from_path") if override("trainer.resume_mode") == "resume_path" else None
    start = 0 if resume is None else int(resume.rstrip("/").rsplit("_", 1)[-1])
    runner = TaskRunner.remote()
    settings = [int(override(f"trainer.{name}")) for name in ("nnodes", "n_gpus_per_node", "total_training_steps", "save_freq")]
    ray.get(runner.run.remote(override("trainer.default_local_dir"), *settings, start))


if __name__ == "__main__":
    main()
