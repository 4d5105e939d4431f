// A service that speaks OpenAI's chat completions over real HTTP, as scripted. For tests of whoever asks it.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface Asked {
  /** The text of the last message. */
  readonly prompt: string;
  readonly body: Record<string, unknown> & { readonly messages: readonly { role: string; content: string }[] };
  readonly headers: IncomingMessage["headers"];
  /** Milliseconds of performance.now when it came. */
  readonly at: number;
  /** How often this prompt was asked, this time included. */
  readonly times: number;
}

export type Reply =
  /** One choice per text. */
  | { readonly say: string | readonly string[]; readonly finish?: "stop" | "length" }
  | { readonly status: number; readonly body?: unknown; /** Instead of a body: no JSON. */ readonly text?: string; readonly headers?: Record<string, string> }
  /** The connection is cut before anything, or in the middle of the answer. */
  | "cut" | "cut half"
  /** Nothing is ever answered. */
  | "silence";

export interface ChatServer {
  /** What stands in endpoint.url. */
  readonly url: string;
  readonly asked: Asked[];
  /** Most requests that were under way at once. */
  readonly busiest: number;
  reply(asked: Asked): Reply | Promise<Reply>;
  close(): Promise<void>;
}

/** Ended when the test is over. `models`: what GET /models tells; null: 404. */
export async function startChatServer(reply: ChatServer["reply"], models: readonly string[] | null = ["tiny"]): Promise<ChatServer> {
  const asked: Asked[] = [];
  let [now, busiest] = [0, 0];
  const server: Server = createServer((request, response) => void handle(request, response).catch(() => response.destroy()));
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const json = (status: number, body: unknown, headers: Record<string, string> = {}) => void response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
    if (request.url === "/v1/models") return models === null ? json(404, {}) : json(200, { data: models.map((id) => ({ id })) });
    if (request.url !== "/v1/chat/completions" || request.method !== "POST") return json(404, { error: { message: "no such path" } });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Asked["body"];
    const prompt = body.messages.at(-1)!.content;
    const one: Asked = { prompt, body, headers: request.headers, at: performance.now(), times: asked.filter((other) => other.prompt === prompt).length + 1 };
    asked.push(one);
    busiest = Math.max(busiest, ++now);
    response.once("close", () => { now--; });
    const given = await chat.reply(one);
    if (given === "silence") return;
    if (given === "cut") return void request.socket.destroy();
    if (given === "cut half") {
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" }).write('{"choices": [');
      return void setTimeout(() => request.socket.destroy(), 20);
    }
    if ("status" in given && given.text !== undefined) return void response.writeHead(given.status, { "content-type": "text/html" }).end(given.text);
    if ("status" in given) return json(given.status, given.body ?? { error: { message: `status ${given.status}` } }, given.headers);
    const texts = typeof given.say === "string" ? [given.say] : given.say;
    json(200, { choices: texts.map((content, index) => ({ index, message: { role: "assistant", content }, finish_reason: given.finish ?? "stop" })) });
  };
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const close = () => new Promise<void>((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });
  const chat: ChatServer = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked, get busiest() { return busiest; }, reply, close };
  onTestFinished(close);
  return chat;
}
