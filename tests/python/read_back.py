"""Reads pairs of Parquet files by the three libraries that people train with, and tells what each saw.

usage: read_back.py CASES.json, where CASES is {name: {"train": path, "validation": path}}. Prints one line of JSON:
{name: {"rows": {library: {split: [row, ...]}}, "schema": [[column, type], ...], "sameSchema": bool, "sameFeatures": bool}}
"""

import json
import sys

import datasets
import numpy
import pandas
import pyarrow.parquet as parquet


def plain(value):
    """numpy's arrays and scalars, as pandas gives nested columns, as lists and numbers."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, numpy.ndarray)):
        return [plain(inner) for inner in value]
    if isinstance(value, numpy.generic):
        return value.item()
    return value


def read_case(files):
    tables = {split: parquet.read_table(path) for split, path in files.items()}
    # As verl's SFT and RL data sets load them.
    frames = {split: pandas.read_parquet(path) for split, path in files.items()}
    loaded = {split: datasets.load_dataset("parquet", data_files=path)["train"] for split, path in files.items()}
    datasets.concatenate_datasets(list(loaded.values()))
    together = datasets.load_dataset("parquet", data_files=files)
    train, validation = tables["train"].schema, tables["validation"].schema
    return {
        "rows": {
            "pyarrow": {split: table.to_pylist() for split, table in tables.items()},
            "pandas": {split: [plain(row) for row in frame.to_dict("records")] for split, frame in frames.items()},
            "datasets": {split: list(loaded[split]) for split in loaded},
        },
        "schema": [[field.name, str(field.type)] for field in train],
        "sameSchema": train.equals(validation, check_metadata=False),
        "sameFeatures": together["train"].features == together["validation"].features,
    }


if __name__ == "__main__":
    datasets.disable_progress_bars()
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    print(json.dumps({name: read_case(files) for name, files in cases.items()}))
