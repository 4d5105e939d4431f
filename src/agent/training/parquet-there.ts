// What a Parquet file on another machine tells of itself: its ends are read there, the rows stay.

import { describeEnds, type ParquetFile } from "../../data/read/parquet-file.js";
import type { FindOptions } from "./run-data.js";

const ASK_MS = 120_000;
/** Longest end that is brought, in bytes. */
const MOST_BYTES = 32 * 1024 * 1024;

/** Null, and said, when the file cannot be looked at: the trainer will tell. Throws UnreadableFileError, and the signal's reason. */
export async function describeThere(path: string, { place, python, environment, signal, say }: Omit<FindOptions, "owner">): Promise<Pick<ParquetFile, "rows" | "columns"> | null> {
  const answer = await place.ask({ argv: [...python, "-c", READ_ENDS, path, String(MOST_BYTES)], environment, timeoutMs: ASK_MS, signal });
  signal.throwIfAborted();
  if (answer.kind !== "answered" || answer.status !== 0) {
    say(`${path} could not be looked at on ${place.name}: ${(answer.kind === "answered" ? (answer.stderr.trim().split("\n").at(-1) ?? "") : answer.why).slice(0, 500)}`);
    return null;
  }
  const { size, head, tail } = JSON.parse(answer.stdout) as { size: number; head: string; tail: string };
  return describeEnds(path, { sizeBytes: size, head: Buffer.from(head, "base64"), tail: Buffer.from(tail, "base64") });
}

/** The first four bytes, and the last half mebibyte or as much as the description takes. */
const READ_ENDS = `
import base64, json, os, struct, sys
path, most = sys.argv[1], int(sys.argv[2])
with open(path, "rb") as file:
    size = os.fstat(file.fileno()).st_size
    head = file.read(4)
    file.seek(max(0, size - 8))
    end = file.read(8)
    wanted = 524288
    if len(end) == 8 and end[4:] == b"PAR1":
        wanted = max(wanted, struct.unpack("<I", end[:4])[0] + 8)
    file.seek(max(0, size - min(wanted, most)))
    tail = file.read(min(wanted, most))
text = lambda raw: base64.b64encode(raw).decode()
print(json.dumps({"size": size, "head": text(head), "tail": text(tail)}))
`;
