// Which process a pid means. A pid alone is reused; a pid with its start time is not.
import { execFileSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

export interface ProcessIdentity {
  readonly pid: number;
  /** Opaque: equal only for the same process. Clock ticks since boot on Linux, the start second elsewhere. */
  readonly startedAt: string;
}

/** The living process with this pid, or null when there is none. A zombie counts as gone: it holds neither files nor ports. */
export function identifyProcess(pid: number): ProcessIdentity | null {
  if (!Number.isInteger(pid) || pid <= 0) return null;
  return process.platform === "linux" ? identifyOnLinux(pid) : identifyByPs(pid);
}

/** True while exactly this process lives. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startedAt === identity.startedAt;
}

/** The range in which pids can be compared: one boot of one machine, and within it one pid namespace (a container has its own). */
export function pidRealm(): string {
  if (process.platform !== "linux") return hostname();
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return hostname();
  }
}

function identifyOnLinux(pid: number): ProcessIdentity | null {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // The command name is in parentheses and may hold spaces and parentheses; what follows the last one is state, ppid, … with the start time as 20th.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const startedAt = fields[19];
  if (state === undefined || startedAt === undefined || state === "Z" || state === "X") return null;
  return { pid, startedAt };
}

function identifyByPs(pid: number): ProcessIdentity | null {
  try {
    const line = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { PATH: process.env["PATH"], LC_ALL: "C" } }).trim();
    const space = line.indexOf(" ");
    return line === "" || line.startsWith("Z") ? null : { pid, startedAt: line.slice(space + 1).trim() };
  } catch {
    return null;
  }
}
