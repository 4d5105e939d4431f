// The program that installs agents on hosts, asked over a real sshd; the supervisor it leaves; what is judged from its answers.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connectHost } from "../../../src/hosts/connection.js";
import { openDeployer, type Deployer } from "../../../src/hosts/deploy/deployer.js";
import { createDeployProgress } from "../../../src/hosts/deploy/deploy-progress.js";
import { chooseNode, nodeSuffices, ownNodeSystem, refuseLackOfRoom, type HostLook } from "../../../src/hosts/deploy/host-fitness.js";
import { SUPERVISOR_PROGRAM } from "../../../src/hosts/deploy/supervisor-program.js";
import { asBefore, refuseUnusableDeployment } from "../../../src/access/deployment-input.js";
import type { InvalidInputError } from "../../../src/domain/errors.js";
import { identifyProcess } from "../../../src/process-identity.js";
import { pollUntil } from "../../../src/server/embedded/server-process.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../../support/sshd.js";

const UNIT = "trainyard-agent-unit1.service";

describe.skipIf(!sshdIsHere)("asked on a host", { timeout: 60_000 }, () => {
  let sshd: OwnSshd;
  let deployer: Deployer;
  beforeAll(async () => {
    sshd = await startSshd();
    deployer = openDeployer({ access: sshd.access(), directory: join(sshd.folder, "w"), pythonEnvironment: null, signal: new AbortController().signal });
  }, 60_000);
  afterAll(async () => {
    deployer.close();
    await sshd.stop();
  });

  test("whether systemd serves the user is what systemctl --user itself says, and a look leaves nothing there", async () => {
    const look = await deployer.ask<HostLook>("look", { unit: UNIT });
    const asked = spawnSync("systemctl", ["--user", "show", "--property=Version"], { encoding: "utf8", env: { ...process.env, XDG_RUNTIME_DIR: process.env["XDG_RUNTIME_DIR"] ?? `/run/user/${process.getuid!()}` } });
    expect(look.systemd.usable).toBe(asked.status === 0 && asked.stdout.includes("Version="));
    if (!look.systemd.usable) expect(look.systemd.reason).toMatch(/\S/);
    expect(look).toMatchObject({ system: "Linux", current: null, tokenSha256: null, running: { agent: null, supervision: null, processes: [] } });
    expect(spawnSync("ls", [join(sshd.folder, "w")], { encoding: "utf8" }).stdout.trim()).toBe("helper");
  });

  test("the unit names no secret, lets programs live, and is one that systemd understands", async () => {
    const { text } = await deployer.ask<{ text: string }>("unit", { name: "unit1" });
    const agent = join(sshd.folder, "w/agent");
    expect(text).toContain(`ExecStart=${agent}/current/node ${agent}/current/package/dist/agent/deployed-agent.program.js ${agent}\n`);
    expect(text).toContain("KillMode=process\n");
    expect(text).toContain("Restart=always\n");
    expect(text).not.toMatch(/TOKEN|Environment/);
    if (spawnSync("systemd-analyze", ["--version"]).status !== 0) return console.warn("NOT RUN: systemd's own check of the unit, because there is no systemd-analyze here.");
    const file = join(sshd.folder, UNIT);
    mkdirSync(join(agent, "current/package/dist/agent"), { recursive: true });
    mkdirSync(join(agent, "state"), { recursive: true });
    symlinkSync(process.execPath, join(agent, "current/node"));
    writeFileSync(file, text);
    const checked = spawnSync("systemd-analyze", ["verify", "--man=no", file], { encoding: "utf8", env: { ...process.env, SYSTEMD_LOG_LEVEL: "warning" } });
    rmSync(agent, { recursive: true });
    expect(checked.stderr.split("\n").filter((line) => line.includes(UNIT))).toEqual([]);
  });

  test("an archive that is not what was sent never becomes a release", async () => {
    const archive = join(sshd.folder, "bad.tar.gz");
    execFileSync("python3", ["-c", "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\nfor name in sys.argv[2:]:\n    i = tarfile.TarInfo(name); i.size = 1; t.addfile(i, io.BytesIO(b'x'))", archive, "../outside", "manifest"]);
    const wanted = { release: "0".repeat(40), packageHash: "1".repeat(64), node: { path: process.execPath } };
    await expect(deployer.ask("install", { ...wanted, archive })).rejects.toMatchObject({ code: "DEPLOY_FAILED", message: expect.stringContaining("../outside") });
    execFileSync("python3", ["-c", "import io, sys, tarfile\nt = tarfile.open(sys.argv[1], 'w:gz')\ni = tarfile.TarInfo('manifest'); i.size = 1; t.addfile(i, io.BytesIO(b'x'))\nt.close()", archive]);
    await expect(deployer.ask("install", { ...wanted, archive })).rejects.toMatchObject({ code: "DEPLOY_FAILED", message: expect.stringContaining("not what was sent") });
    expect(spawnSync("ls", ["-A", join(sshd.folder, "w/agent/releases")], { encoding: "utf8" }).stdout.trim()).toBe("");
    await expect(deployer.ask("revert")).resolves.toEqual({ release: null });
  });

  test("a connection that ended between two questions is noticed before the next one is asked", async () => {
    expect(await deployer.ask("state", { unit: UNIT })).toMatchObject({ agent: null });
    expect(sshd.cutSessions()).toBeGreaterThan(0);
    (await connectHost(sshd.access())).end(); // by then the end of the other one is here
    expect(await deployer.ask("state", { unit: UNIT })).toMatchObject({ agent: null });
  });

  test("removing keeps an attempt with a checkpoint, whatever the real path of the working directory is called", async () => {
    const real = join(sshd.folder, "odd [a-z]* ?");
    const attempt = join(real, "agent/state/attempts/pip_1/train/1");
    mkdirSync(join(attempt, "output/step-1"), { recursive: true });
    mkdirSync(join(real, "agent/state/attempts/pip_1/look/1"), { recursive: true });
    writeFileSync(join(attempt, "checkpoints"), `${JSON.stringify(join(attempt, "output/step-1"))}\n`);
    symlinkSync(real, join(sshd.folder, "odd"));
    const odd = openDeployer({ access: sshd.access(), directory: join(sshd.folder, "odd"), pythonEnvironment: null, signal: new AbortController().signal });
    try {
      expect(await odd.ask("remove", { unit: UNIT, patienceMs: 5_000 })).toEqual({ kept: [attempt] });
    } finally {
      odd.close();
    }
    expect(existsSync(join(attempt, "output/step-1"))).toBe(true);
    expect(existsSync(join(real, "agent/state/attempts/pip_1/look"))).toBe(false);
  });
});

describe("the supervisor", { timeout: 60_000 }, () => {
  const folders: string[] = [];
  const pids: number[] = [];
  afterEach(() => {
    for (const pid of pids.splice(0)) if (identifyProcess(pid) !== null) process.kill(pid, "SIGKILL");
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
  });
  /** A folder in which `script` stands for Node and the agent. */
  const supervised = (script: string): { folder: string; pid: number; starts(): number; said(): string } => {
    const folder = mkdtempSync(join(tmpdir(), "ty-sup-"));
    folders.push(folder);
    for (const name of ["state", "logs", "releases/one"]) mkdirSync(join(folder, name), { recursive: true });
    symlinkSync("releases/one", join(folder, "current"));
    writeFileSync(join(folder, "releases/one/node"), `#!/bin/sh\n${script}\n`, { mode: 0o700 });
    writeFileSync(join(folder, "supervisor.py"), SUPERVISOR_PROGRAM);
    const { pid } = spawn("python3", [join(folder, "supervisor.py")], { stdio: "ignore", detached: true });
    pids.push(pid!);
    return {
      folder, pid: pid!, starts: () => { try { return (JSON.parse(readFileSync(join(folder, "run/supervisor.json"), "utf8")) as { starts: number }).starts; } catch { return 0; } },
      said: () => { try { return readFileSync(join(folder, "logs/agent.out"), "utf8"); } catch { return ""; } },
    };
  };

  test("starts its agent again and again, ever later, and keeps what it says", async () => {
    const run = supervised("python3 -c 'import time; print(time.monotonic())'; exit 3");
    const starts = (): number[] => run.said().split("\n").slice(0, -1).map(Number);
    expect(await pollUntil(() => starts().length >= 4, 30_000)).toBe(true);
    const [, second, third, fourth] = starts() as [number, number, number, number];
    expect(third - second).toBeGreaterThan(0.9); // it waits 1 s, then 2 s
    expect(fourth - third).toBeGreaterThan(1.9);
    expect(run.starts()).toBeGreaterThanOrEqual(4);
  });

  test("passes SIGTERM on, ends after its agent, and starts nothing after that", async () => {
    const run = supervised(`trap 'echo told; exit 0' TERM; echo up $$; while :; do sleep 0.05; done`);
    expect(await pollUntil(() => run.said().includes("up "), 30_000)).toBe(true);
    const agent = Number(/up (\d+)/.exec(run.said())![1]);
    process.kill(run.pid, "SIGTERM");
    expect(await pollUntil(() => identifyProcess(run.pid) === null, 30_000)).toBe(true);
    expect(identifyProcess(agent)).toBeNull();
    expect(run.said()).toBe(`up ${agent}\ntold\n`);
  });

  test("is one per folder", async () => {
    const run = supervised("exec sleep 60");
    expect(await pollUntil(() => run.starts() === 1, 30_000)).toBe(true);
    const second = spawnSync("python3", [join(run.folder, "supervisor.py")], { encoding: "utf8", timeout: 20_000 });
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("another supervisor") });
    process.kill(run.pid, "SIGTERM");
    expect(await pollUntil(() => identifyProcess(run.pid) === null, 30_000)).toBe(true);
  });
});

describe("what is judged", () => {
  const look = (changes: Partial<HostLook>): HostLook => ({ system: "Linux", machine: "x86_64", libc: "glibc 2.36", directory: "/w", path: "/bin", user: "ml", freeBytes: 1e10, nodes: [], systemd: { usable: false, reason: "x", linger: false }, current: null, running: { agent: null, supervision: null, processes: [], starts: 0 }, tokenSha256: null, configSha256: null, ...changes });
  const x64 = { platform: "linux", arch: "x64", glibc: "2.36" };

  test("a Node that is new enough is used; otherwise ours, where system, machine and C library are the same; otherwise the order is refused with what to do", () => {
    const nodes = [{ path: "/usr/bin/node", version: "v18.20.0" }, { path: "/opt/node", version: "v22.14.0" }];
    expect(chooseNode("h", look({ nodes }), x64, false)).toEqual(nodes[1]);
    expect(chooseNode("h", look({ nodes }), x64, true).path).toBeNull();
    expect(chooseNode("h", look({ nodes: nodes.slice(0, 1) }), x64, false).path).toBeNull();
    const refused = (changes: Partial<HostLook>, own = x64) => () => chooseNode("h", look(changes), own, false);
    expect(refused({ machine: "aarch64", nodes: nodes.slice(0, 1) })).toThrow(/linux x64, and it is Linux aarch64\. Install Node 20\.19 or newer on it \(\/usr\/bin\/node is v18\.20\.0\)/);
    expect(refused({ libc: null })).toThrow(/needs glibc/);
    expect(refused({}, { ...x64, glibc: null as unknown as string })).toThrow(/needs musl/);
    expect(refused({ system: "Darwin" })).toThrow(/on Linux only/);
    expect(["v20.18.1", "v20.19.0", "v22.11.0", "v22.12.0", "v23.0.0", "v18.20.0", "x"].map(nodeSuffices)).toEqual([false, true, false, true, true, false, false]);
    expect(ownNodeSystem()).toMatchObject({ platform: process.platform, arch: process.arch });
  });

  test("what an order leaves open is as it was for the agent that runs there", () => {
    const before = { url: "https://a.example", pools: "training=1", labels: "gpu=h100", python: null, caCertificate: null, sendNode: true };
    const open = { url: null, pools: null, labels: null, python: null, caCertificate: null, sendNode: null };
    expect(asBefore(open, before)).toEqual(before);
    expect(asBefore({ ...open, labels: "", sendNode: false }, before)).toEqual({ ...before, labels: "", sendNode: false });
    expect(asBefore(open, null)).toEqual(open);
  });

  test("a disk without room is told with both figures", () => {
    expect(() => refuseLackOfRoom("h", look({ freeBytes: 100 * 2 ** 20 }), 200 * 2 ** 20)).toThrow(/264 MiB are needed in \/w, and 100 MiB are free/);
    expect(() => refuseLackOfRoom("h", look({ freeBytes: 300 * 2 ** 20 }), 200 * 2 ** 20)).not.toThrow();
  });

  test("an address that only this machine can mean is refused for another one, with the flag that gives the right one", () => {
    const input = { url: "http://127.0.0.1:7070", pools: null, labels: null, python: null, caCertificate: null, sendNode: false };
    const problems = (changes: object, host = "10.0.0.7", prefix: string[] = []): unknown => {
      try {
        refuseUnusableDeployment({ ...input, ...changes }, { name: "gpu1", host, command_prefix: prefix });
        return [];
      } catch (error) {
        return (error as InvalidInputError).problems.map(({ path, hint }) => [path, hint?.includes("--agent-url") ?? false]);
      }
    };
    expect(problems({})).toEqual([["url", true]]);
    expect(problems({}, "localhost")).toEqual([]);
    expect(problems({ url: "https://trainyard.example" })).toEqual([]);
    expect(problems({ url: "http://0.0.0.0:7070" }, "127.0.0.1")).toEqual([["url", true]]);
    expect(problems({ url: "https://trainyard.example" }, "10.0.0.7", ["apptainer", "exec"])).toEqual([["hostId", false]]);
  });

  test("the time to go follows the pace of the last seconds", () => {
    let now = 0;
    const progress = createDeployProgress(() => undefined, () => now);
    const step = progress.begin("send");
    step.moved(0, 1_000);
    now = 1_000;
    step.moved(250, 1_000);
    expect(progress.steps[0]).toMatchObject({ state: "RUNNING", bytesDone: 250, bytesTotal: 1_000, etaMs: 3_000 });
    step.done("all of it");
    expect(progress.steps[0]).toMatchObject({ state: "DONE", detail: "all of it", etaMs: null });
  });
});
