// How many messages a second reach the subscribers of one stream of events, and how long after their commit. Subscribers are bare graphql-transport-ws sockets
// in a process of their own; events come from real orders (pause, resume) through the API, committed with fsync on.
//   npm run bench:fanout -- [--subscribers 500] [--seconds 3] [--limitMs 100]
// The rate is raised until the 99th percentile passes `limitMs` or a tenth is missing; the last good rate is the answer. Beside it in the same run: a plain
// ws server that sends one ready frame of the same length to as many sockets.

import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { packagePath } from "../src/package-root.js";
import { graphql, option, round, startRig, type Rig } from "./support/rig.js";
import type { Heard } from "./support/subscribers-process.js";

const subscribers = Number(option("subscribers", "500"));
const seconds = Number(option("seconds", "3"));
const limitMs = Number(option("limitMs", "100"));
const PIPELINES = 40;
const START_RATE = 10;

interface Level { readonly eventsPerSecond: number; readonly deliveredPerSecond: number; readonly p50: number | null; readonly p99: number | null; readonly complete: boolean }

function child(name: string, ...args: string[]): ChildProcess {
  return fork(packagePath("bench", "support", `${name}-process.ts`), args, { execArgv: ["--import", "tsx"], stdio: ["ignore", "inherit", "inherit", "ipc"] });
}

async function tell<T>(process: ChildProcess, message: object): Promise<T> {
  const answer = once(process, "message");
  process.send(message);
  return (await answer)[0] as T;
}

/** Raises the rate until it is too much. `offer` makes about that many events a second for the time given and says how many there were. */
async function climb(audience: ChildProcess, offer: (rate: number) => Promise<number>): Promise<{ best: Level; levels: Level[] }> {
  const levels: Level[] = [];
  let best: Level | null = null;
  let misses = 0; // one bad level may be the machine's doing
  for (let rate = START_RATE; ; rate = Math.ceil(rate * 1.4)) {
    await tell(audience, { order: "forget" });
    const begun = performance.now();
    const made = await offer(rate);
    const took = (performance.now() - begun) / 1_000;
    let heard = await tell<Heard>(audience, { order: "tell" });
    for (let waited = 0; heard.messages < made * subscribers && waited < 1_000; waited += 50) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      heard = await tell<Heard>(audience, { order: "tell" });
    }
    const level: Level = { eventsPerSecond: round(made / took), deliveredPerSecond: Math.round(heard.messages / Math.max(took, heard.lastAfterMs / 1_000)), p50: heard.p50, p99: heard.p99, complete: heard.messages >= made * subscribers * 0.9 };
    levels.push(level);
    const good = level.complete && level.p99 !== null && level.p99 <= limitMs && level.eventsPerSecond >= rate * 0.7;
    if (good) best = level;
    misses = good ? 0 : misses + 1;
    if (misses === 3) break;
  }
  return { best: best ?? levels[0]!, levels };
}

async function plainBroadcast(): Promise<Level> {
  const server = child("broadcast");
  const [{ url }] = (await once(server, "message")) as [{ url: string }];
  const audience = child("subscribers", url, "", String(subscribers), "plain");
  await once(audience, "message");
  const { best } = await climb(audience, (rate) => tell<number>(server, { rate, seconds }));
  audience.kill();
  server.kill();
  return best;
}

async function events(rig: Rig): Promise<{ best: Level; levels: Level[] }> {
  const ids: string[] = [];
  const spec = { name: "fanout", stages: [{ name: "ask", kind: "approval" }] };
  for (let i = 0; i < PIPELINES; i++) {
    const { submitPipeline } = await graphql<{ submitPipeline: { pipeline: { id: string } } }>(rig, "mutation ($spec: JSON!) { submitPipeline(input: { spec: $spec }) { ... on SubmitPipelinePayload { pipeline { id } } } }", { spec });
    ids.push(submitPipeline.pipeline.id);
  }
  const audience = child("subscribers", rig.url.replace(/^http/, "ws"), rig.token, String(subscribers), "graphql");
  await once(audience, "message");
  const position = async () => (await rig.pool.query<{ position: string }>("select position from event_counter")).rows[0]!.position;
  let turn = 0;
  const order = () => {
    const name = Math.floor(turn / PIPELINES) % 2 === 0 ? "pausePipeline" : "resumePipeline";
    return graphql(rig, `mutation ($id: ID!) { ${name}(input: { pipelineId: $id }) { __typename } }`, { id: ids[turn++ % PIPELINES] });
  };
  const found = await climb(audience, async (rate) => {
    const before = Number(await position());
    const under = new Set<Promise<unknown>>();
    const begun = performance.now();
    for (let sent = 0; sent < rate * seconds; sent++) {
      const wait = begun + (sent * 1_000) / rate - performance.now();
      if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      if (under.size >= PIPELINES) await Promise.race(under);
      const one = order().finally(() => under.delete(one));
      under.add(one);
    }
    await Promise.all(under);
    return Number(await position()) - before;
  });
  audience.kill();
  return found;
}

const plain = await plainBroadcast();
const rig = await startRig({ link: "https", pools: "default=1" });
try {
  const { best, levels } = await events(rig);
  console.log(JSON.stringify({
    bench: "fanout", subscribers, limitMs, deliveredPerSecond: best.deliveredPerSecond, eventsPerSecond: best.eventsPerSecond, commitToDeliveryP50Ms: best.p50, commitToDeliveryP99Ms: best.p99,
    highestDeliveredPerSecond: Math.max(...levels.map((level) => level.deliveredPerSecond)), plainWsPerSecond: plain.deliveredPerSecond, plainWsP99Ms: plain.p99, shareOfPlainWs: round(best.deliveredPerSecond / plain.deliveredPerSecond),
    levels: levels.map((level) => [level.eventsPerSecond, level.deliveredPerSecond, level.p50, level.p99]),
  }));
} finally {
  await rig.stop();
}
