"""Counts the tokens of each row of SFT files by Hugging Face's own tokenizers, without special ones.

usage: count_tokens.py TOKENIZER SFT.parquet... Prints one line of JSON: [[tokens of a row, ...] for each file]
"""

import json
import sys

import pyarrow.parquet as parquet
from transformers import AutoTokenizer


def count_rows(tokenizer, path):
    rows = parquet.read_table(path).to_pylist()
    return [sum(len(tokenizer.encode(message["content"], add_special_tokens=False)) for message in row["messages"]) for row in rows]


if __name__ == "__main__":
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    print(json.dumps([count_rows(tokenizer, path) for path in sys.argv[2:]]))
