// What the operator declares of this host: pools, labels and ports, written in one line each.

import type { Pool } from "./messages.js";

/** A declaration that cannot be understood; names the variable and the form it must have. */
export class DeclarationError extends Error {
  readonly code = "CONFIG_INVALID";
  override readonly name = "DeclarationError";
}

/** "training=1;default,evaluation=4": pools of queues that share slots. Throws DeclarationError. */
export function parsePools(text: string): Pool[] {
  const pools = text.split(";").map((part) => part.trim()).filter((part) => part !== "").map((part): Pool => {
    const match = /^([^=]+)=\s*(\d{1,5})$/.exec(part);
    const queues = match?.[1]?.split(",").map((queue) => queue.trim()) ?? [];
    const concurrency = Number(match?.[2]);
    if (match === null || concurrency < 1 || concurrency > 10_000 || queues.some((queue) => !/^[a-z0-9][a-z0-9._-]{0,99}$/.test(queue))) {
      throw new DeclarationError(`TRAINYARD_AGENT_POOLS: ${JSON.stringify(part)} is not of the form queue[,queue…]=slots with 1–10000 slots and lower-case queue names, e.g. training=1;default,evaluation=4.`);
    }
    return { queues, concurrency };
  });
  const seen = new Set<string>();
  for (const queue of pools.flatMap((pool) => pool.queues)) {
    if (seen.has(queue)) throw new DeclarationError(`TRAINYARD_AGENT_POOLS: queue ${JSON.stringify(queue)} stands in two pools. Name it once.`);
    seen.add(queue);
  }
  if (pools.length === 0) throw new DeclarationError("TRAINYARD_AGENT_POOLS names no pool: this agent would never get work. Leave the variable out for the default.");
  return pools;
}

/** "gpu=h100,spot=true,zone=3": numbers and booleans are taken as such. Throws DeclarationError. */
export function parseLabels(text: string): Record<string, string | number | boolean> {
  const labels: [string, string | number | boolean][] = text.split(",").map((part) => part.trim()).filter((part) => part !== "").map((part) => {
    const at = part.indexOf("=");
    const key = part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    if (at < 1 || key === "" || value === "") throw new DeclarationError(`TRAINYARD_AGENT_LABELS: ${JSON.stringify(part)} is not of the form key=value.`);
    if (value === "true" || value === "false") return [key, value === "true"];
    return [key, /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value];
  });
  return Object.fromEntries(labels);
}

/** "29500-29999": ports from first to last. Throws DeclarationError. */
export function parsePorts(text: string): { readonly first: number; readonly last: number } {
  const match = /^\s*(\d{1,5})\s*-\s*(\d{1,5})\s*$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || first < 1_024 || last > 65_535 || last < first) throw new DeclarationError(`TRAINYARD_AGENT_PORTS: ${JSON.stringify(text)} is not of the form first-last with ports from 1024 to 65535, e.g. 29500-29999.`);
  return { first, last };
}
