import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { killAllOf, newFolder, processesOf, startCli } from "./support.js";

const pipelineOf = (dataDir: string) => (JSON.parse(readFileSync(join(dataDir, "demo.json"), "utf8")) as { pipelineId: string }).pipelineId;

test("the demo, killed in the middle with everything it started, goes on with the same pipeline and chooses the better model", { timeout: 240_000 }, async () => {
  const other = createServer();
  other.on("error", () => undefined); // somebody else has the port: that serves as well
  other.listen(7070, "127.0.0.1");
  onTestFinished(() => void other.close());
  const dataDir = newFolder("demo-");
  onTestFinished(() => killAllOf(dataDir));

  const first = await startCli(["demo", "--data-dir", dataDir]);
  expect(await pollUntil(() => first.stdout().includes("train-wide  RUNNING"), 60_000)).toBe(true);
  expect(first.stderr()).toMatch(/Port 7070 is taken by another program; using \d+/);
  const pipelineId = pipelineOf(dataDir);
  await killAllOf(dataDir);

  const interrupted = await startCli(["demo", "--data-dir", dataDir]);
  expect(await pollUntil(() => interrupted.stderr().includes(`Going on with tiny-lm ${pipelineId}`), 60_000)).toBe(true);
  interrupted.process.kill("SIGINT");
  expect((await interrupted.ended).code).toBe(130);
  expect(existsSync(join(dataDir, "postgres", "data", "postmaster.pid"))).toBe(false);

  const last = await (await startCli(["demo", "--data-dir", dataDir, "--exit"])).ended;
  expect(last.code, last.stderr).toBe(0);
  expect(pipelineOf(dataDir)).toBe(pipelineId);
  expect(last.stdout).toMatch(/^wide\s.*← chosen$/m);
  expect(last.stdout).toMatch(/^tidy\s+COMPLETED/m);
  expect(processesOf(dataDir)).toEqual([]);
});
