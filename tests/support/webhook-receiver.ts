// A receiver of webhooks over real HTTP, as scripted. For tests of whoever tells it.
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface Told { readonly path: string; readonly headers: IncomingHttpHeaders; readonly body: string; readonly json: any }
/** A status, with a text; or the connection is cut; or nothing is answered. */
export type ReceiverReply = number | { readonly status: number; readonly text: string; readonly headers?: Record<string, string> } | "cut" | "silence";

export interface Receiver {
  readonly url: string;
  readonly told: Told[];
  reply: (told: Told, times: number) => ReceiverReply;
  /** Resolves when so many messages came. */
  count(messages: number, deadlineMs?: number): Promise<void>;
  close(): Promise<void>;
}

/** Ended when the test is over. `port` 0: any. */
export async function startReceiver(reply: Receiver["reply"] = () => 200, port = 0): Promise<Receiver> {
  const told: Told[] = [];
  const watchers = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const one: Told = { path: request.url!, headers: request.headers, body, json: JSON.parse(body) as unknown };
      told.push(one);
      for (const look of [...watchers]) look();
      const given = receiver.reply(one, told.length);
      if (given === "silence") return;
      if (given === "cut") return void request.socket.destroy();
      const { status, text, headers } = typeof given === "number" ? { status: given, text: "", headers: {} } : { headers: {}, ...given };
      response.writeHead(status, headers).end(text);
    });
  });
  await new Promise<void>((ready) => server.listen(port, "127.0.0.1", ready));
  const close = () => new Promise<void>((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook/s3cret-path`, told, reply, close,
    count: (messages, deadlineMs = 20_000) => new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`${told.length} of ${messages} messages came within ${deadlineMs} ms`)), deadlineMs);
      const look = (): void => {
        if (told.length < messages) return;
        clearTimeout(timer);
        watchers.delete(look);
        done();
      };
      watchers.add(look);
      look();
    }),
  };
  onTestFinished(close);
  return receiver;
}
