import { spawn } from "node:child_process";
import { appendFileSync, chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LAUNCHER } from "../../src/launcher-script.js";
import { connectHost, type HostConnection } from "../../src/hosts/connection.js";
import { HELPER_PROGRAM, REMOTE_LAUNCHER } from "../../src/hosts/helper-program.js";
import type { StartRequest } from "../../src/hosts/remote-attempts.js";
import { HELPER_HASH, startHelper, type RemoteHelper } from "../../src/hosts/remote-helper.js";
import { identifyProcess } from "../../src/process-identity.js";
import { sshdIsHere, startSshd, type OwnSshd } from "../support/sshd.js";

const until = (what: () => unknown) => expect.poll(what, { timeout: 15_000, interval: 50 });

test("a remote program is launched as a local one is, and its exit status is brought to the disk", () => expect(REMOTE_LAUNCHER).toBe(`${LAUNCHER}/bin/sync "$exit" 2>/dev/null || :\n`));

test("the helper is a program of its own: it answers on a pipe, says what it does not know, and ends with its input", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ty-helper-"));
  const helper = spawn("python3", ["-u", "-c", `DIRECTORY=${JSON.stringify(folder)}\n${HELPER_PROGRAM}`], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: helper.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse((await lines.next()).value as string) as Record<string, never>;
  expect(await next()).toMatchObject({ ready: 1, directory: folder, boot: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim() });
  helper.stdin.write(`{"id":1,"op":"ping"}\n{"id":2,"op":"fly"}\n{"id":3,"op":"read","path":"${folder}/none","offset":0,"length":9}\n`);
  expect([await next(), await next(), await next()]).toMatchObject([{ id: 1, ok: {} }, { id: 2, error: { code: "INTERNAL" } }, { id: 3, error: { code: "FILE_NOT_FOUND" } }]);
  // A question is asked aside: what gives it up may come first.
  helper.stdin.write(`{"id":4,"op":"unask","key":7}\n${JSON.stringify({ id: 5, op: "ask", key: 7, environment: {}, inherit: ["PATH"], pathFirst: null, prefix: [], argv: ["sleep", "600"], input: "", timeoutMs: 600_000 })}\n`);
  expect([await next(), await next()]).toMatchObject([{ id: 4, ok: {} }, { id: 5, ok: { kind: "silent" } }]);
  const gone = new Promise((done) => helper.once("exit", done));
  helper.stdin.end();
  expect(await gone).toBe(0);
  rmSync(folder, { recursive: true });
});

describe.skipIf(!sshdIsHere)("the helper on a host", () => {
  let sshd: OwnSshd;
  let root: string;
  let connection: HostConnection;
  let helper: RemoteHelper;
  let count = 0;
  beforeAll(async () => { sshd = await startSshd(); });
  afterAll(() => sshd.stop());
  const open = async (): Promise<void> => {
    connection = await connectHost(sshd.access());
    helper = await startHelper(connection, { name: "gpu1", directory: root, pythonEnvironment: null });
  };
  beforeEach(async () => {
    root = join(sshd.folder, `work-${++count}`);
    await open();
  });
  afterEach(() => connection.end());

  const files = (name = "a") => ({ root: join(root, "run"), owner: "att_test", launch: join(root, `${name}.launch`), exit: join(root, `${name}.exit`) });
  const request = (argv: readonly string[], changes: Partial<StartRequest> = {}): StartRequest => ({
    argv, environment: { MARK: `m-${count}` }, inherit: ["PATH", "HOME"], pathFirst: null, make: [join(root, "run")], workingDirectory: join(root, "run"), ...files(), stdout: join(root, "out"), stderr: join(root, "out"), ...changes,
  });
  const ended = async (name = "a") => {
    await until(async () => (await helper.attempts.state(files(name))).status).not.toBeNull();
    return (await helper.attempts.state(files(name))).status;
  };

  test("a question that nobody waits for any more is ended with all that it started: out of time, given up, or left with its helper", async () => {
    const ask = (name: string, timeoutMs = 60_000) => helper.attempts.ask({ environment: {}, inherit: ["PATH"], pathFirst: null, prefix: [], argv: ["sh", "-c", `sleep 600 & echo $! > ${join(root, name)}; wait`], input: "", timeoutMs });
    const asleep = async (name: string): Promise<number> => {
      await until(() => existsSync(join(root, name)) && readFileSync(join(root, name), "utf8").endsWith("\n")).toBe(true);
      return Number(readFileSync(join(root, name), "utf8"));
    };
    const late = ask("late", 4_000);
    const first = await asleep("late");
    expect(await late.answer).toMatchObject({ kind: "silent" });
    await until(() => identifyProcess(first)).toBeNull();
    const given = ask("given");
    const second = await asleep("given");
    given.giveUp();
    await given.answer;
    await until(() => identifyProcess(second)).toBeNull();
    const never = ask("never"); // given up before it has begun, or as it does
    never.giveUp();
    expect(["silent", "answered"]).toContain((await never.answer).kind);
    const left = ask("left");
    left.answer.catch(() => undefined);
    const third = await asleep("left");
    helper.end();
    await until(() => identifyProcess(third)).toBeNull();
  }, 60_000);

  test("is installed once by its content, whole, and replaced when it was tampered with", async () => {
    const place = join(root, "helper", `${HELPER_HASH}.py`);
    expect(readFileSync(place, "utf8")).toBe(HELPER_PROGRAM);
    const before = statSync(place).ino;
    helper.end();
    helper = await startHelper(connection, { name: "gpu1", directory: root, pythonEnvironment: null });
    expect(statSync(place).ino).toBe(before);
    appendFileSync(place, "import os; os.system('touch /tmp/never')\n");
    helper.end();
    helper = await startHelper(connection, { name: "gpu1", directory: root, pythonEnvironment: null });
    expect(readFileSync(place, "utf8")).toBe(HELPER_PROGRAM);
    expect(readdirSync(join(root, "helper"))).toEqual([`${HELPER_HASH}.py`]);
  });

  test("starts a program in a session of its own that outlives connection, helper and sshd, and tells its end to the next helper", async () => {
    const { pid } = await helper.attempts.start(request(["sh", "-c", "echo begun; while [ ! -e go ]; do sleep 0.05; done; echo over; exit 7"]));
    await until(async () => (await helper.attempts.state(files())).launch?.pid).toBe(pid);
    expect(readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[5]).toBe(String(pid)); // leads its session
    await sshd.kill();
    expect((await helper.closed)).toMatchObject({ code: "SSH_CONNECTION_LOST" });
    expect(identifyProcess(pid)).not.toBeNull();
    await sshd.start();
    await open();
    expect(await helper.attempts.state(files())).toMatchObject({ begun: true, alive: true, status: null, launch: { pid, boot: helper.facts.boot } });
    writeFileSync(join(root, "run", "go"), "");
    expect(await ended()).toBe(7);
    expect(readFileSync(join(root, "out"), "utf8")).toBe("begun\nover\n");
  });

  test("of two starts of one attempt only one runs the program, from whatever helper", async () => {
    const other = await startHelper(connection, { name: "gpu1", directory: root, pythonEnvironment: null });
    const argv = ["sh", "-c", "echo once; sleep 0.3"];
    await Promise.all([helper.attempts.start(request(argv)), other.attempts.start(request(argv)), helper.attempts.start(request(argv))]);
    expect(await ended()).toBe(0);
    await helper.attempts.start(request(argv));
    await until(async () => (await helper.members({ launcher: { pid: 1, startedAt: "x" }, mark: `MARK=m-${count}`, known: [] })).length).toBe(0);
    expect(readFileSync(join(root, "out"), "utf8")).toBe("once\n");
    other.end();
  });

  test("words full of shell characters arrive as they are and touch nothing", async () => {
    const canary = join(sshd.folder, "canary");
    writeFileSync(canary, "alive");
    const nasty = [`; rm -f ${canary}`, `$(rm ${canary})`, "`id`", "'\"\\", "a\nb", "*", "~", "!x", "ünï", "-n", ""];
    await helper.attempts.start(request(["python3", "-c", "import json,os,sys; print(json.dumps([sys.argv[1:], os.environ['V']]))", ...nasty], { environment: { V: nasty.join("|") } }));
    expect(await ended()).toBe(0);
    expect(JSON.parse(readFileSync(join(root, "out"), "utf8"))).toEqual([nasty, nasty.join("|")]);
    expect(readFileSync(canary, "utf8")).toBe("alive");
  });

  test("stops a program with everything it started, also what left its session and its parent", async () => {
    const script = "import os,subprocess,time\nsubprocess.Popen(['sleep','600'],start_new_session=True)\nif os.fork()==0:\n  os.setsid()\n  if os.fork()==0:\n    open('deep','w').write(str(os.getpid()))\n    time.sleep(600)\n  os._exit(0)\nimport signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen('up','w').close()\ntime.sleep(600)";
    const { pid } = await helper.attempts.start(request(["python3", "-c", script]));
    await until(() => existsSync(join(root, "run", "up")) && existsSync(join(root, "run", "deep"))).toBe(true);
    await until(async () => (await helper.attempts.state(files())).launch?.pid).toBe(pid);
    const launcher = (await helper.attempts.state(files())).launch!;
    const who = { launcher: { pid, startedAt: launcher.startedAt }, mark: `MARK=m-${count}`, known: [] };
    expect((await helper.members(who)).length).toBeGreaterThanOrEqual(4);
    expect(await helper.stop({ ...who, first: null, graceMs: 300 })).toEqual([]);
    expect(await helper.members(who)).toEqual([]);
    expect(identifyProcess(Number(readFileSync(join(root, "run", "deep"), "utf8")))).toBeNull();
    expect(await helper.attempts.state(files())).toMatchObject({ alive: false });
  });

  test("a pid that went to somebody else is neither signalled nor taken for the program", async () => {
    const bystander = spawn("sleep", ["30"], { stdio: "ignore" });
    const identity = identifyProcess(bystander.pid!)!;
    const who = { launcher: { pid: identity.pid, startedAt: "1" }, mark: "MARK=nobody-has-it", known: [{ pid: identity.pid, startedAt: "2" }] };
    expect(await helper.stop({ ...who, first: null, graceMs: 100 })).toEqual([]);
    expect(identifyProcess(bystander.pid!)).not.toBeNull();
    bystander.kill("SIGKILL");
  });

  test("what cannot be started says why, and leaves no program behind", async () => {
    await expect(helper.attempts.start(request(["no-such-program-xyz"]))).rejects.toMatchObject({ code: "COMMAND_NOT_FOUND", message: expect.stringContaining("no-such-program-xyz") as string });
    writeFileSync(join(root, "plain"), "#!/bin/sh\n", { mode: 0o600 });
    await expect(helper.attempts.start(request([join(root, "plain")]))).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await expect(helper.attempts.start(request(["true"], { make: [], workingDirectory: join(root, "nowhere") }))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    expect(await helper.attempts.state(files())).toMatchObject({ begun: false, launch: null, status: null });
  });

  test("tails of many files come in order without gaps within a second, over cuts of the connection, truncation and replacement", async () => {
    const names = Array.from({ length: 30 }, (_, i) => join(root, `t-${i}`));
    const got = new Map(names.map((name) => [name, Buffer.alloc(0)]));
    const follow = (): void => {
      for (const name of names) {
        helper.tail(name, got.get(name)!.length, {
          bytes: (offset, bytes) => {
            expect(offset).toBe(got.get(name)!.length);
            got.set(name, Buffer.concat([got.get(name)!, bytes]));
          },
          restarted: () => void got.set(name, Buffer.alloc(0)),
        });
      }
    };
    const text = (name: string) => got.get(name)!.toString();
    follow();
    const written = new Map(names.map((name) => [name, ""]));
    for (let round = 0; round < 5; round++) {
      for (const name of names) {
        const line = `${round} ${"x".repeat(round * 50_000)} é\n`;
        appendFileSync(name, line);
        written.set(name, written.get(name)! + line);
      }
      if (round === 1 || round === 3) {
        sshd.cutSessions();
        await helper.closed;
        await open();
        follow();
      }
      await until(() => names.every((name) => text(name) === written.get(name))).toBe(true);
    }
    const [first, second] = names as [string, string];
    truncateSync(first, 0);
    await until(() => text(first)).toBe("");
    writeFileSync(`${second}.new`, "another file\n");
    renameSync(`${second}.new`, second);
    await until(() => text(second)).toBe("another file\n");
    const at = performance.now();
    appendFileSync(first, "late\n");
    await until(() => text(first)).toBe("late\n");
    expect(performance.now() - at).toBeLessThan(5_000); // a fifth of a second, on a machine that has time
  }, 60_000);

  test("reads, lists and looks at files by path, and follows no link", async () => {
    mkdirSync(join(root, "d"));
    writeFileSync(join(root, "d", "f"), "0123456789");
    expect(await helper.list(join(root, "d"))).toMatchObject([{ name: "f", kind: "file", size: 10 }]);
    expect(await helper.stat([join(root, "d"), join(root, "none")])).toMatchObject([{ kind: "folder" }, null]);
    const { bytes, size } = await helper.read(join(root, "d", "f"), 3, 4);
    expect([bytes.toString(), size]).toEqual(["3456", 10]);
    (await import("node:fs")).symlinkSync("/etc/passwd", join(root, "link"));
    await expect(helper.read(join(root, "link"), 0, 4)).rejects.toThrow();
  });

  test("GPUs come from nvidia-smi there, and a host without it has none", async () => {
    expect((await helper.gpus("no-nvidia-smi-here")).gpus.status).toBeNull();
    const program = join(root, "smi");
    writeFileSync(program, "#!/bin/sh\ncase $1 in --query-gpu*) echo '0, GPU-1, H100, 81559, 1, 0';; *) echo '42, GPU-1';; esac\n");
    chmodSync(program, 0o755);
    expect(await helper.gpus(program)).toEqual({ gpus: { status: 0, text: "0, GPU-1, H100, 81559, 1, 0\n" }, processes: { status: 0, text: "42, GPU-1\n" } });
  });
});

describe.skipIf(!sshdIsHere)("a host on which the helper cannot work", () => {
  test("without Python, without a place to write, or with a forced command the error says so, and nothing is left behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ty-none-"));
    const bare = await startSshd({ config: [`SetEnv PATH=${folder}`] });
    const silent = await startSshd({ config: ["ForceCommand /bin/true"] });
    try {
      const start = async (sshd: OwnSshd, directory: string, pythonEnvironment: string | null = null) => {
        const connection = await connectHost(sshd.access());
        try {
          return await startHelper(connection, { name: "gpu1", directory, pythonEnvironment });
        } finally {
          connection.end();
        }
      };
      await expect(start(bare, join(bare.folder, "w"))).rejects.toMatchObject({ code: "SSH_PYTHON_MISSING", message: expect.stringMatching(/^gpu1: .*Install Python/) as string });
      await expect(start(bare, join(bare.folder, "w"), join(bare.folder, "venv"))).rejects.toMatchObject({ code: "SSH_PYTHON_MISSING", message: expect.stringContaining("venv") as string });
      expect(existsSync(join(bare.folder, "w"))).toBe(false);
      await expect(start(silent, join(silent.folder, "w"))).rejects.toMatchObject({ code: "SSH_HELPER_FAILED", message: expect.stringContaining("forced command") as string });
      const open = await startSshd();
      try {
        writeFileSync(join(open.folder, "file"), "");
        await expect(start(open, join(open.folder, "file", "w"))).rejects.toMatchObject({ code: "SSH_DIRECTORY_REFUSED" });
        if (existsSync("/dev/full")) await expect(start(open, "/proc/nowhere")).rejects.toMatchObject({ code: "SSH_DIRECTORY_REFUSED" });
      } finally {
        await open.stop();
      }
    } finally {
      await bare.stop();
      await silent.stop();
      rmSync(folder, { recursive: true });
    }
  }, 60_000);
});
