// Files to and from an SSH host beside the sftp command, over loopback to a real sshd. One JSON line per run; judges nothing but that every byte arrived.
//   npm run bench:ssh -- [--size 1GB|200MB] [--rounds 3]
// Each round: sftp put, our push, sftp get, our fetch, each after a sync: what one leaves to be written would otherwise be paid by the next. sftp logs in each time; ours makes its connections for files each time, beside the helper's, which is always up. Ours includes the comparison of sha256 on both sides and fsync; sftp compares and
// syncs nothing. Then one push and one fetch of the same size, each cut in the middle of the file. The sha256 of the file is told to the push, as that of a registered data set is.

import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, createReadStream, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { openFileSync, type FileSync } from "../src/hosts/file-sync.js";
import { openHostLink } from "../src/hosts/host-link.js";
import { startCutLine } from "../tests/support/cut-line.js";
import { sshdIsHere, startSshd } from "../tests/support/sshd.js";
import { option, round } from "./support/rig.js";

if (!sshdIsHere) process.exit(1);
const bytes = bytesOf(option("size", "1GB"));
const rounds = Number(option("rounds", "3"));
const folder = mkdtempSync(join(tmpdir(), "trainyard-bench-"));
const sshd = await startSshd();
const line = await startCutLine(sshd.port);

function bytesOf(text: string): number {
  const parts = /^(\d+)(MB|GB)$/.exec(text);
  if (parts === null) throw new Error(`--size ${text}: give it as 200MB or 1GB`);
  return Number(parts[1]) * (parts[2] === "GB" ? 1e9 : 1e6);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return hash.digest("hex");
}

function sftp(order: string): void {
  writeFileSync(join(folder, "order"), `${order}\n`);
  execFileSync("sftp", ["-q", "-b", join(folder, "order"), "-P", String(sshd.port), "-i", join(folder, "key"), "-o", "StrictHostKeyChecking=no", "-o", `UserKnownHostsFile=${join(folder, "known")}`, "127.0.0.1"], { stdio: ["ignore", "ignore", "inherit"] });
}

/** Over a link of its own, whose helper is up before the clock starts. Resolves with what came of it and the seconds that it took. */
async function ours<T>(port: number, work: (files: FileSync) => Promise<T>): Promise<{ readonly done: T; readonly took: number }> {
  const access = sshd.access({ port });
  const link = openHostLink({ name: "bench", access: async () => access, directory: join(sshd.folder, "work"), pythonEnvironment: null });
  const files = openFileSync(link);
  try {
    await link.helper();
    execFileSync("sync");
    const begun = performance.now();
    return { done: await work(files), took: (performance.now() - begun) / 1_000 };
  } finally {
    files.close();
    link.close();
  }
}

function seconds(work: () => void): number {
  execFileSync("sync");
  const begun = performance.now();
  work();
  return (performance.now() - begun) / 1_000;
}

function must(same: boolean, what: string): void {
  if (!same) throw new Error(`${what} has another content`);
}

const told = (run: string, figures: object): void => console.log(JSON.stringify({ bench: "ssh", run, bytes, ...figures, load: round(loadavg()[0]!) }));
const perSecond = (s: number): number => round(bytes / 1e6 / s);

try {
  writeFileSync(join(folder, "key"), sshd.privateKey, { mode: 0o600 });
  const [source, there, back] = [join(folder, "source.bin"), join(sshd.folder, "there"), join(folder, "back")];
  mkdirSync(there);
  const out = openSync(source, "w");
  for (let left = bytes; left > 0; left -= 1e6) writeSync(out, randomBytes(Math.min(left, 1e6)));
  closeSync(out);
  const sha256 = await hashOf(source);
  const forget = (): void => { for (const path of [join(sshd.folder, "work", "store"), back, join(folder, "got")]) rmSync(path, { recursive: true, force: true }); };
  const push = (port: number) => ours(port, (files) => files.push({ path: source, sha256 }));
  const fetch = (port: number) => ours(port, (files) => files.fetchTree(there, back));

  for (let i = 0; i < rounds; i++) {
    forget();
    const sftpPut = seconds(() => sftp(`put ${source} ${join(there, "there.bin")}`));
    const { took: ourPush } = await push(sshd.port);
    told("push", { mbPerSecond: perSecond(ourPush), sftpMbPerSecond: perSecond(sftpPut), ratio: round(sftpPut / ourPush) });
    const sftpGet = seconds(() => sftp(`get ${join(there, "there.bin")} ${join(folder, "got")}`));
    const { took: ourFetch } = await fetch(sshd.port);
    told("fetch", { mbPerSecond: perSecond(ourFetch), sftpMbPerSecond: perSecond(sftpGet), ratio: round(sftpGet / ourFetch) });
    must((await hashOf(join(back, "there.bin"))) === sha256, "what was fetched");
  }
  forget();
  for (const [run, work] of [["push with a cut", push], ["fetch with a cut", fetch]] as const) {
    const before = line.up + line.down;
    line.cutAfter(bytes / 2);
    const { done, took } = await work(line.port);
    const path = "path" in done ? done.path : join(back, "there.bin");
    must((await hashOf(path)) === sha256, run);
    told(run, { cuts: line.cuts, seconds: round(took), passedMb: round((line.up + line.down - before) / 1e6), sha256: "equal" });
  }
} finally {
  await line.stop();
  await sshd.stop();
  rmSync(folder, { recursive: true, force: true });
}
