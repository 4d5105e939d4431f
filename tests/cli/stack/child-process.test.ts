import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, inject, test, vi } from "vitest";
import { restartDelayMs, startChild, type Child } from "../../../src/cli/stack/child-process.js";
import { isAlive, type ProcessIdentity } from "../../../src/process-identity.js";

const children: Child[] = [];
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.stop("now", 500)));
});

interface Started { child: Child; starts: ProcessIdentity[]; deaths: string[]; logFile: string }

function start(program: string): Started {
  const folder = mkdtempSync(join(inject("runFolder"), "child-"));
  const file = join(folder, "program.mjs");
  writeFileSync(file, program);
  const starts: ProcessIdentity[] = [], deaths: string[] = [];
  const logFile = join(folder, "logs", "child.log");
  const child = startChild({
    name: "child", args: [file], environment: () => ({ PATH: process.env["PATH"]! }), logFile,
    onStart: (identity) => void starts.push(identity),
    onDeath: (how) => void deaths.push(how),
  });
  children.push(child);
  return { child, starts, deaths, logFile };
}

const READY = 'process.on("message", (m) => { console.log("ordered " + m.mode); process.exit(0); }); process.on("disconnect", () => process.exit(0)); process.send({ type: "ready", url: "u" });';

test("a child that dies is started again, and is ready again", async () => {
  const { child, starts, deaths } = start(READY);
  expect(await child.ready()).toEqual({ type: "ready", url: "u" });
  process.kill(child.pid!, "SIGKILL");
  await vi.waitFor(() => expect(starts).toHaveLength(2));
  await child.ready();
  expect(deaths).toEqual(["was killed by SIGKILL"]);
});

test("a child is told to stop in the way it was ordered, and is not started again", async () => {
  const { child, starts, logFile } = start(READY);
  await child.ready();
  await child.stop("detach", 5_000);
  expect(readFileSync(logFile, "utf8")).toContain("ordered detach");
  expect(starts).toHaveLength(1);
  expect(isAlive(starts[0]!)).toBe(false);
});

test("a child that does not listen is killed when the patience ends", async () => {
  const { child, starts } = start('process.on("SIGTERM", () => {}); process.on("message", () => {}); process.send({ type: "ready" }); setInterval(() => {}, 1000);');
  await child.ready();
  await child.stop("now", 50);
  expect(isAlive(starts[0]!)).toBe(false);
});

test("a child that dies twice before it is ready is given up, with its last words", async () => {
  const { child } = start('console.error("no such database"); process.exit(3);');
  await expect(child.ready()).rejects.toThrow(/ended with code 3 while starting[\s\S]*no such database/);
});

test("restarts come at once first, then ever later, up to ten seconds", () => {
  expect([0, 1, 2, 3, 20].map(restartDelayMs)).toEqual([0, 250, 500, 1000, 10_000]);
});
