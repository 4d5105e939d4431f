// Many subscribers in one process: <url> <token> <how many> <graphql|plain>. Says "ready", then answers {order: "forget"} and {order: "tell"}.
// A message's age is taken from the `at` it carries; both ends run on this machine's clock.

import WebSocket from "ws";

export interface Heard {
  readonly messages: number;
  /** Age of a message when it was here, in milliseconds. */
  readonly p50: number | null;
  readonly p99: number | null;
  /** When the last one came, in milliseconds after `forget`. */
  readonly lastAfterMs: number;
}

const [url = "", token = "", count = "1", kind = "graphql"] = process.argv.slice(2);
const QUERY = "subscription { fleetEvents { __typename ... on PipelineEvent { cursor pipelineId seq type stage at } ... on Bookmark { cursor } } }";
/** Ages in milliseconds; the last slot is for everything older. */
const ages = new Uint32Array(60_000);
let messages = 0;
let since = performance.now();
let last = since;

function hear(data: WebSocket.RawData): void {
  const text = String(data);
  const place = text.indexOf('"at":"');
  if (place < 0) return;
  messages++;
  last = performance.now();
  const age = Date.now() - Date.parse(text.slice(place + 6, place + 30));
  ages[Math.min(ages.length - 1, Math.max(0, age))]!++;
}

function connect(): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, kind === "graphql" ? "graphql-transport-ws" : undefined, { perMessageDeflate: false });
    socket.on("error", reject);
    socket.on("open", () => {
      if (kind === "plain") return resolve(socket);
      socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${token}` } }));
      return undefined;
    });
    socket.on("message", (data) => {
      const text = String(data);
      if (text.startsWith('{"type":"connection_ack"')) socket.send(JSON.stringify({ id: crypto.randomUUID(), type: "subscribe", payload: { query: QUERY } }));
      else if (text.includes('"Bookmark"')) resolve(socket);
      else hear(data);
    });
  });
}

function percentile(share: number): number | null {
  let left = Math.ceil(messages * share);
  for (let age = 0; age < ages.length && messages > 0; age++) if ((left -= ages[age]!) <= 0) return age;
  return null;
}

process.on("message", ({ order }: { order: "forget" | "tell" }) => {
  if (order === "forget") {
    ages.fill(0);
    messages = 0;
    since = last = performance.now();
  }
  process.send!({ messages, p50: percentile(0.5), p99: percentile(0.99), lastAfterMs: last - since } satisfies Heard);
});
process.on("disconnect", () => process.exit(0));

for (let i = 0; i < Number(count); i++) await connect();
process.send!("ready");
