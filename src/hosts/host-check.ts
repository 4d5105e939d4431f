// What a host has, found out over one connection within CHECK_MS: operating system, CPUs, memory, disk, GPUs, Python and its packages, clock.
//   K1. Probes run side by side on the host, each in a process of its own. One that hangs costs its own line of the report and nothing else.
//   K2. The program on the host is a constant shell script on standard input; two validated paths stand in it as quoted words, nothing else of a user's.
//   K3. It changes nothing there, and ends itself with everything it started when its time is up or the connection is lost.
//   K4. Every line that is not well says what to do.

import { connectHost } from "./connection.js";
import type { HostAccess } from "./host-access.js";
import { shellWord } from "./remote-path.js";
import { SshError } from "./ssh-error.js";

/** The whole check, in milliseconds, and how long it waits for the connection within that. */
export const CHECK_MS = 4_600;
const CONNECT_MS = 3_500;
/** Clock differences above this make logs and charts hard to read, in milliseconds. */
const CLOCK_TOLERANCE_MS = 2_000;
const DISK_LOW_BYTES = 20 * 1024 ** 3;
const PACKAGES = ["torch", "verl", "vllm", "ray", "transformers", "trl"] as const;

export interface CheckLine {
  readonly name: string;
  /** What was found, for people. */
  readonly found: string | null;
  /** PROBLEM stands in the way of every program, ADVICE only of some. */
  readonly status: "OK" | "ADVICE" | "PROBLEM" | "NO_ANSWER";
  readonly fix: string | null;
}

export interface HostReport {
  /** Whether programs can run there. */
  readonly ok: boolean;
  readonly lines: readonly CheckLine[];
  /** The same as data; a part that gave no answer is left out. */
  readonly facts: HostFacts;
  readonly tookMs: number;
}

export interface HostFacts {
  readonly os?: string;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly diskFreeBytes?: number;
  readonly workingDirectoryIsWritable?: boolean;
  readonly gpus?: readonly { readonly index: number; readonly model: string; readonly memoryTotalMiB: number | null; readonly memoryUsedMiB: number | null }[];
  readonly driver?: string;
  readonly python?: { readonly version: string; readonly path: string };
  readonly packages?: Readonly<Record<string, string>>;
  /** Of the host against ours; above zero: ahead. */
  readonly clockOffsetMs?: number;
}

export interface CheckOptions {
  readonly workingDirectory: string;
  /** A venv or conda environment on the host; null: python3 on its PATH. */
  readonly pythonEnvironment: string | null;
  /** For tests: CHECK_MS. */
  readonly withinMs?: number;
}

/** Looks at the host. Throws SshError when no connection comes about. */
export async function checkHost(access: HostAccess, options: CheckOptions): Promise<HostReport> {
  const startedAt = performance.now();
  const withinMs = options.withinMs ?? CHECK_MS;
  const connection = await connectHost(access, { timeoutMs: Math.min(CONNECT_MS, withinMs) });
  try {
    const channel = await connection.exec("exec /bin/sh -s");
    const answers = new Map<string, string>();
    let text = "";
    let clock: { readonly offsetMs: number } | null = null;
    let sentAt = Date.now();
    const finished = new Promise<void>((done) => {
      channel.on("data", (chunk: Buffer) => {
        text = (text + chunk.toString("utf8")).slice(-MOST_TEXT);
        for (let lf = text.indexOf("\n"); lf >= 0; lf = text.indexOf("\n")) {
          const [mark, key, value] = text.slice(0, lf).split("\t");
          text = text.slice(lf + 1);
          if (mark !== MARK || key === undefined || value === undefined) continue; // a login script that talks
          if (key === "clock") clock = { offsetMs: Number(value) * 1_000 - (sentAt + Date.now()) / 2 };
          answers.set(key, value.replaceAll("\x1e", "\n").replaceAll("\x1f", "\t").trim());
          if (key === "end") done();
        }
      });
      channel.on("close", () => done());
      channel.stderr.resume();
    });
    sentAt = Date.now();
    channel.end(scriptFor(options));
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([finished, new Promise((late) => { timer = setTimeout(late, Math.max(0, withinMs - (performance.now() - startedAt))); })]);
    clearTimeout(timer);
    if (answers.size === 0) throw new SshError("SSH_HELPER_FAILED", access.name, `it let us in, but /bin/sh there answered nothing. A login script of ${access.username} may end the shell, or a forced command stand in authorized_keys.`);
    return report(answers, (clock as { readonly offsetMs: number } | null)?.offsetMs ?? null, options, performance.now() - startedAt);
  } finally {
    connection.end(); // K3: the script notices
  }
}

const MARK = "trainyard-check";
const MOST_TEXT = 1024 * 1024;

function scriptFor(options: CheckOptions): string {
  const python = options.pythonEnvironment === null ? "python3" : shellWord(`${options.pythonEnvironment}/bin/python3`);
  return `dir=${shellWord(options.workingDirectory)}\npython=${python}\n${SCRIPT}`; // K2
}

const SCRIPT = `
tell() { key=$1; shift; ( out=$("$@" 2>&1); printf '${MARK}\\t%s\\t%s\\n' "$key" "$(printf '%s' "$out" | head -c 16000 | tr '\\n\\t' '\\036\\037')" ) & all="$all $!"; }
os() { ( . /etc/os-release 2>/dev/null && printf '%s, ' "$PRETTY_NAME" ); uname -srm; }
cpus() { getconf _NPROCESSORS_ONLN; }
memory() { while read -r name amount unit; do [ "$name" = MemTotal: ] && printf '%s' "$amount"; done < /proc/meminfo; }
place() { at=$dir; while [ ! -e "$at" ]; do at=\${at%/*}; [ -n "$at" ] || at=/; done; printf '%s' "$at"; }
disk() { df -Pk "$(place)"; }
writable() { at=$(place); if [ ! -d "$at" ]; then echo file; elif [ -w "$at" ] && [ -x "$at" ]; then echo yes; else echo "no $at"; fi; }
gpus() { command -v nvidia-smi >/dev/null || { echo absent; return; }; nvidia-smi --query-gpu=index,name,memory.total,memory.used,driver_version --format=csv,noheader,nounits; }
packages() { command -v "$python" >/dev/null || { echo absent; return; }; "$python" -c '
import sys
print("%d.%d.%d\\t%s" % (sys.version_info[:3] + (sys.executable,)))
try:
    from importlib.metadata import version
except ImportError:
    sys.exit(0)
for name in "${PACKAGES.join(" ")}".split():
    try:
        print("%s\\t%s" % (name, version(name)))
    except Exception:
        pass
'; }
clock() { date +%s.%N; }
read -r stat < /proc/self/stat && set -- \${stat##*) } && [ "$3" = "$$" ] && { ( sleep 6; kill -9 0 ) >/dev/null 2>&1 & watch=$!; }
tell clock clock; tell os os; tell cpus cpus; tell memory memory; tell disk disk; tell writable writable; tell gpus gpus; tell packages packages
wait $all
printf '${MARK}\\tend\\t-\\n'
[ -z "$watch" ] || kill -9 0
`;

interface Lack { readonly status: CheckLine["status"]; readonly fix: string }

function report(answers: ReadonlyMap<string, string>, clockOffsetMs: number | null, options: CheckOptions, tookMs: number): HostReport {
  const lines: CheckLine[] = [];
  const facts: { -readonly [K in keyof HostFacts]: HostFacts[K] } = {};
  const lacking = (status: CheckLine["status"], fix: string): Lack => ({ status, fix });
  const line = (name: string, found: string | null, lack: Lack | null = null): void => void lines.push({ name, found, status: lack?.status ?? "OK", fix: lack?.fix ?? null });
  /** The answer of a probe, or a line that says that there was none (K1). */
  const answerOf = (key: string, name: string, fix: string): string | null => {
    const answer = answers.get(key) ?? null;
    if (answer === null) line(name, null, lacking("NO_ANSWER", fix));
    return answer;
  };

  const os = answerOf("os", "operating system", "Log in by hand and see what hangs: the host may be overloaded.");
  if (os !== null) {
    facts.os = os;
    line("operating system", os, /\bLinux\b/.test(os) ? null : lacking("PROBLEM", "Programs run on Linux only."));
  }
  const cpus = Number(answerOf("cpus", "CPUs", "Log in by hand and see what hangs: the host may be overloaded.") ?? Number.NaN);
  if (cpus > 0) {
    facts.cpus = cpus;
    line("CPUs", String(cpus));
  }
  const memory = Number(answerOf("memory", "memory", "Log in by hand and see what hangs: the host may be overloaded.") ?? Number.NaN);
  if (memory > 0) {
    facts.memoryBytes = memory * 1024;
    line("memory", gib(memory * 1024));
  }
  const disk = /(\d+)\s+\d+%\s+\S+\s*$/.exec(answerOf("disk", "disk", `The file system under ${options.workingDirectory} does not answer; a network mount may be down.`) ?? "");
  if (disk !== null) {
    facts.diskFreeBytes = Number(disk[1]) * 1024;
    line("disk", `${gib(facts.diskFreeBytes)} free`, facts.diskFreeBytes < DISK_LOW_BYTES ? lacking("ADVICE", "Checkpoints need room: free space, or name a working directory on a larger disk.") : null);
  }
  const writable = answerOf("writable", "working directory", `The file system under ${options.workingDirectory} does not answer; a network mount may be down.`);
  if (writable !== null) {
    facts.workingDirectoryIsWritable = writable === "yes";
    line("working directory", options.workingDirectory, writable === "yes" ? null : lacking("PROBLEM", writable === "file" ? `${options.workingDirectory}, or a part of it, is a file: name another directory.` : `The user may not write ${writable.slice(3)}: give it the right, or name another directory.`));
  }
  const gpus = answerOf("gpus", "GPUs", "nvidia-smi hangs: the driver is stuck. Look at dmesg on the host; usually it must be rebooted.");
  if (gpus === "absent") line("GPUs", "none", lacking("ADVICE", "No nvidia-smi on PATH: CPU work only. On a GPU machine install the NVIDIA driver."));
  else if (gpus !== null) {
    const rows = gpus.split("\n").map((row) => row.split(",").map((field) => field.trim())).filter((row) => row.length === 5 && /^\d+$/.test(row[0]!));
    if (rows.length === 0) line("GPUs", gpus.split("\n")[0]!.slice(0, 200), lacking("PROBLEM", "nvidia-smi fails: reload the driver or reboot the host; after an update of the driver a reboot is needed."));
    else {
      facts.gpus = rows.map(([index, model, total, used]) => ({ index: Number(index), model: model!, memoryTotalMiB: count(total), memoryUsedMiB: count(used) }));
      facts.driver = rows[0]![4]!;
      line("GPUs", facts.gpus.map((gpu) => `${gpu.index}: ${gpu.model}${gpu.memoryTotalMiB === null ? "" : ` (${gib(gpu.memoryTotalMiB * 2 ** 20)})`}`).join(", "));
      line("driver", facts.driver);
    }
  }
  const where = options.pythonEnvironment ?? "the user's PATH";
  const python = answerOf("packages", "python", "Starting Python takes too long: a slow network file system, or an overloaded host.");
  const [first, ...rest] = (python ?? "").split("\n").map((row) => row.split("\t"));
  if (python !== null && !/^\d+\.\d+\.\d+$/.test(first?.[0] ?? "")) {
    line("python", python === "absent" ? "none" : python.split("\n").at(-1)!.slice(0, 200), lacking("PROBLEM", `There must be a Python 3.6 or newer in ${where}: install python3, or name an environment that has it.`));
  } else if (python !== null) {
    const [version, path] = first as [string, string];
    facts.python = { version, path };
    const [major, minor] = version.split(".").map(Number) as [number, number];
    line("python", `${version} (${path})`, major > 3 || (major === 3 && minor >= 6) ? (major === 3 && minor < 10 ? lacking("ADVICE", "verl needs Python 3.10 or newer.") : null) : lacking("PROBLEM", "Install Python 3.6 or newer."));
    const found = Object.fromEntries(rest.filter((row) => row.length === 2)) as Record<string, string>;
    facts.packages = found;
    for (const name of PACKAGES.slice(0, 4)) {
      line(name, found[name] ?? "none", found[name] === undefined ? lacking("ADVICE", `Training with verl needs it: ${path} -m pip install ${name}`) : null);
    }
  }
  if (clockOffsetMs === null || !Number.isFinite(clockOffsetMs)) line("clock", null, lacking("NO_ANSWER", "Log in by hand and see what hangs: the host may be overloaded."));
  else {
    facts.clockOffsetMs = Math.round(clockOffsetMs);
    line("clock", `${Math.abs(clockOffsetMs) < 100 ? "in step" : `${(Math.abs(clockOffsetMs) / 1_000).toFixed(1)} s ${clockOffsetMs > 0 ? "ahead" : "behind"}`}`, Math.abs(clockOffsetMs) > CLOCK_TOLERANCE_MS ? lacking("ADVICE", "Times of metrics and logs will look wrong: let the host keep its clock by NTP (timedatectl set-ntp true).") : null);
  }
  return { ok: lines.every(({ status }) => status !== "PROBLEM"), lines, facts, tookMs: Math.round(tookMs) };
}

function count(field: string | undefined): number | null {
  return field !== undefined && /^\d+$/.test(field) ? Number(field) : null;
}

function gib(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(bytes < 10 * 1024 ** 3 ? 1 : 0)} GiB`;
}
