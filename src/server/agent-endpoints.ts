// The agents' HTTPS endpoints: parse, check the token, hand over to the gateway or the registry. Every body is judged by the protocol's schemas before anything
// looks at it.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import { z } from "zod";
import { bearerToken, type Authenticator } from "../access/authenticator.js";
import type { AgentGateway, AgentPrincipal } from "../actors/agent-gateway.js";
import { TrainyardError, type ErrorKind } from "../domain/errors.js";
import { AGENT_PATHS, LIMITS, closeSessionSchema, datasetContentSchema, openSessionSchema, pollSchema, renewSchema, resolveDatasetSchema, sendReportsSchema, type AgentCallError, type Report } from "../protocol/messages.js";
import type { AgentDatasets } from "./agent-datasets.js";

const BODY_LIMIT_BYTES = LIMITS.batchBytes * 2;
const STATUS: Record<ErrorKind, number> = { INVALID_INPUT: 400, NOT_FOUND: 404, CONFLICT: 409, FORBIDDEN: 403, UNAVAILABLE: 503 };

type Handler = (principal: AgentPrincipal, body: unknown, signal: AbortSignal, response: ServerResponse) => Promise<unknown>;

/** Answers requests under /agent/v1; false when the path is none of its own. */
export function agentEndpoints(options: { gateway: AgentGateway; datasets: AgentDatasets; authenticator: Authenticator; log: Logger }): (request: IncomingMessage, response: ServerResponse) => boolean {
  const { gateway, datasets } = options;
  const handlers: Record<string, Handler> = {
    [AGENT_PATHS.session]: (principal, body) => gateway.open(principal, openSessionSchema.parse(body)),
    [AGENT_PATHS.renew]: (principal, body) => gateway.renew(principal, renewSchema.parse(body)),
    [AGENT_PATHS.poll]: (principal, body, signal) => gateway.poll(principal, pollSchema.parse(body), signal),
    [AGENT_PATHS.reports]: (principal, body) => {
      const parsed = sendReportsSchema.parse(body);
      return gateway.report(principal, { ...parsed, reports: parsed.reports as Report[] });
    },
    [AGENT_PATHS.close]: async (principal, body) => {
      await gateway.close(principal, closeSessionSchema.parse(body).sessionId);
      return {};
    },
    [AGENT_PATHS.dataset]: (principal, body) => datasets.resolve(principal, resolveDatasetSchema.parse(body)),
    [AGENT_PATHS.datasetContent]: async (_principal, body, signal, response) => datasets.send(datasetContentSchema.parse(body).datasetId, response, signal),
  };

  return (request, response) => {
    const handler = handlers[new URL(request.url ?? "/", "http://localhost").pathname];
    if (handler === undefined) return false;
    void answer(request, response, handler);
    return true;
  };

  async function answer(request: IncomingMessage, response: ServerResponse, handler: Handler): Promise<void> {
    const gone = new AbortController();
    response.on("close", () => gone.abort());
    try {
      if (request.method !== "POST") return send(response, 405, { code: "METHOD_NOT_ALLOWED", message: "Agents use POST.", retryable: false });
      const token = bearerToken(request.headers.authorization);
      const principal = token === null ? null : await options.authenticator.authenticate(token);
      if (principal === null) return send(response, 401, { code: "UNAUTHENTICATED", message: "An agent token is needed: Authorization: Bearer <token>. Make one with `trainyard token create --role agent`.", retryable: false });
      if (principal.role !== "agent") return send(response, 403, { code: "FORBIDDEN", message: `Token "${principal.name}" is a ${principal.role} token; agents need one of role agent.`, retryable: false });
      const body = await readBody(request);
      if (body === null) return send(response, 413, { code: "TOO_LARGE", message: `A body may have ${BODY_LIMIT_BYTES} bytes at most.`, retryable: false });
      send(response, 200, await handler({ tokenId: principal.tokenId, agentName: principal.agentName }, JSON.parse(body), gone.signal, response));
    } catch (error) {
      if (error instanceof TrainyardError) return send(response, STATUS[error.kind], { code: error.code, message: error.message, retryable: error.retryable });
      if (error instanceof z.ZodError || error instanceof SyntaxError) return send(response, 400, { code: "INVALID_INPUT", message: error instanceof z.ZodError ? z.prettifyError(error) : "The body is not JSON.", retryable: false });
      options.log.error({ err: error, path: request.url }, "an agent's call failed");
      if (response.headersSent) return void response.destroy();
      send(response, 500, { code: "INTERNAL", message: "Unexpected error. The control plane's log has the details.", retryable: true });
    }
  }
}

function send(response: ServerResponse, status: number, body: AgentCallError | unknown): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** The body as text; null when it is larger than the limit. */
async function readBody(request: IncomingMessage): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
