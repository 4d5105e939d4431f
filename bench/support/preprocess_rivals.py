"""The job of bench:preprocess by other tools: read JSON lines, leave out broken rows, unknown roles, over-long rows and repeated ones, split by hash, write two nested
Parquet files. Prints one JSON line: rows kept, CPU seconds, peak memory.

usage: preprocess_rivals.py duckdb|pandas|datasets|polars INPUT.jsonl OUTPUT_FOLDER MAX_CHARS

Each does it as its own documentation would; none tells which line was left out and why.
"""

import hashlib
import json
import os
import resource
import sys

ROLES = ("system", "user", "assistant", "tool")
SOURCE = "openai/gsm8k"
VALIDATION = 200  # of 10,000


def row_of(line, max_chars, seen, index):
    """The row that a line becomes; None when it is left out. For tools that give each row to Python."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    prompt = value["prompt"]
    if any(message["role"] not in ROLES for message in prompt) or sum(len(message["content"]) for message in prompt) > max_chars:
        return None
    digest = hashlib.sha256(json.dumps([prompt, value["ground_truth"]], ensure_ascii=False).encode()).digest()
    if digest in seen:
        return None
    seen.add(digest)
    split = "validation" if int.from_bytes(digest[:4], "big") % 10_000 < VALIDATION else "train"
    return {
        "data_source": SOURCE, "prompt": prompt, "ability": "math", "reward_model": {"style": "rule", "ground_truth": value["ground_truth"]},
        "extra_info": {"split": split, "index": index, "question": prompt[-1]["content"]},
    }


def arrow_schema():
    import pyarrow as pa

    text = pa.string()
    return pa.schema([
        ("data_source", text), ("prompt", pa.list_(pa.struct([("role", text), ("content", text)]))), ("ability", text),
        ("reward_model", pa.struct([("style", text), ("ground_truth", text)])), ("extra_info", pa.struct([("split", text), ("index", pa.int64()), ("question", text)])),
    ])


def run_pandas(source, folder, max_chars):
    import pandas

    seen, sides = set(), {"train": [], "validation": []}
    with open(source, encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            row = row_of(line, max_chars, seen, index)
            if row is not None:
                sides[row["extra_info"]["split"]].append(row)
    for split, rows in sides.items():
        pandas.DataFrame(rows).to_parquet(f"{folder}/{split}.parquet", schema=arrow_schema(), row_group_size=2_000)
    return {split: len(rows) for split, rows in sides.items()}


def run_datasets(source, folder, max_chars):
    import datasets

    datasets.disable_progress_bars()
    text = datasets.Value("string")
    features = datasets.Features({
        "data_source": text, "prompt": [{"role": text, "content": text}], "ability": text, "reward_model": {"style": text, "ground_truth": text},
        "extra_info": {"split": text, "index": datasets.Value("int64"), "question": text},
    })
    seen = set()

    def convert(batch, indices):
        rows = [row for row in (row_of(line, max_chars, seen, index) for line, index in zip(batch["text"], indices)) if row is not None]
        return {name: [row[name] for row in rows] for name in features}

    lines = datasets.load_dataset("text", data_files=source, split="train", cache_dir=f"{folder}/cache")
    rows = lines.map(convert, batched=True, with_indices=True, remove_columns=["text"], features=features)
    counts = {}
    for split in ("train", "validation"):
        side = rows.filter(lambda batch: [info["split"] == split for info in batch], batched=True, input_columns="extra_info")
        side.to_parquet(f"{folder}/{split}.parquet", batch_size=2_000)
        counts[split] = len(side)
    return counts


def run_duckdb(source, folder, max_chars):
    import duckdb

    database = duckdb.connect()
    database.execute(f"SET temp_directory = '{folder}/spill'")
    database.execute(f"""
        CREATE TABLE kept AS
        WITH lines AS (
          SELECT row_number() OVER () AS number, prompt, ground_truth
          FROM read_ndjson('{source}', columns = {{prompt: 'STRUCT(role VARCHAR, content VARCHAR)[]', ground_truth: 'VARCHAR'}}, ignore_errors = true)
          WHERE prompt IS NOT NULL
        ), sound AS (
          SELECT *, sha256(to_json([prompt::JSON, to_json(ground_truth)])::VARCHAR) AS digest FROM lines
          WHERE len(list_filter(prompt, lambda m: m.role NOT IN {ROLES})) = 0 AND list_sum(list_transform(prompt, lambda m: length(m.content))) <= {max_chars}
        )
        SELECT number, prompt, ground_truth, CASE WHEN hash(digest) % 10000 < {VALIDATION} THEN 'validation' ELSE 'train' END AS split
        FROM sound QUALIFY row_number() OVER (PARTITION BY digest ORDER BY number) = 1
    """)
    for split in ("train", "validation"):
        database.execute(f"""
            COPY (
              SELECT '{SOURCE}' AS data_source, prompt, 'math' AS ability, {{style: 'rule', ground_truth: ground_truth}} AS reward_model, {{split: split, index: number, question: prompt[-1].content}} AS extra_info
              FROM kept WHERE split = '{split}' ORDER BY number
            ) TO '{folder}/{split}.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2000)
        """)
    return dict(database.execute("SELECT split, count(*) FROM kept GROUP BY split").fetchall())


def run_polars(source, folder, max_chars):
    import polars as pl

    row = pl.Struct({"prompt": pl.List(pl.Struct({"role": pl.String, "content": pl.String})), "ground_truth": pl.String})
    message = pl.element().struct
    lines = pl.read_csv(source, has_header=False, new_columns=["line"], separator="\x01", quote_char=None, schema={"line": pl.String}).with_row_index("number")
    # json_decode ends at a broken line, json_path_match gives null there.
    sound = lines.filter(pl.col("line").str.json_path_match("$.prompt").is_not_null()).with_columns(pl.col("line").str.json_decode(row).alias("row")).drop("line").unnest("row")
    kept = (
        sound.filter(pl.col("prompt").list.eval(message.field("role").is_in(ROLES)).list.all() & (pl.col("prompt").list.eval(message.field("content").str.len_chars()).list.sum() <= max_chars))
        .with_columns(pl.struct("prompt", "ground_truth").hash().alias("digest"))
        .unique("digest", keep="first", maintain_order=True)
        .with_columns(pl.when(pl.col("digest") % 10_000 < VALIDATION).then(pl.lit("validation")).otherwise(pl.lit("train")).alias("split"))
    )
    written = kept.select(
        pl.lit(SOURCE).alias("data_source"), "prompt", pl.lit("math").alias("ability"), pl.struct(pl.lit("rule").alias("style"), "ground_truth").alias("reward_model"),
        pl.struct("split", pl.col("number").cast(pl.Int64).alias("index"), pl.col("prompt").list.last().struct.field("content").alias("question")).alias("extra_info"),
    )
    counts = {}
    for split in ("train", "validation"):
        side = written.filter(pl.col("extra_info").struct.field("split") == split)
        side.write_parquet(f"{folder}/{split}.parquet", row_group_size=2_000, compression="snappy")
        counts[split] = side.height
    return counts


def peak_mb():
    """What this program itself had at most: on Linux ru_maxrss counts what the starting process had."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    tool, source, folder, max_chars = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    counts = {"duckdb": run_duckdb, "pandas": run_pandas, "datasets": run_datasets, "polars": run_polars}[tool](source, folder, int(max_chars))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"train": counts["train"], "validation": counts["validation"], "cpuSeconds": usage.ru_utime + usage.ru_stime, "peakMb": peak_mb()}))
