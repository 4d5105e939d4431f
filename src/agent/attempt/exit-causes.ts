// Why a program ended badly, as data: what its exit status and the end of its log say, which code that is, and what to do about it.
//   X1. The table is read from the top, the first row that fits names the cause; the exit status itself is the last resort.
//   X2. Text is believed only of a program that failed: a log may say "Killed" about something else.

import { constants } from "node:os";
import type { FailureCode } from "../../domain/pipeline/spec.js";
import type { Failure } from "../../domain/pipeline/state.js";

interface Cause {
  readonly code: FailureCode;
  /** Matched against the last lines of the log, newest match wins within the row. */
  readonly log?: RegExp;
  readonly exitCodes?: readonly number[];
  readonly signals?: readonly NodeJS.Signals[];
  /** `$1` … are the groups of `log`. */
  readonly message: string;
  readonly hint: string;
}

/** X1. Add a row here together with a line of real output in the test. */
export const EXIT_CAUSES: readonly Cause[] = [
  { code: "INVALID_INPUT", log: /^evaluation refused: (.+)$/m, message: "$1", hint: "Correct the params or the data and fork the pipeline from this stage; a missing right is given to the agent's secret." },
  { code: "MODULE_NOT_FOUND", log: /^evaluation lacks a module: (.+)$/m, message: "$1", hint: "Install it there, name an interpreter that has it in params.python, or run the stage on another agent (resources.labels)." },
  { code: "NETWORK", log: /^evaluation gave up: (.+)$/m, message: "$1", hint: "Look at the service that draws the answers. The next try goes on from the answers that are there." },
  { code: "INVALID_INPUT", log: /^export refused: (.+)$/m, message: "The model was not exported: $1", hint: "Look at the checkpoint's folder; a merge stage with lora: keep leaves an adapter beside its base weights." },
  { code: "NETWORK", log: /^cluster refused: (.+)$/m, message: "The Ray cluster of the run did not become complete: $1", hint: "Look at the logs of the other members, and that the hosts reach each other on every port: Ray uses more than the one they meet at." },
  {
    code: "GPU_OUT_OF_MEMORY",
    log: /(?:CUDA|HIP) out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation|No available memory for the cache blocks|CUDA error: out of memory/,
    message: "The GPU ran out of memory.",
    hint: "Lower the batch or sequence length, use more GPUs or gradient checkpointing, or look for another process on that GPU.",
  },
  {
    code: "OUT_OF_MEMORY",
    log: /JavaScript heap out of memory/,
    message: "The JavaScript heap reached its limit.",
    hint: "Raise it with node --max-old-space-size=<MiB>, or keep less in memory at once.",
  },
  {
    code: "OUT_OF_MEMORY",
    log: /^\s*(?:[\w.]+\.)?MemoryError\b|std::bad_alloc|Cannot allocate memory|\bENOMEM\b|ray\.exceptions\.OutOfMemoryError|oom-kill|DefaultCPUAllocator: (?:can't|not enough)/m,
    message: "The program ran out of memory.",
    hint: "Use less memory (smaller batches, fewer workers) or run it on a host with more.",
  },
  {
    code: "DISK_FULL",
    log: /No space left on device|\bENOSPC\b|Disk quota exceeded|\bEDQUOT\b/,
    message: "The disk was full.",
    hint: "Free space on that host, delete old checkpoints with a cleanup stage, or write elsewhere.",
  },
  {
    code: "MODULE_NOT_FOUND",
    log: /ModuleNotFoundError: No module named '([^']+)'/,
    message: "Python has no module $1 on this host.",
    hint: "Install it into the environment that the program runs in, or run the stage where it is installed.",
  },
  {
    code: "MODULE_NOT_FOUND",
    log: /ImportError: (cannot import name .+|.+: cannot open shared object file.*)/,
    message: "Python could not import: $1.",
    hint: "The installed version of that package does not fit; install the one that the program was written for.",
  },
  {
    code: "MODULE_NOT_FOUND",
    log: /(?:Cannot find (?:module|package) '([^']+)'|ERR_MODULE_NOT_FOUND)/,
    message: "Node found no module $1.",
    hint: "Check the path, or install the package beside the program.",
  },
  {
    code: "NETWORK",
    log: /\b(ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENOTFOUND|EHOSTUNREACH|ENETUNREACH)\b|(Temporary failure in name resolution|Name or service not known|Connection refused|Connection reset by peer|Network is unreachable|No route to host|Max retries exceeded with url|NCCL (?:error|WARN).*(?:socket|connection|remote process exited)|Connection timed out|ProxyError|SSLError)/i,
    message: "The network failed the program: $1$2.",
    hint: "Check that this host reaches the address in the log; set HF_HUB_OFFLINE=1 if the model is already here.",
  },
  {
    code: "PERMISSION_DENIED",
    log: /PermissionError: \[Errno 13\][^\n]*|\bEACCES\b[^\n]*|\bEPERM\b[^\n]*|Permission denied/,
    message: "The program was refused access.",
    hint: "The agent's user needs the right to that file or device; the log's end names it.",
  },
  {
    code: "FILE_NOT_FOUND",
    log: /FileNotFoundError: \[Errno 2\] No such file or directory: '([^']*)'|ENOENT: no such file or directory, \w+ '([^']*)'/,
    message: "The file $1$2 does not exist on this host.",
    hint: "Check the path. Files of an earlier stage are only on the host that ran it.",
  },
  {
    code: "EXIT_NONZERO",
    log: /^\[rank\d+\]: ((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): .+)$/m,
    message: "The trainer ended with $1",
    hint: "The lines before it in the log show where.",
  },
  {
    code: "EXIT_NONZERO",
    exitCodes: [1],
    log: /^((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception)(?:: .+)?)$/m,
    message: "The program ended with $1",
    hint: "The lines before it in the log show where.",
  },
  { code: "PERMISSION_DENIED", exitCodes: [126], message: "The program could not be executed (exit code 126).", hint: "Give it the right to be executed, or start it through its interpreter." },
  { code: "COMMAND_NOT_FOUND", exitCodes: [127], message: "A program that was to be started does not exist (exit code 127).", hint: "Install it on this host or give its full path; the log's end names it." },
  {
    code: "OUT_OF_MEMORY",
    signals: ["SIGKILL"],
    message: "The program was killed with SIGKILL (exit status 137), most likely by the kernel for lack of memory.",
    hint: "Look for an OOM line in the host's kernel log (dmesg); use less memory, or a host with more. If someone killed it by hand, retry.",
  },
  { code: "KILLED_BY_SIGNAL", signals: ["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"], message: "The program crashed with $signal.", hint: "A crash in native code: check that driver, CUDA and package versions fit together." },
  { code: "KILLED_BY_SIGNAL", signals: ["SIGABRT"], message: "The program aborted (SIGABRT).", hint: "The log's end usually says which check failed." },
  { code: "KILLED_BY_SIGNAL", signals: ["SIGTERM", "SIGINT", "SIGHUP"], message: "The program was ended by $signal, which this agent did not send.", hint: "Someone, or the host's shutdown, stopped it. Retry." },
];

const SIGNAL_NAMES = new Map(Object.entries(constants.signals).reverse().map(([name, number]) => [number as number, name as NodeJS.Signals])); // the first of two names, SIGABRT and SIGIOT, wins

/** What became of the program: `status` as a shell gives it, 128 + signal for a signal. Call only for a status other than 0 (X2). */
export function classifyExit(status: number, logTail: readonly string[]): Failure {
  const signal = status > 128 ? (SIGNAL_NAMES.get(status - 128) ?? null) : null;
  const text = logTail.join("\n");
  for (const cause of EXIT_CAUSES) {
    if (cause.exitCodes !== undefined && !cause.exitCodes.includes(status)) continue;
    if (cause.signals !== undefined && (signal === null || !cause.signals.includes(signal))) continue;
    const match = cause.log === undefined ? null : lastMatch(cause.log, text);
    if (cause.log !== undefined && match === null) continue;
    const message = cause.message.replace(/\$(\d)/g, (_, group: string) => match?.[Number(group)] ?? "").replace("$signal", signal ?? "").replace(/\s+([.])/g, "$1");
    return { code: cause.code, message: message.slice(0, 2_000), hint: cause.hint, exitCode: status, logTail };
  }
  if (signal !== null) return { code: "KILLED_BY_SIGNAL", message: `The program was ended by ${signal} (exit status ${status}).`, hint: null, exitCode: status, logTail };
  return { code: "EXIT_NONZERO", message: `The program ended with exit code ${status}.`, hint: "The end of its log usually says why.", exitCode: status, logTail };
}

function lastMatch(pattern: RegExp, text: string): RegExpMatchArray | null {
  return [...text.matchAll(new RegExp(pattern.source, pattern.flags.includes("g") ? pattern.flags : `${pattern.flags}g`))].at(-1) ?? null;
}
