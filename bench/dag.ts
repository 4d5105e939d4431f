// How fast the graph engine is: pipelines of stages that do nothing, submitted over GraphQL, run by an agent in a process of its own, every rule in force.
//   npm run bench:dag -- --shape diamond|line|fan --pipelines 1000 --concurrency 64 [--link auto|https] [--rounds 3]
// One JSON line per round: pipelines/s and stages/s from the first submission to the last end; and, with nothing else to do, the time from "stage done" to
// "dependent started" as the agent sees it. The limit measured beside it: commits/s of one row from one connection to the same Postgres, fsync on. CPU time per
// pipeline of control plane and agent is the figure that moves least with what else the machine does.

import { graphql, option, percentile, round, startRig, type Rig } from "./support/rig.js";

const shape = option("shape", "diamond") as keyof typeof SHAPES;
const pipelines = Number(option("pipelines", "1000"));
const concurrency = Number(option("concurrency", "64"));
const rounds = Number(option("rounds", "3"));
const link = option("link", "auto") as "auto" | "https";

const noop = (name: string, ...dependsOn: string[]) => ({ name, kind: "command", dependsOn, params: { run: ["noop"] } });
const SHAPES = {
  diamond: [noop("a"), noop("b", "a"), noop("c", "a"), noop("d", "b", "c")],
  line: Array.from({ length: 10 }, (_, index) => (index === 0 ? noop("s0") : noop(`s${index}`, `s${index - 1}`))),
  fan: [noop("start"), ...Array.from({ length: 20 }, (_, index) => noop(`w${index}`, "start")), noop("end", ...Array.from({ length: 20 }, (_, index) => `w${index}`))],
};
const stages = SHAPES[shape];
if (stages === undefined) throw new Error(`--shape must be one of ${Object.keys(SHAPES).join(", ")}`);
const SUBMIT = "mutation ($input: SubmitPipelineInput!) { submitPipeline(input: $input) { ... on SubmitPipelinePayload { pipeline { id } } ... on DomainError { code message } } }";

async function submit(rig: Rig): Promise<void> {
  const { submitPipeline } = await graphql<{ submitPipeline: { code?: string; message?: string } }>(rig, SUBMIT, { input: { spec: { name: "bench", stages } } });
  if (submitPipeline.code !== undefined) throw new Error(submitPipeline.message);
}

async function finished(rig: Rig, count: number): Promise<void> {
  for (;;) {
    const { rows } = await rig.pool.query<{ open: string }>("select count(*) as open from pipelines where status in ('PENDING', 'RUNNING', 'PAUSED')");
    const total = await rig.pool.query<{ n: string }>("select count(*) as n from pipelines");
    if (Number(rows[0]!.open) === 0 && Number(total.rows[0]!.n) === count) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function commitsPerSecond(rig: Rig): Promise<number> {
  await rig.pool.query("create table if not exists bench_commits (n bigint)");
  const begun = performance.now();
  let count = 0;
  while (performance.now() - begun < 1_000) {
    await rig.pool.query("insert into bench_commits values ($1)", [count]);
    count++;
  }
  await rig.pool.query("drop table bench_commits");
  return Math.round(count / ((performance.now() - begun) / 1_000));
}

const rig = await startRig({ link, pools: "default=2000" });
try {
  let total = 0;
  for (let n = 0; n < 20; n++) { await submit(rig); await finished(rig, ++total); }
  const limit = await commitsPerSecond(rig);
  for (let number = 1; number <= rounds; number++) {
    await rig.ask("latencies");
    for (let n = 0; n < 100; n++) { await submit(rig); await finished(rig, ++total); }
    const latencies = (await rig.ask("latencies")) as number[];
    const cpuBefore = rig.cpuSeconds();
    const begun = performance.now();
    let left = pipelines;
    await Promise.all(Array.from({ length: Math.min(concurrency, pipelines) }, async () => { while (left-- > 0) await submit(rig); }));
    const submittedMs = performance.now() - begun;
    await finished(rig, (total += pipelines));
    const seconds = (performance.now() - begun) / 1_000;
    const cpu = rig.cpuSeconds();
    const cpuMs = (of: "server" | "agent"): number | null => (cpu === null || cpuBefore === null ? null : round(((cpu[of] - cpuBefore[of]) * 1_000) / pipelines));
    console.log(JSON.stringify({
      bench: "dag", shape, pipelines, concurrency, link: rig.redis ? "streams" : "https", round: number, pipelinesPerSecond: round(pipelines / seconds), stagesPerSecond: round((pipelines * stages.length) / seconds),
      submitSeconds: round(submittedMs / 1_000), seconds: round(seconds), advanceMsP50: percentile(latencies, 50), advanceMsP99: percentile(latencies, 99), commitsPerSecond: limit, pipelinesPerCommit: round(pipelines / seconds / limit),
      serverCpuMsPerPipeline: cpuMs("server"), agentCpuMsPerPipeline: cpuMs("agent"),
    }));
  }
} finally {
  await rig.stop();
}
