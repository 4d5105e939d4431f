// The commands against a real server: exit codes, what goes to stdout and what to stderr, and that following misses nothing.
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parse } from "yaml";
import { beforeAll, describe, expect, test } from "vitest";
import { pollUntil } from "../../src/server/embedded/server-process.js";
import { packagePath } from "../../src/package-root.js";
import { cli, newFolder, startUp, type Up } from "./support.js";

const SLOW = { timeout: 120_000 };
const NODE = process.execPath;

interface StageGiven { readonly name: string; readonly [field: string]: unknown }
function specFile(name: string, stages: readonly StageGiven[]): string {
  const file = join(newFolder("spec-"), `${name}.json`);
  writeFileSync(file, JSON.stringify({ name, stages }));
  return file;
}
const program = (name: string, code: string, more: Record<string, unknown> = {}): StageGiven => ({ name, kind: "command", ...more, params: { run: [NODE, "-e", code], graceSeconds: 1 } });
const lines = (text: string) => text.trim().split("\n");
const records = (text: string) => lines(text).map((line) => JSON.parse(line) as Record<string, unknown>);

/** Restarts the control plane under everybody's feet. */
async function killControlPlane(up: Up): Promise<void> {
  const note = () => (JSON.parse(readFileSync(join(up.dataDir, "children.json"), "utf8")) as Record<string, { pid: number }>)["control plane"]!.pid;
  const before = note();
  process.kill(before, "SIGKILL");
  expect(await pollUntil(() => note() !== before, 15_000)).toBe(true);
}

describe("without a server", SLOW, () => {
  const nowhere = async () => {
    const probe = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => probe.once("listening", resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    return `http://127.0.0.1:${port}`;
  };

  test("an unreachable server is exit code 1, and the message names its address and how to start one", async () => {
    const url = await nowhere();
    for (const args of [["ls"], ["show", "x"], ["agents"], ["submit", packagePath("examples", "tiny-lm", "pipeline.yaml")]]) {
      const { code, stdout, stderr } = await cli(args, { env: { TRAINYARD_URL: url } });
      expect([code, stdout]).toEqual([1, ""]);
      expect(stderr).toContain(url);
      expect(stderr).toContain("trainyard up");
    }
  });

  test("wrong usage is exit code 2", async () => {
    for (const args of [["nonsense"], ["watch"], ["watch", "x", "--timeout", "soon"], ["ls", "--limit", "0"], ["ls", "--output", "xml"], ["fork", "x"], ["token", "create", "--role", "king", "--name", "x"], ["submit", "missing.yaml"], ["ls", "--url", "ftp://x"]]) {
      const { code, stdout, stderr } = await cli(args);
      expect([args, code, stdout]).toEqual([args, 2, ""]);
      expect(stderr).not.toContain("    at ");
    }
  });

  test("a specification is checked without a server, with file:line:col", async () => {
    const folder = newFolder();
    writeFileSync(join(folder, "bad.yaml"), "name: x\nstages:\n  - name: a\n    kind: command\n    dependsOn: [b]\n    params: { run: [echo] }\n");
    const { code, stdout, stderr } = await cli(["validate", "bad.yaml"], { cwd: folder });
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain("bad.yaml:5:17: error:");
    expect(stderr).toContain("    dependsOn: [b]\n");
    const asData = JSON.parse((await cli(["validate", "bad.yaml", "--json"], { cwd: folder })).stdout) as { ok: boolean; problems: { line: number; code: string }[] };
    expect(asData).toMatchObject({ ok: false, problems: [{ line: 5, column: 17, code: "UNKNOWN_DEPENDENCY" }] });
  });

  test("the plan of a good one is explained", async () => {
    const { code, stdout } = await cli(["validate", packagePath("examples", "tiny-lm", "pipeline.yaml"), "--explain", "--offline", "--json"]);
    expect(code).toBe(0);
    const { plan } = JSON.parse(stdout) as { plan: { name: string; layer: number; queue: string }[] };
    expect(plan.find(({ name }) => name === "choose")).toMatchObject({ layer: 4, queue: "default" });
  });

  test("help loads nothing of the server, and names every command", async () => {
    const { code, stdout } = await cli(["--help"]);
    expect(code).toBe(0);
    for (const name of "up demo server agent migrate submit validate watch ls show logs cancel pause resume retry fork approve agents queues token doctor checkpoint events".split(" ")) expect(stdout).toMatch(new RegExp(`^  ${name}\\b`, "m"));
  });

  test("a bug is one line that says how to see more", async () => {
    const { code, stderr } = await cli(["ls"], { env: { TRAINYARD_URL: await nowhere(), TRAINYARD_DEBUG: "1" } });
    expect(code).toBe(1);
    expect(stderr).toContain("    at ");
  });
});

describe("with a server", SLOW, () => {
  let up: Up;
  beforeAll(async () => {
    let end = async () => undefined as void;
    up = await startUp({ atEnd: (given) => void (end = given) });
    return end;
  }, 60_000);

  test("reading commands give tables, JSON, YAML and ids; nothing but data is on stdout", async () => {
    const submitted = await up.cli("submit", specFile("one", [program("a", "console.log('hello')")]));
    const id = submitted.stdout.trim();
    expect([submitted.code, id]).toEqual([0, expect.stringMatching(/^pip_/)]);
    expect(submitted.stderr).toContain(`watch ${id}`);
    expect((await up.cli("watch", id)).code).toBe(0);

    expect((await up.cli("ls", "--quiet", "--name", "one")).stdout).toBe(`${id}\n`);
    expect(JSON.parse((await up.cli("ls", "--json", "--status", "completed", "--name", "one")).stdout)).toMatchObject([{ id, name: "one", status: "COMPLETED", stageCounts: { COMPLETED: 1 } }]);
    expect(parse((await up.cli("ls", "-o", "yaml", "--name", "one")).stdout)).toMatchObject([{ id }]);
    expect((await up.cli("ls", "--status", "failed", "--name", "one")).stdout).toBe("");
    expect((await up.cli("ls")).stdout).toMatch(/^ID\s+NAME\s+STATUS/);
    expect(JSON.parse((await up.cli("show", "one", "--json")).stdout)).toMatchObject({ id, stages: [{ name: "a", status: "COMPLETED" }] });
    expect((await up.cli("show", id, "a")).stdout).toContain("attempts");
    expect((await up.cli("logs", id, "--stage", "a")).stdout).toBe("hello\n");
    expect((await up.cli("logs", id)).stdout).toBe("a | hello\n");
    expect(records((await up.cli("events", id, "--json")).stdout).map(({ type }) => type)).toContain("StageCompleted");
    expect(JSON.parse((await up.cli("agents", "--json")).stdout)).toMatchObject([{ status: "ONLINE" }]);
    expect(JSON.parse((await up.cli("queues", "--json")).stdout)).toContainEqual({ name: "training", waiting: 0, running: 0, capacity: 1 });
    const doctor = await up.cli("doctor", "--json");
    expect(doctor.code).toBe(0);
    expect((JSON.parse(doctor.stdout) as { checks: { name: string; status: string }[] }).checks.filter(({ status }) => status === "failure")).toEqual([]);
    for (const args of [["show"], ["watch"], ["logs"], ["cancel"], ["events"]]) expect((await up.cli(...args, "no-such-pipeline")).code).toBe(5);
  });

  test("the exit code of watch tells how the pipeline ended: failed 3, cancelled 6, timed out 124, Ctrl-C 130", async () => {
    const failed = await up.cli("submit", specFile("fails", [program("a", "console.log('last words'); process.exit(7)")]), "--watch");
    expect(failed.code).toBe(3);
    expect(failed.stderr).toContain("EXIT_NONZERO");
    expect(failed.stderr).toContain("last words");
    expect(failed.stderr).toContain("trainyard retry");

    const id = (await up.cli("submit", specFile("long", [program("a", "setInterval(() => {}, 1000)")]))).stdout.trim();
    const timedOut = await up.cli("watch", id, "--timeout", "300ms");
    expect(timedOut.code).toBe(124);
    expect(timedOut.stderr).toContain(`watch ${id}`);
    const watched = await up.start("watch", id);
    expect(await pollUntil(() => watched.stdout().includes("long"), 15_000)).toBe(true);
    watched.process.kill("SIGINT");
    const left = await watched.ended;
    expect([left.code, left.stderr]).toEqual([130, expect.stringContaining(`watch ${id}`)]);
    const toTheEnd = await up.start("watch", id, "--json");
    expect(await pollUntil(() => toTheEnd.stdout() !== "", 15_000)).toBe(true);
    expect((await up.cli("cancel", "long", "--reason", "enough")).code).toBe(0);
    const cancelled = await toTheEnd.ended;
    expect(cancelled.code).toBe(6);
    expect(records(cancelled.stdout).at(-1)).toMatchObject({ type: "PipelineCancelled" });
  });

  test("submitting again with the same request id gives the same pipeline, with another specification a conflict", async () => {
    const file = specFile("same", [program("a", "1")]);
    const first = await up.cli("submit", file, "--request-id", "r1");
    const second = await up.cli("submit", file, "--request-id", "r1");
    expect([second.code, second.stdout]).toEqual([0, first.stdout]);
    const third = await up.cli("submit", file, "--request-id", "r1", "--set", "name=other");
    expect([third.code, third.stdout]).toEqual([1, ""]);
    expect(lines((await up.cli("ls", "--quiet", "--name", "same")).stdout)).toHaveLength(1);
  });

  test("a dry run asks the server and stores nothing; --set and the file's directory are applied", async () => {
    const folder = newFolder();
    writeFileSync(join(folder, "p.yaml"), 'name: p\nstages:\n  - name: a\n    kind: command\n    params: { run: [node, "${pipeline.directory}/x.mjs"] }\n');
    expect((await up.cli("submit", join(folder, "p.yaml"), "--dry-run")).code).toBe(0);
    const bad = await up.cli("submit", join(folder, "p.yaml"), "--dry-run", "--set", "stages.a.retry.maxAttempts=0");
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain("--set stages.a.retry.maxAttempts=0");
    expect((await up.cli("ls", "-q", "--name", "p")).stdout).toBe("");
    writeFileSync(join(folder, "x.mjs"), "console.log('ran from ' + import.meta.url)");
    const id = (await up.cli("submit", join(folder, "p.yaml"), "--watch", "--quiet", "--set", "labels.team=me")).stdout.trim();
    expect((await up.cli("logs", id, "--stage", "a")).stdout).toContain(folder);
    expect(JSON.parse((await up.cli("show", id, "--json")).stdout)).toMatchObject({ labels: { team: "me" } });
  });

  test("retry, pause, resume, approve and fork do what they say", async () => {
    const marker = join(newFolder(), "fixed");
    const flaky = program("a", `process.exit(require("fs").existsSync(${JSON.stringify(marker)}) ? 0 : 1)`);
    const id = (await up.cli("submit", specFile("flow", [flaky, { name: "gate", kind: "approval", dependsOn: ["a"], params: { message: "ship it?" } }, program("b", "console.log(process.argv[1] ?? 'plain')", { dependsOn: ["gate"] })]))).stdout.trim();
    expect((await up.cli("watch", id)).code).toBe(3);
    expect((await up.cli("approve", id)).code).toBe(1);
    writeFileSync(marker, "");
    expect((await up.cli("retry", id)).code).toBe(0);
    expect(await pollUntil(async () => (await up.cli("show", id)).stdout.includes("WAITING_APPROVAL"), 20_000)).toBe(true);
    expect((await up.cli("pause", id)).code).toBe(0);
    expect((await up.cli("resume", id)).code).toBe(0);
    expect((await up.cli("approve", id, "--reason", "looks good")).code).toBe(0);
    expect((await up.cli("watch", id)).code).toBe(0);
    const run = JSON.stringify([NODE, "-e", "console.log('forked')"]);
    const forked = await up.cli("fork", id, "--from", "b", "--set", `run=${run}`);
    expect(forked.stdout.trim()).toMatch(/^pip_/);
    expect((await up.cli("watch", forked.stdout.trim())).code).toBe(0);
    expect((await up.cli("logs", forked.stdout.trim(), "--stage", "b")).stdout).toBe("forked\n");
    expect((await up.cli("fork", id, "--from", "nothing")).code).not.toBe(0);
  });

  test("tokens: roles are enforced as exit code 4, a token made in the database works, a revoked one is refused", async () => {
    const viewer = JSON.parse((await up.cli("token", "create", "--role", "viewer", "--name", "guest", "--json")).stdout) as { id: string; token: string };
    const asViewer = (...args: string[]) => cli(args, { env: { TRAINYARD_URL: up.url, TRAINYARD_TOKEN: viewer.token } });
    expect((await asViewer("ls")).code).toBe(0);
    expect((await asViewer("submit", specFile("no", [program("a", "1")]))).code).toBe(4);
    expect((await asViewer("token", "ls")).code).toBe(4);
    expect((await cli(["ls"], { env: { TRAINYARD_URL: up.url, TRAINYARD_TOKEN: "nonsense" } })).code).toBe(4);
    const anonymous = await cli(["ls"], { env: { TRAINYARD_URL: up.url } });
    expect([anonymous.code, anonymous.stderr]).toEqual([4, expect.stringContaining("TRAINYARD_TOKEN")]);
    const local = await cli(["token", "create", "--role", "operator", "--name", "here", "--local", "--data-dir", up.dataDir]);
    expect((await cli(["ls"], { env: { TRAINYARD_URL: up.url, TRAINYARD_TOKEN: local.stdout.trim() } })).code).toBe(0);
    expect((await up.cli("token", "revoke", viewer.id)).code).toBe(2);
    expect((await up.cli("token", "revoke", viewer.id, "--yes")).code).toBe(0);
    expect((await asViewer("ls")).code).toBe(4);
    expect((await up.cli("token", "ls")).stdout).not.toContain(viewer.token);
  });

  test("watch over a killed control plane shows every event once and in order", async () => {
    const stages = Array.from({ length: 12 }, (_, index) => program(`s${index}`, "setTimeout(() => {}, 300)", index === 0 ? {} : { dependsOn: [`s${index - 1}`] }));
    const id = (await up.cli("submit", specFile("chain", stages))).stdout.trim();
    const watched = await up.start("watch", id, "--json");
    expect(await pollUntil(() => watched.stdout().includes("StageCompleted"), 20_000)).toBe(true);
    await killControlPlane(up);
    const { code, stdout, stderr } = await watched.ended;
    expect([code, stderr]).toEqual([0, expect.stringContaining("connection")]);
    const [state, ...events] = records(stdout);
    expect(state).toMatchObject({ type: "PipelineState", pipelineId: id, stages: { s0: expect.any(String) as string } });
    const seqs = events.map(({ seq }) => Number(seq));
    expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index));
    expect(records(stdout).at(-1)).toMatchObject({ type: "PipelineCompleted" });
  });

  test("logs -f over a killed control plane gives exactly what the program wrote", async () => {
    const count = 400;
    const code = `let n = 0; const tick = setInterval(() => { console.log("line " + n + " äöü 表示 " + "x".repeat(n % 50)); if (++n === ${count}) clearInterval(tick); }, 10);`;
    const id = (await up.cli("submit", specFile("talks", [program("a", code)]))).stdout.trim();
    const followed = await up.start("logs", "-f", id, "--stage", "a");
    expect(await pollUntil(() => followed.stdout().includes("line 20 "), 20_000)).toBe(true);
    await killControlPlane(up);
    const { code: exit, stdout, stderr } = await followed.ended;
    expect(exit, stderr).toBe(0);
    expect(lines(stdout)).toEqual(Array.from({ length: count }, (_, n) => `line ${n} äöü 表示 ${"x".repeat(n % 50)}`));
    const last = await up.cli("logs", id, "--stage", "a", "--tail", "3");
    expect(lines(last.stdout), last.stderr).toEqual(lines(stdout).slice(-3));
    expect(lines((await up.cli("logs", id, "--stage", "a", "--grep", "^line 1[23] ")).stdout)).toHaveLength(2);
    expect(lines((await up.cli("logs", "-f", id)).stdout)).toHaveLength(count);
  });

  test("checkpoints are listed, pinned, and deleted only when not pinned", async () => {
    const code = `const fs = require("fs"); const dir = process.env.TRAINYARD_OUTPUT_DIR; fs.mkdirSync(dir, { recursive: true }); for (const step of [1, 2]) { fs.writeFileSync(dir + "/c" + step, "w"); fs.appendFileSync(process.env.TRAINYARD_METRICS_FILE, JSON.stringify({ step, data: { loss: 1 / step }, checkpoint: dir + "/c" + step }) + "\\n"); }`;
    const id = (await up.cli("submit", specFile("saves", [program("a", code)]), "-w", "-q")).stdout.trim();
    const list = async () => JSON.parse((await up.cli("checkpoint", "ls", id, "--json")).stdout) as { id: string; step: number; isPinned: boolean; path: string }[];
    expect(await pollUntil(async () => (await list()).length === 2, 10_000)).toBe(true);
    const [first, second] = await list();
    const fetched = newFolder();
    expect((await up.cli("checkpoint", "fetch", first!.id, "--to", fetched)).code).toBe(0);
    expect(readFileSync(join(fetched, "c1"), "utf8")).toBe("w");
    expect((await up.cli("checkpoint", "pin", first!.id)).code).toBe(0);
    expect((await up.cli("checkpoint", "rm", first!.id, "--yes")).code).toBe(1);
    expect((await up.cli("checkpoint", "rm", second!.id, "--yes")).code).toBe(0);
    expect(await pollUntil(async () => (await list()).length === 1, 20_000)).toBe(true);
    expect((await list())[0]).toMatchObject({ id: first!.id, isPinned: true });
  });

  test("an agent is drained and undrained by name", async () => {
    const [agent] = JSON.parse((await up.cli("agents", "--json")).stdout) as { name: string }[];
    expect((await up.cli("agents", "drain", agent!.name, "--reason", "new disk")).code).toBe(0);
    expect(JSON.parse((await up.cli("agents", "show", agent!.name, "--json")).stdout)).toMatchObject({ draining: true });
    expect((await up.cli("agents", "undrain", agent!.name)).code).toBe(0);
    expect((await up.cli("agents", "drain", "nobody")).code).toBe(5);
  });
});
