// What the host is asked, and what is made of answers that are old or do not come. The interpreters are small shell scripts.
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, onTestFinished, test } from "vitest";
import { keepVersions, trainerCapabilities, type HostVersions, type Versions } from "../../../src/agent/host/versions.js";
import { testPlace } from "../../support/agents.js";

const folder = (): string => mkdtempSync(join(inject("runFolder"), "versions-"));

function interpreter(at: string, script: string): string {
  const file = join(at, "python3");
  writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return file;
}

/** Versions of a host whose Python runs `script`, and what it answered when it had. */
function asked(at: string, script: string): { versions: HostVersions; answered: Promise<Versions> } {
  let say: () => void = () => undefined;
  const said = new Promise<void>((done) => { say = done; });
  const versions = keepVersions({ place: testPlace, diskPath: at, agent: "1.0.0", nvidiaSmi: "/nonexistent/nvidia-smi", python: interpreter(at, script), cacheFile: join(at, "versions.json"), environment: { PATH: process.env["PATH"] }, answered: () => say() });
  onTestFinished(() => versions.close());
  return { versions, answered: said.then(() => versions.current()) };
}

test("what was found the last time is said at once by the next process, and replaced when the host answers", async () => {
  const at = folder();
  const first = asked(at, `echo '{"python":"3.11.7","verl":"0.7.1"}'`);
  expect(first.versions.current()).toMatchObject({ agent: "1.0.0", node: process.versions.node });
  expect(first.versions.current()).not.toHaveProperty("verl");
  expect(await first.answered).toMatchObject({ python: "3.11.7", verl: "0.7.1", cuda: null });
  const second = asked(at, `echo '{"python":"3.11.7","verl":"0.8.0"}'`);
  expect(second.versions.current()).toMatchObject({ verl: "0.7.1" });
  expect(await second.answered).toMatchObject({ verl: "0.8.0" });
});

test("an interpreter that is gone takes its packages with it", async () => {
  const at = folder();
  await asked(at, `echo '{"python":"3.11.7","verl":"0.7.1","trl":"0.28.0"}'`).answered;
  const answer = await asked(at, "exit 1").answered;
  expect(answer).toMatchObject({ python: null, verl: null, trl: null });
  expect(trainerCapabilities(answer)).toEqual([]);
});

test("what needs an engine that draws answers is told only where that engine is", () => {
  const told = (versions: Versions) => trainerCapabilities(versions);
  expect(told({ verl: "0.7.1" })).toEqual(["train:verl", "merge"]);
  expect(told({ verl: "0.7.1", vllm: "0.12.0", sglang: null })).toEqual(["train:verl", "merge", "train:verl:vllm", "evaluate:model:vllm"]);
  expect(told({ verl: null, vllm: "0.12.0" })).toEqual([]);
});

test("closing ends the question", async () => {
  const at = folder();
  const { versions } = asked(at, `echo $$ > ${at}/pid; exec sleep 600`);
  await expect.poll(() => existsSync(join(at, "pid")) && readFileSync(join(at, "pid"), "utf8")).toMatch(/\n$/);
  const pid = Number(readFileSync(join(at, "pid"), "utf8"));
  versions.close();
  await expect.poll(() => alive(pid)).toBe(false);
});

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
