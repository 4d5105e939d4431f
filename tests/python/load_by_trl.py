"""Lets TRL's DPO trainer load a stage's preference files and take one step on a processor with a tiny model.

usage: load_by_trl.py MODEL OUTPUT CASES.json, where CASES is {name: {"train": path, "validation": path}}. Prints one line of JSON:
{name: {"train": [{"prompt", "chosen", "rejected"}, ...], "validation": [...], "loss": number}}
"""

import json
import sys

from datasets import disable_progress_bars, load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer

LENGTH = 100_000


def load_case(model, output, files):
    tokenizer = AutoTokenizer.from_pretrained(model)
    data = load_dataset("parquet", data_files=files)
    config = DPOConfig(output_dir=output, use_cpu=True, bf16=False, max_steps=1, per_device_train_batch_size=2, report_to=[], save_strategy="no", disable_tqdm=True, max_length=LENGTH, max_prompt_length=LENGTH)
    trainer = DPOTrainer(AutoModelForCausalLM.from_pretrained(model), args=config, train_dataset=data["train"], eval_dataset=data["validation"], processing_class=tokenizer)
    sides = {
        split: [{part: tokenizer.decode(row[f"{part}_input_ids"]) for part in ("prompt", "chosen", "rejected")} for row in prepared]
        for split, prepared in (("train", trainer.train_dataset), ("validation", trainer.eval_dataset))
    }
    return {**sides, "loss": trainer.train().training_loss}


if __name__ == "__main__":
    disable_progress_bars()
    with open(sys.argv[3], encoding="utf-8") as file:
        cases = json.load(file)
    print(json.dumps({name: load_case(sys.argv[1], sys.argv[2], files) for name, files in cases.items()}))
