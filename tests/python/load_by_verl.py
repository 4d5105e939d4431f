"""Loads a stage's files by verl's own data set classes and its scorer, and tells what a training run would see.

usage: load_by_verl.py TOKENIZER SFT.parquet RL.parquet SCORED.parquet. Prints one line of JSON:
{"sft": [{"text", "trained"}, ...], "rl": [{"prompt", "data_source", "ground_truth", "index", "text"}, ...], "scores": {"right": [...], "wrong": [...]}}
"""

import json
import os
import sys
import tempfile

from omegaconf import OmegaConf
from verl.utils import hf_tokenizer
from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.reward_score import default_compute_score

LENGTH = 100_000


def load_sft(tokenizer, path):
    config = OmegaConf.create({"pad_mode": "no_padding", "truncation": "error", "max_length": LENGTH})
    data = MultiTurnSFTDataset(parquet_files=path, tokenizer=tokenizer, config=config)
    rows = []
    for index in range(len(data)):
        row = data[index]
        ids, mask = row["input_ids"], row["loss_mask"].bool()
        rows.append({"text": tokenizer.decode(ids), "trained": tokenizer.decode(ids[mask])})
    return rows


def rl_data(tokenizer, path):
    config = OmegaConf.create({"max_prompt_length": LENGTH, "filter_overlong_prompts": True, "filter_overlong_prompts_workers": 1, "truncation": "error", "cache_dir": tempfile.mkdtemp(dir=os.environ.get("HF_HOME"))})
    return RLHFDataset(data_files=path, tokenizer=tokenizer, config=config)


def load_rl(tokenizer, path):
    data, rows = rl_data(tokenizer, path), []
    for index in range(len(data)):
        row = data[index]
        ids = tokenizer.apply_chat_template(row["raw_prompt"], add_generation_prompt=True, tokenize=True)
        rows.append({"prompt": row["raw_prompt"], "data_source": row["data_source"], "ground_truth": row["reward_model"]["ground_truth"], "index": row["index"], "text": tokenizer.decode(ids)})
    return rows


def scores(tokenizer, path):
    """What verl's own scorer gives for the right answer, and for another."""
    found = {"right": [], "wrong": []}
    for row in rl_data(tokenizer, path):
        truth = row["reward_model"]["ground_truth"]
        for name, answer in (("right", truth), ("wrong", f"{truth}1")):
            found[name].append(float(default_compute_score(row["data_source"], f"Let me think.\n#### {answer}", truth)))
    return found


if __name__ == "__main__":
    tokenizer = hf_tokenizer(sys.argv[1])
    print(json.dumps({"sft": load_sft(tokenizer, sys.argv[2]), "rl": load_rl(tokenizer, sys.argv[3]), "scores": scores(tokenizer, sys.argv[4])}))
