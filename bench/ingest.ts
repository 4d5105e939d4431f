// How many metric points a second are accepted end to end: a real program appends lines to its metrics file, the agent tails, spools and ships them, the
// control plane commits points and roll-ups. Counted from the first point in the table to the last.
//   npm run bench:ingest -- [--points 600000] [--series 10] [--programs 2] [--link auto|https]
// The limit measured beside it in the same run: the same points by bare `unnest` into a table with a primary key, 1,000 a statement, one connection.

import { graphql, option, round, startRig, type Rig } from "./support/rig.js";

const points = Number(option("points", "600000"));
const series = Number(option("series", "10"));
const programs = Number(option("programs", "2"));
const link = option("link", "auto") as "auto" | "https";
const steps = Math.floor(points / series / programs);

const PROGRAM = `
const { openSync, writeSync } = require("node:fs");
const file = openSync(process.env.TRAINYARD_METRICS_FILE, "a");
let text = "";
for (let step = 1; step <= ${steps}; step++) {
  const data = {};
  for (let s = 0; s < ${series}; s++) data["train/metric_" + s] = Math.sin(step / 100 + s) + 1 / step;
  text += JSON.stringify({ step, data }) + "\\n";
  if (step % 500 === 0) { writeSync(file, text); text = ""; }
}
writeSync(file, text);
`;

async function run(rig: Rig): Promise<{ seconds: number }> {
  const stages = Array.from({ length: programs }, (_, index) => ({ name: `p${index}`, kind: "command", params: { run: ["node", "-e", PROGRAM] } }));
  const expected = steps * series * programs;
  await graphql(rig, "mutation ($input: SubmitPipelineInput!) { submitPipeline(input: $input) { __typename ... on DomainError { message } } }", { input: { spec: { name: "ingest", stages } } });
  let first: number | null = null;
  for (;;) {
    const { rows } = await rig.pool.query<{ n: string }>("select coalesce(sum(points), 0) as n from metric_blocks");
    const stored = Number(rows[0]!.n);
    if (first === null && stored > 0) first = performance.now();
    if (stored >= expected) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const seconds = (performance.now() - first!) / 1_000;
  return { seconds };
}

async function bareUnnest(rig: Rig): Promise<number> {
  await rig.pool.query("create table bench_points (series bigint, step bigint, at timestamptz, value double precision, primary key (series, step))");
  const client = await rig.pool.connect();
  const begun = performance.now();
  let step = 0;
  while (performance.now() - begun < 3_000) {
    const ids = Array.from({ length: 1_000 }, (_, index) => index % series);
    const at = new Date().toISOString();
    const base = step;
    step += 1_000 / series;
    await client.query({ name: "bare", text: "insert into bench_points select * from unnest($1::bigint[], $2::bigint[], $3::timestamptz[], $4::float8[])", values: [ids, ids.map((_, index) => base + Math.floor(index / series)), ids.map(() => at), ids.map((_, index) => index / 7)] });
  }
  const perSecond = (step * series) / ((performance.now() - begun) / 1_000);
  client.release();
  await rig.pool.query("drop table bench_points");
  return Math.round(perSecond);
}

const rig = await startRig({ link, pools: "default=8" });
try {
  const limit = await bareUnnest(rig);
  const { seconds } = await run(rig);
  const perSecond = (steps * series * programs) / seconds;
  console.log(JSON.stringify({ bench: "ingest", points: steps * series * programs, series, programs, link: rig.redis ? "streams" : "https", seconds: round(seconds), pointsPerSecond: Math.round(perSecond), bareUnnestPerSecond: limit, shareOfBareUnnest: round(perSecond / limit) }));
} finally {
  await rig.stop();
}
