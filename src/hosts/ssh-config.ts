// Reads what ~/.ssh/config says of a host name: HostName, Port, User, IdentityFile, ProxyJump.
//   C1. As ssh does it: the first value found wins, Host patterns may hold * ? and !, Include is followed. Match blocks apply only as `Match all`; nothing is executed.

import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join } from "node:path";

export interface ConfiguredHost {
  readonly hostName: string | null;
  readonly port: number | null;
  readonly user: string | null;
  /** Absolute path on this machine. */
  readonly identityFile: string | null;
  /** As written: [user@]host[:port], several separated by commas; null also for `none`. */
  readonly proxyJump: string | null;
}

const INCLUDE_DEPTH = 16;

/** What the user's configuration says of `name`; null when no block names it. `home`: the user's home directory, absolute. */
export function configuredHost(name: string, home: string): ConfiguredHost | null {
  const found = new Map<string, string>();
  let named = false;
  const read = (file: string, depth: number, outer: boolean): void => {
    let active = outer;
    for (const line of linesOf(file)) {
      const match = /^\s*([A-Za-z]+)(?:\s*=\s*|\s+)(.*?)\s*$/.exec(line);
      if (match === null) continue;
      const key = match[1]!.toLowerCase();
      const words = wordsOf(match[2]!);
      if (key === "host") {
        const matched = matches(words, name);
        active = outer && matched;
        named ||= active && words.some((word) => !word.startsWith("!") && word.replace(/[*?]/g, "") !== "");
      } else if (key === "match") {
        active = outer && words.length === 1 && words[0]!.toLowerCase() === "all";
      } else if (key === "include" && depth < INCLUDE_DEPTH) {
        if (active) for (const word of words) for (const path of expand(word, home)) read(path, depth + 1, true);
      } else if (active && words[0] !== undefined && !found.has(key)) {
        found.set(key, words[0]);
      }
    }
  };
  read(join(home, ".ssh", "config"), 0, true);
  if (!named) return null;
  const hostName = found.get("hostname")?.replaceAll("%h", name).replaceAll("%%", "%") ?? null;
  const port = Number(found.get("port") ?? Number.NaN);
  const user = found.get("user") ?? null;
  const jump = found.get("proxyjump") ?? null;
  return {
    hostName, user,
    port: Number.isInteger(port) && port > 0 && port < 65_536 ? port : null,
    identityFile: found.has("identityfile") ? fileOf(found.get("identityfile")!, { home, host: hostName ?? name, user: user ?? "" }) : null,
    proxyJump: jump === null || jump.toLowerCase() === "none" ? null : jump,
  };
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n").filter((line) => !/^\s*(#|$)/.test(line));
  } catch {
    return []; // none, or not ours to read: ssh goes on without it too
  }
}

function wordsOf(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|(\S+)/g)].map((match) => match[1] ?? match[2]!);
}

function matches(patterns: readonly string[], name: string): boolean {
  const fits = (pattern: string) => new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*").replaceAll("?", ".")}$`, "i").test(name);
  return patterns.some((pattern) => !pattern.startsWith("!") && fits(pattern)) && !patterns.some((pattern) => pattern.startsWith("!") && fits(pattern.slice(1)));
}

/** The files an Include names; * and ? in the last part. */
function expand(word: string, home: string): string[] {
  const path = word.startsWith("~/") ? join(home, word.slice(2)) : isAbsolute(word) ? word : join(home, ".ssh", word);
  if (!/[*?]/.test(path)) return [path];
  try {
    return readdirSync(dirname(path)).filter((name) => matches([basename(path)], name)).sort().map((name) => join(dirname(path), name));
  } catch {
    return [];
  }
}

function fileOf(text: string, facts: { home: string; host: string; user: string }): string {
  const path = text.replaceAll("%d", facts.home).replaceAll("%h", facts.host).replaceAll("%r", facts.user).replaceAll("%%", "%");
  return path.startsWith("~/") ? join(facts.home, path.slice(2)) : isAbsolute(path) ? path : join(facts.home, ".ssh", path);
}
