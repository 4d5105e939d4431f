"""Compares models by what they compute. One argument, a JSON object: `base` and `model` are Hugging Face folders; with `checkpoint`, a verl checkpoint of a low-rank adapter, the
adapter is taken from verl's own merger and put beside the base by PEFT; with `adapter`, a folder of PEFT, that one. Last line of standard output: how far the logits are apart.
"""

import json
import os
import subprocess
import sys
import tempfile

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


def with_merged_adapter(base, checkpoint):
    with tempfile.TemporaryDirectory() as merged:
        subprocess.run([sys.executable, "-m", "verl.model_merger", "merge", "--backend", "fsdp", "--local_dir", checkpoint, "--target_dir", merged], check=True, stdout=sys.stderr)
        return with_adapter(base, os.path.join(merged, "lora_adapter"))


if __name__ == "__main__":
    question = json.loads(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(question["model"])
    model, base = load(question["model"]), load(question["base"])
    answer = {"finite": all(torch.isfinite(weight).all().item() for weight in model.parameters()), "fromBase": apart(logits(model, tokenizer), logits(base, tokenizer))}
    if "checkpoint" in question:
        answer["fromAdapter"] = apart(logits(model, tokenizer), logits(with_merged_adapter(question["base"], question["checkpoint"]), tokenizer))
    if "adapter" in question:
        answer["fromAdapter"] = apart(logits(model, tokenizer), logits(with_adapter(question["base"], question["adapter"]), tokenizer))
    print(json.dumps(answer))
