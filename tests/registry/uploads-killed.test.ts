// A control plane that is killed in the middle of an upload, and the next one over the same directory.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, inject, onTestFinished, test } from "vitest";
import { createToken } from "../../src/access/tokens.js";
import { openDatabase } from "../../src/db/database.js";
import { packagePath } from "../../src/package-root.js";
import { createTestDatabase } from "../support/postgres.js";

async function startServer(databaseUrl: string, dataDir: string, failpoint = ""): Promise<{ url: string; child: ChildProcess; gone: Promise<unknown> }> {
  const child = spawn(process.execPath, ["--import", "tsx", packagePath("bench", "support", "server-process.ts")], {
    cwd: packagePath(), stdio: ["ignore", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], DATABASE_URL: databaseUrl, TRAINYARD_DATA_DIR: dataDir, TRAINYARD_PORT: "0", TRAINYARD_REDIS: "off", TRAINYARD_LOG_LEVEL: "silent", ...(failpoint === "" ? {} : { TRAINYARD_FAILPOINT: failpoint }) },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const gone = new Promise((resolve) => child.once("exit", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once("line", (line) => resolve((JSON.parse(line) as { url: string }).url));
    child.once("exit", () => reject(new Error("the server ended before it was ready")));
  });
  return { url, child, gone };
}

const files = (folder: string) => (existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name) : []);
const chat = '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}\n';

test("a control plane killed in the middle of an upload, or just before it is kept, leaves nothing once it is back; the same file then goes through and is registered", { timeout: 60_000 }, async () => {
  const database = await createTestDatabase();
  const opened = openDatabase({ url: database.url, size: 2, log: { warn: () => undefined } });
  onTestFinished(async () => {
    await opened.close();
    await database.drop();
  });
  const { secret } = await createToken(opened.db, { name: "op", role: "operator", agentName: null, expiresInDays: null, by: "test" });
  const dataDir = mkdtempSync(join(inject("runFolder"), "killed-"));
  const uploads = join(dataDir, "uploads");
  const headers = { authorization: `Bearer ${secret}` };
  const put = (url: string, body: string) => fetch(new URL("/data/v1/uploads?name=train.jsonl", url), { method: "PUT", headers, body });

  const first = await startServer(database.url, dataDir);
  const sending = httpRequest(new URL("/data/v1/uploads?name=half.jsonl", first.url), { method: "PUT", headers: { ...headers, "content-length": 10_000 } });
  sending.on("error", () => undefined);
  sending.write(chat);
  await expect.poll(() => files(uploads)).toEqual(["half.jsonl"]);
  first.child.kill("SIGKILL");
  await first.gone;
  expect(files(uploads)).toEqual(["half.jsonl"]);

  const second = await startServer(database.url, dataDir, "after-upload-before-commit:1");
  expect(files(uploads)).toEqual([]);
  await expect(put(second.url, chat)).rejects.toThrow();
  await second.gone;
  expect(files(uploads)).toEqual(["train.jsonl"]);
  expect(await opened.db.selectFrom("uploads").selectAll().execute()).toEqual([]);

  const third = await startServer(database.url, dataDir);
  expect(files(uploads)).toEqual([]);
  const kept = await put(third.url, chat);
  expect(kept.status).toBe(201);
  const { id } = (await kept.json()) as { id: string };
  expect(readFileSync(join(uploads, id, "train.jsonl"), "utf8")).toBe(chat);
  const answer = await fetch(third.url, {
    method: "POST", headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ query: `mutation { registerDataset(input: { name: "after/kill", path: "${id}" }) { ... on RegisterDatasetPayload { dataset { rows preview suitableFor } } } }` }),
  });
  expect(await answer.json()).toEqual({ data: { registerDataset: { dataset: { rows: 1, preview: [JSON.parse(chat)], suitableFor: ["SFT"] } } } });
  third.child.kill("SIGTERM");
  await third.gone;
});
