// Which processes belong to a program: its session, its descendants, and on Linux whoever carries its mark in the environment (a daemon that left both).
//   T1. A process is named by pid and start time; a signal goes only to the very process that was seen.

import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { identifyProcess, type ProcessIdentity } from "../../process-identity.js";

export interface ProcessRow extends ProcessIdentity {
  readonly parent: number;
  readonly session: number;
}

/** Every living process that we may see; zombies are left out. */
export function readProcessTable(): ProcessRow[] {
  return process.platform === "linux" ? readProc() : readPs();
}

/** What belongs to the program whose launcher had this identity: still living, the launcher included. `mark` is NAME=value in the program's environment. */
export function programMembers(launcher: ProcessIdentity, mark: string, known: readonly ProcessIdentity[] = []): ProcessRow[] {
  const table = readProcessTable();
  const rowOf = new Map(table.map((row) => [row.pid, row]));
  const leader = rowOf.get(launcher.pid);
  const sessionIsOurs = leader === undefined || leader.startedAt === launcher.startedAt; // else the number went to someone else
  const members = new Set<number>();
  for (const identity of [launcher, ...known]) if (rowOf.get(identity.pid)?.startedAt === identity.startedAt) members.add(identity.pid);
  for (const row of table) if ((sessionIsOurs && row.session === launcher.pid) || carriesMark(row.pid, mark)) members.add(row.pid);
  for (let before = -1; before !== members.size;) {
    before = members.size;
    for (const row of table) if (members.has(row.parent)) members.add(row.pid);
  }
  members.delete(process.pid);
  return [...members].flatMap((pid) => rowOf.get(pid) ?? []);
}

/** Signals exactly this process (T1); false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (identifyProcess(identity.pid)?.startedAt !== identity.startedAt) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** The command line of a process as one text, or null. */
export function commandLineOf(pid: number): string | null {
  try {
    if (process.platform === "linux") return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
    return execFileSync("ps", ["-ww", "-o", "command=", "-p", String(pid)], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return null;
  }
}

function readProc(): ProcessRow[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" "); // state, ppid, pgrp, session, …; the 20th is the start time
      if (fields[0] === "Z" || fields[0] === "X") return [];
      return [{ pid: Number(name), parent: Number(fields[1]), session: Number(fields[3]), startedAt: fields[19] as string }];
    } catch {
      return []; // ended meanwhile
    }
  });
}

function carriesMark(pid: number, mark: string): boolean {
  if (process.platform !== "linux") return false;
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(mark);
  } catch {
    return false; // another user's, or gone
  }
}

/** Elsewhere `ps` knows group instead of session; a program started in its own session has one group of the same number at first. */
function readPs(): ProcessRow[] {
  const text = execFileSync("ps", ["-axww", "-o", "pid=,ppid=,pgid=,stat=,lstart="], { encoding: "utf8", env: { PATH: process.env["PATH"], LC_ALL: "C" } });
  return text.split("\n").flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line);
    if (match === null || match[4]?.startsWith("Z")) return [];
    return [{ pid: Number(match[1]), parent: Number(match[2]), session: Number(match[3]), startedAt: match[5] as string }];
  });
}
