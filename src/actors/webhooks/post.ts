// Sends one message to a webhook's address.
//   P1. Redirects are not followed: whoever holds the address decides where it leads, the admin decided for this one.
//   P2. What the receiver answers is read to MOST_ANSWER bytes and no further.

import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** What Retry-After asks for, in milliseconds. */
  readonly retryAfterMs: number | null;
}

const MOST_ANSWER = 4_096;

/** Throws Error, in words, when there is no answer within `timeoutMs`. */
export function post(url: string, headers: Readonly<Record<string, string>>, body: string, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const target = new URL(url);
    const limit = AbortSignal.timeout(timeoutMs);
    const failed = (error: Error): void => reject(limit.aborted ? new Error(`no answer within ${timeoutMs / 1_000} s`) : new Error((error as NodeJS.ErrnoException).code ?? error.message));
    const sent = (target.protocol === "https:" ? httpsRequest : httpRequest)(target, { method: "POST", agent: false, signal: limit, headers: { ...headers, "user-agent": "trainyard", "content-length": Buffer.byteLength(body) } }, (response) => {
      let text = "";
      const done = (): void => {
        const asked = response.headers["retry-after"];
        const seconds = asked !== undefined && /^\d+$/.test(asked) ? Number(asked) : null;
        resolve({ status: response.statusCode ?? 0, text: text.slice(0, MOST_ANSWER), retryAfterMs: seconds === null ? null : seconds * 1_000 });
      };
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length <= MOST_ANSWER) return;
        done(); // P2
        response.destroy();
      });
      response.on("end", () => (response.complete ? done() : failed(new Error("the connection broke off"))));
      response.on("error", failed);
    });
    sent.on("error", failed);
    sent.end(body);
  });
}
