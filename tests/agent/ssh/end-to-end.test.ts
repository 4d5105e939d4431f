// The whole of it, as users start it: `trainyard up`, a host that is added, pipelines on it. Real control plane, real stores, a real sshd, the built program.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sshdIsHere, startSshd, type OwnSshd } from "../../support/sshd.js";
import { newFolder, startUp, type Up } from "../../cli/support.js";

const PATIENCE = { timeout: 90_000, interval: 250 };
const labels = { host: "gpu1" };
const python = (script: string, ...args: readonly string[]) => ["python3", "-c", `import json,os,sys\n${script}`, ...args];
const stage = (name: string, run: readonly string[], more: object = {}) => ({ name, kind: "command", resources: { labels }, params: { run }, ...more });
const adds = `open(os.environ["TRAINYARD_OUTPUTS_FILE"],"w").write(json.dumps({"n": sum(int(word) for word in sys.argv[1:]) + 1}))`;
const diamond = { name: "diamond", stages: [
  stage("a", python(adds, "19")),
  stage("b", python(adds, "${stages.a.outputs.n}"), { dependsOn: ["a"] }),
  stage("c", python(adds, "${stages.a.outputs.n}"), { dependsOn: ["a"] }),
  stage("d", python(adds, "${stages.b.outputs.n}", "${stages.c.outputs.n}"), { dependsOn: ["b", "c"] }),
] };
const metrics = { name: "metrics", stages: [stage("train", python(`
for step in range(1, 51):
    open(os.environ["TRAINYARD_METRICS_FILE"], "a").write(json.dumps({"step": step, "data": {"train/loss": 2 / step, "train/lr": 1e-5}}) + "\\n")`), { retry: { maxAttempts: 2, backoffSeconds: 1 }, timeoutSeconds: 60 })] };

describe.skipIf(!sshdIsHere)("trainyard up and an SSH host", () => {
  let up: Up;
  let sshd: OwnSshd;
  let end = async () => undefined as void;
  const graphql = async <T>(query: string, variables: object = {}): Promise<T> => {
    const answer = await fetch(up.url, { method: "POST", headers: { "content-type": "application/json", authorization: `Bearer ${up.token}` }, body: JSON.stringify({ query, variables }) });
    const body = await answer.json() as { data: T; errors?: object };
    if (body.errors !== undefined) throw new Error(JSON.stringify(body.errors));
    return body.data;
  };
  const agent = async (name: string) => (await graphql<{ agents: { name: string; status: string; runMode: string; problem: string | null }[] }>("{ agents { name status runMode problem } }")).agents.find((found) => found.name === name);
  const submit = async (spec: object): Promise<string> => {
    const file = join(newFolder(), "pipeline.json");
    writeFileSync(file, JSON.stringify(spec));
    const answer = await up.cli("submit", file, "--json");
    expect(answer.stderr + answer.stdout).toMatch(/pip_/);
    return /pip_[0-9A-Za-z]+/.exec(answer.stdout)![0];
  };
  const shown = async (id: string) => JSON.parse((await up.cli("show", id, "--json")).stdout) as { status: string; stages: { name: string; status: string; outputs?: Record<string, number> | null; error?: { code: string; message: string } | null }[] };
  const sshAgentsPid = (): number => readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").includes(`ssh-agents --supervised --data-dir ${up.dataDir} `);
    } catch {
      return false;
    }
  })!;
  beforeAll(async () => {
    sshd = await startSshd();
    up = await startUp({ args: ["--no-agent"], atEnd: (given) => void (end = given) });
  }, 60_000);
  afterAll(async () => {
    await end();
    await sshd.stop();
  });

  test("an added host has its agent within seconds, without a restart", async () => {
    const key = join(sshd.folder, "id");
    writeFileSync(key, sshd.privateKey, { mode: 0o600 });
    const added = await up.cli("host", "add", "gpu1", `${sshd.access().username}@127.0.0.1:${sshd.port}`, "--key", key, "--fingerprint", sshd.hostKey.fingerprint, "--dir", join(sshd.folder, "work"), "--env", "FROM_HOST=yes");
    expect(added.code).toBe(0);
    await expect.poll(() => agent("gpu1"), PATIENCE).toMatchObject({ status: "ONLINE", runMode: "SSH", problem: null });
  }, 120_000);

  test("a diamond runs there, its outputs passed on from stage to stage", async () => {
    const id = await submit(diamond);
    await expect.poll(async () => (await shown(id)).status, PATIENCE).toBe("COMPLETED");
    expect((await shown(id)).stages.find(({ name }) => name === "d")!.outputs).toEqual({ n: 43 });
  }, 120_000);

  test("every metric point of a program there arrives", async () => {
    const id = await submit(metrics);
    await expect.poll(async () => (await shown(id)).status, PATIENCE).toBe("COMPLETED");
    const { pipeline } = await graphql<{ pipeline: { stage: { metrics: { name: string; points: { step: number }[] }[] } } }>(
      `query ($id: ID!) { pipeline(id: $id) { stage(name: "train") { metrics { name points { step } } } } }`, { id });
    expect(pipeline.stage.metrics.map(({ name }) => name).sort()).toEqual(["train/loss", "train/lr"]);
    for (const { points } of pipeline.stage.metrics) expect(points.map(({ step }) => step)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
  }, 120_000);

  test("kill -9 of the process that acts for the hosts: it is started again and takes the program over, which ran once", async () => {
    const script = `
import time
open("runs", "a").write("%d\\n" % os.getpid())
i = 0
while not os.path.exists("enough"):
    i += 1
    print("line %d" % i, flush=True)
    time.sleep(0.02)
open(os.environ["TRAINYARD_OUTPUTS_FILE"],"w").write(json.dumps({"lines": i, "host": os.environ.get("FROM_HOST")}))`;
    const id = await submit({ name: "counting", stages: [stage("count", python(script))] });
    const at = join(sshd.folder, "work", "attempts", id, "count", "1");
    const logOf = async () => (await up.cli("logs", id)).stdout;
    await expect.poll(logOf, PATIENCE).toContain("line 5\n");
    const first = sshAgentsPid();
    process.kill(first, "SIGKILL");
    await expect.poll(() => sshAgentsPid(), PATIENCE).not.toBe(undefined);
    const seen = (await logOf()).length;
    await expect.poll(async () => (await logOf()).length, PATIENCE).toBeGreaterThan(seen);
    writeFileSync(join(at, "work", "enough"), "");
    await expect.poll(async () => (await shown(id)).status, PATIENCE).toBe("COMPLETED");
    const { lines } = (await shown(id)).stages[0]!.outputs as { lines: number };
    expect((await shown(id)).stages[0]!.outputs).toEqual({ lines, host: "yes" });
    expect((await logOf()).trimEnd().split("\n").map((line) => /line \d+/.exec(line)?.[0])).toEqual(Array.from({ length: lines }, (_, i) => `line ${i + 1}`));
    expect(readFileSync(join(at, "work", "runs"), "utf8").trim().split("\n")).toHaveLength(1);
  }, 240_000);

  test("while a host is away `doctor` names it, with the cause and the next step; when it is back all is well", async () => {
    const doctor = async () => {
      const { code, stdout } = await up.cli("doctor", "--json");
      return { code, host: (JSON.parse(stdout) as { checks: { name: string; status: string; found: string; fix: string | null }[] }).checks.find(({ name }) => name === "agent gpu1") };
    };
    expect((await doctor()).host).toBeUndefined();
    await sshd.kill();
    await expect.poll(async () => (await agent("gpu1"))?.problem, PATIENCE).toMatch(/^SSH_UNREACHABLE/);
    expect(await doctor()).toEqual({ code: 1, host: {
      name: "agent gpu1", status: "failure", found: expect.stringMatching(/^SSH_UNREACHABLE: gpu1: /) as string, fix: expect.stringMatching(/Check address, port and network.* host check gpu1/) as string,
    } });
    await sshd.start();
    await expect.poll(async () => (await agent("gpu1"))?.problem, PATIENCE).toBe(null);
    expect((await doctor()).host).toBeUndefined();
  }, 240_000);

  test("a removed host loses its agent within seconds", async () => {
    expect(await up.cli("host", "rm", "gpu1", "--yes")).toMatchObject({ code: 0 });
    await expect.poll(() => agent("gpu1"), PATIENCE).toMatchObject({ status: "OFFLINE" });
  }, 120_000);
});
