// Writes a tar archive (POSIX ustar, with a pax record where a path is too long for it) that depends on paths, modes and contents alone: no times, no owners.
// Read by Python's tarfile on hosts (deploy-program.ts).

export interface TarEntry {
  /** Relative, with /. */
  readonly path: string;
  readonly executable: boolean;
  readonly content: Buffer;
}

const BLOCK = 512;

/** The archive, piece by piece. */
export function* tarArchive(entries: Iterable<TarEntry>): Generator<Buffer> {
  for (const { path, executable, content } of entries) {
    const name = splitName(path);
    if (name === null) {
      const record = paxRecord("path", path);
      yield header({ name: "pax", prefix: "" }, record.length, 0o644, "x");
      yield padded(record);
    }
    yield header(name ?? { name: Buffer.from(path).subarray(0, 99).toString("latin1"), prefix: "" }, content.length, executable ? 0o755 : 0o644, "0");
    yield padded(content);
  }
  yield Buffer.alloc(BLOCK * 2);
}

/** Name of up to 100 bytes and prefix of up to 155, cut at a slash; null when there is no such cut. */
function splitName(path: string): { readonly name: string; readonly prefix: string } | null {
  if (!/^[\x20-\x7e]+$/.test(path)) return null;
  if (path.length <= 100) return { name: path, prefix: "" };
  for (let slash = path.indexOf("/"); slash > 0; slash = path.indexOf("/", slash + 1)) {
    if (slash <= 155 && path.length - slash - 1 <= 100) return { name: path.slice(slash + 1), prefix: path.slice(0, slash) };
  }
  return null;
}

function header({ name, prefix }: { name: string; prefix: string }, size: number, mode: number, type: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, "0")}\0`;
  block.write(name, 0, 100, "latin1");
  block.write(octal(mode, 7), 100);
  block.write(octal(0, 7), 108); // owner
  block.write(octal(0, 7), 116); // group
  block.write(octal(size, 11), 124);
  block.write(octal(0, 11), 136); // time
  block.write("        ", 148);
  block.write(type, 156);
  block.write("ustar\u000000", 257, "latin1");
  block.write(prefix, 345, 155, "latin1");
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

function padded(content: Buffer): Buffer {
  return Buffer.concat([content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]);
}

/** `<length> <key>=<value>\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + 1;
  while (String(length).length + rest !== length) length = String(length).length + rest;
  return Buffer.from(`${length} ${key}=${value}\n`);
}
