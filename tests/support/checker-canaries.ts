// Looks for planted secrets in everything that a world leaves behind (invariant 20): each file of its folder, each value of each table, each key of Redis, and what was answered to people.
// What secret is found is named by its place and its planted name, never by its value.

import { readFileSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import pg from "pg";
import { connectRedis } from "../../src/bus/connection.js";

export interface Canary { readonly name: string; readonly value: string }
interface Sought { readonly name: string; readonly form: string; readonly text: string }

/** The canaries in the forms in which they would give themselves away. */
export function soughtForms(canaries: readonly Canary[]): Sought[] {
  return canaries.flatMap(({ name, value }) => {
    const ascii = JSON.stringify(value).slice(1, -1).replace(/[^\x00-\x7f]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
    const base64 = [0, 1, 2].map((shift) => Buffer.concat([Buffer.alloc(shift), Buffer.from(value)]).toString("base64").replace(/=+$/, "").slice(shift === 0 ? 0 : shift + 1, -1));
    const forms: [string, string][] = [["as it is", value], ["in JSON", JSON.stringify(value).slice(1, -1)], ["in ASCII JSON", ascii], ["in a URL", encodeURIComponent(value)], ["in hex", Buffer.from(value).toString("hex")], ...base64.map((text): [string, string] => ["in base64", text])];
    return [...new Map(forms.toReversed().map(([form, text]) => [text, { name, form, text }])).values()];
  });
}

/** Where in `text` something sought stands, in words. */
export function sightings(place: string, text: string, sought: readonly Sought[]): string[] {
  return sought.filter((one) => text.includes(one.text)).map(({ name, form }) => `${place}: ${name}, ${form}`);
}

/** Files below `root` but for those that `spared` names; their paths too. Answers how many were read as well. */
export function searchFiles(root: string, sought: readonly Sought[], spared: (path: string) => boolean): { found: string[]; read: number } {
  const found: string[] = [];
  let read = 0;
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    const path = relative(root, join(entry.parentPath, entry.name));
    if (spared(path)) continue;
    found.push(...sightings(`name of ${entry.isFile() ? "file" : "folder"} ${path}`, path, sought));
    if (!entry.isFile()) continue;
    read++;
    found.push(...sightings(`file ${path}`, readFileSync(join(root, path), "utf8"), sought));
  }
  return { found, read };
}

/** Every value of every row of every table. Answers the number of rows by table as well. */
export async function searchTables(databaseUrl: string, sought: readonly Sought[]): Promise<{ found: string[]; rows: Record<string, number> }> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const found: string[] = [];
    const rows: Record<string, number> = {};
    const { rows: tables } = await client.query<{ name: string }>("select format('%I.%I', table_schema, table_name) as name from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE'");
    for (const { name } of tables) {
      const { rows: all } = await client.query<{ row: unknown }>(`select to_jsonb(t) as row from ${name} t`);
      rows[name.replace(/^public\./, "")] = all.length;
      all.forEach(({ row }, index) => {
        for (const [path, text] of leaves(row)) found.push(...sightings(`row ${index + 1} of ${name}${path}`, text, sought));
      });
    }
    // A secret cut by the border of two chunks is one all the same.
    const { rows: logs } = await client.query<{ stage_id: string; text: string }>("select stage_id, convert_from(string_agg(data, ''::bytea order by from_byte), 'UTF8') as text from log_chunks group by stage_id");
    for (const { stage_id: stageId, text } of logs) found.push(...sightings(`log of ${stageId}`, text, sought));
    return { found, rows };
  } finally {
    await client.end();
  }
}

/** Every key with what it holds. Answers how many keys there were. */
export async function searchRedis(url: string, sought: readonly Sought[]): Promise<{ found: string[]; keys: number }> {
  const connection = await connectRedis({ url, username: null, password: null }, { silenceMs: 5_000 });
  try {
    const keys = (await connection.command(["KEYS", "*"])) as string[];
    const found: string[] = [];
    for (const key of keys) {
      const type = String(await connection.command(["TYPE", key]));
      const read: Record<string, string[]> = { stream: ["XRANGE", key, "-", "+"], hash: ["HGETALL", key], string: ["GET", key], set: ["SMEMBERS", key], zset: ["ZRANGE", key, "0", "-1"], list: ["LRANGE", key, "0", "-1"] };
      found.push(...sightings(`Redis ${type} ${key}`, JSON.stringify(await connection.command(read[type]!)) + key, sought));
      for (const [path, text] of leaves(await connection.command(read[type]!))) found.push(...sightings(`Redis ${type} ${key}${path}`, text, sought));
    }
    return { found, keys: keys.length };
  } finally {
    connection.close();
  }
}

/** Strings in a value, keys too, with their paths; bytes as Postgres prints them are read as text. */
function* leaves(value: unknown, path = ""): Generator<[path: string, text: string]> {
  if (typeof value === "string") yield [path, /^\\x([0-9a-f]{2})*$/.test(value) ? Buffer.from(value.slice(2), "hex").toString() : value];
  else if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* leaves(item, `${path}[${index}]`);
  else if (value !== null && typeof value === "object") {
    for (const [key, item] of Object.entries(value)) {
      yield [`${path} (a key)`, key];
      yield* leaves(item, `${path}.${key}`);
    }
  }
}
