import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkHost, type HostReport } from "../../src/hosts/host-check.js";
import { remotePath, shellWord } from "../../src/hosts/remote-path.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";

const lineOf = (report: HostReport, name: string) => report.lines.find((line) => line.name === name);

describe.skipIf(!sshdIsHere)("the check of a host", () => {
  let sshd: OwnSshd;
  let bin: string;
  const program = (name: string, text: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  beforeAll(async () => {
    bin = mkdtempSync(join(tmpdir(), "ty-bin-"));
    sshd = await startSshd({ config: [`SetEnv PATH=${bin}:/usr/local/bin:/usr/bin:/bin`] });
  });
  afterAll(async () => {
    await sshd.stop();
    rmSync(bin, { recursive: true, force: true });
  });
  const check = (options: Partial<Parameters<typeof checkHost>[1]> = {}) => checkHost(sshd.access(), { workingDirectory: join(sshd.folder, "work"), pythonEnvironment: null, ...options });

  test("finds system, GPUs, driver, Python with its packages and the clock, in one report with a fix for what lacks", async () => {
    program("nvidia-smi", `echo "0, NVIDIA H100 80GB HBM3, 81559, 4, 550.54.15"; echo "1, NVIDIA H100 80GB HBM3, 81559, 0, 550.54.15"`);
    const report = await check();
    expect(report.ok).toBe(true);
    expect(report.facts).toMatchObject({ os: expect.stringContaining("Linux") as string, driver: "550.54.15", workingDirectoryIsWritable: true, gpus: [{ index: 0, model: "NVIDIA H100 80GB HBM3", memoryTotalMiB: 81559 }, { index: 1 }] });
    expect(report.facts.cpus).toBeGreaterThan(0);
    expect(report.facts.memoryBytes).toBeGreaterThan(1e8);
    expect(report.facts.diskFreeBytes).toBeGreaterThan(0);
    expect(report.facts.python?.version).toMatch(/^3\./);
    expect(Math.abs(report.facts.clockOffsetMs!)).toBeLessThan(5_000);
    expect(lineOf(report, "verl")).toMatchObject({ status: expect.stringMatching(/OK|ADVICE/) as string });
    for (const line of report.lines) if (line.status !== "OK") expect(line.fix).toBeTruthy();
  });

  test("a driver that hangs costs its own line: the rest is there in under 5 s", async () => {
    program("nvidia-smi", "sleep 60");
    const report = await check();
    expect(report.tookMs).toBeLessThan(5_000);
    expect(lineOf(report, "GPUs")).toMatchObject({ status: "NO_ANSWER", fix: expect.stringContaining("driver is stuck") as string });
    expect(report.facts.python?.version).toMatch(/^3\./);
    program("nvidia-smi", "echo Failed to initialize NVML: Driver/library version mismatch; exit 18");
    expect(lineOf(await check(), "GPUs")).toMatchObject({ status: "PROBLEM", found: expect.stringContaining("version mismatch") as string });
  });

  test("an environment without Python and a directory that is a file are problems, each with its fix", async () => {
    program("nvidia-smi", "exit 1");
    writeFileSync(join(sshd.folder, "plain"), "");
    const report = await check({ pythonEnvironment: join(sshd.folder, "no-venv"), workingDirectory: join(sshd.folder, "plain", "below") });
    expect(report.ok).toBe(false);
    expect(lineOf(report, "python")).toMatchObject({ status: "PROBLEM", found: "none", fix: expect.stringContaining("no-venv") as string });
    expect(lineOf(report, "working directory")).toMatchObject({ status: "PROBLEM" });
  });

  test("paths that a shell could read as something else never reach it", () => {
    for (const text of ["/a;touch x", "/a b", "/a'b", "$(x)", "/a\nb", "relative", "/a/../b", "~root/x", "/a\"b", "", "/a`b`", "/é"]) expect(remotePath(text)).toBeNull();
    expect(remotePath("~/.trainyard/")).toBe("~/.trainyard");
    expect(shellWord("~/a-b")).toBe(`"$HOME"'/a-b'`);
    expect(() => shellWord("/a'b")).toThrow();
  });
});
