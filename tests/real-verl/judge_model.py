"""Compares models by what they compute. One argument, a JSON object: `base` and `model` are Hugging Face folders; with `checkpoint`, a verl checkpoint of a low-rank adapter by
one rank, that adapter is added to the base by hand; with `adapter`, a folder of PEFT, that one. Last line of standard output: how far the logits are apart.
"""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = "<|im_start|>user\nReport from the mill, day 3?<|im_end|>\n<|im_start|>assistant\nAll is well.<|im_end|>\n"


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder).float().eval()


@torch.no_grad()
def logits(model, tokenizer):
    return model(**tokenizer(TEXT, return_tensors="pt", return_token_type_ids=False)).logits


def apart(one, other):
    return (one - other).abs().max().item()


def with_adapter(base, adapter):
    from peft import PeftModel

    return PeftModel.from_pretrained(load(base), adapter).float().eval()


@torch.no_grad()
def with_shards(base, checkpoint):
    """By hand, without any merger: the weights of the one shard, and alpha and rank as the trainer noted them."""
    shard = torch.load(os.path.join(checkpoint, "model_world_size_1_rank_0.pt"), weights_only=False)
    weights = {name: (value.to_local() if hasattr(value, "to_local") else value).float() for name, value in shard.items()}
    with open(os.path.join(checkpoint, "lora_train_meta.json"), encoding="utf-8") as file:
        noted = json.load(file)
    model = load(base)
    for name, weight in weights.items():
        if ".lora_A." in name:
            place = model.get_submodule(name.removeprefix("base_model.model.").split(".lora_A.")[0])
            place.weight += weights[name.replace(".lora_A.", ".lora_B.")] @ weight * (noted["lora_alpha"] / noted["r"])
    return model


if __name__ == "__main__":
    question = json.loads(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(question["model"])
    model, base = load(question["model"]), load(question["base"])
    answer = {"finite": all(torch.isfinite(weight).all().item() for weight in model.parameters()), "fromBase": apart(logits(model, tokenizer), logits(base, tokenizer))}
    if "checkpoint" in question:
        answer["fromAdapter"] = apart(logits(model, tokenizer), logits(with_shards(question["base"], question["checkpoint"]), tokenizer))
    if "adapter" in question:
        answer["fromAdapter"] = apart(logits(model, tokenizer), logits(with_adapter(question["base"], question["adapter"]), tokenizer))
    print(json.dumps(answer))
