"""Writes a checkpoint as verl's VeOmni engine does: FSDP2 over a mesh that has VeOmni's names, one file per rank. Under torchrun: <model folder> <target folder> <mesh names, one comma apart>.

The weights are moved by a hundredth first, so that a merge that took the base would show. The last rank's weights are written as they were before for comparison: expected.safetensors.
"""

import json
import os
import sys

import torch
import torch.distributed as distributed
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import AutoModelForCausalLM, AutoTokenizer

source, target, names = sys.argv[1], sys.argv[2], tuple(sys.argv[3].split(","))
distributed.init_process_group("gloo")
rank, size = distributed.get_rank(), distributed.get_world_size()
model = AutoModelForCausalLM.from_pretrained(source).float()
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(0.01)
os.makedirs(os.path.join(target, "huggingface"), exist_ok=True)
if rank == 0:
    model.config.save_pretrained(os.path.join(target, "huggingface"))
    AutoTokenizer.from_pretrained(source).save_pretrained(os.path.join(target, "huggingface"))
    with open(os.path.join(target, "fsdp_config.json"), "w", encoding="utf-8") as file:
        json.dump({"FSDP_version": 2, "world_size": size}, file)
    save_file({name: value.to(torch.bfloat16).contiguous().clone() for name, value in model.state_dict().items()}, os.path.join(target, "expected.safetensors"))
shape = (size,) if len(names) == 1 else (1, size)
fully_shard(model, mesh=init_device_mesh("cpu", shape, mesh_dim_names=names))
torch.save(model.state_dict(), os.path.join(target, f"model_world_size_{size}_rank_{rank}.pt"))
distributed.barrier()
distributed.destroy_process_group()
