// The GraphQL endpoint: one yoga for HTTP and SSE, and the same parsing, limits, validation and masking for WebSocket (graphql-ws.ts).
//   Q1. Limits and validation report, they never throw: a refusal is a 400 or a WebSocket `error`, never a closed socket or a 5xx.
//   Q2. Subscriptions pull from the event log through one shared tail; yoga's publish and subscribe is not used (it dies of one stalled reader).
//   Q3. Internal errors are masked once, logged whole, and joined by the request id.

import { randomUUID } from "node:crypto";
import { useCSRFPrevention } from "@graphql-yoga/plugin-csrf-prevention";
import { getOperationAST, parse, type DocumentNode, type ExecutionArgs, type ExecutionResult, type GraphQLError, type GraphQLSchema } from "graphql";
import { createYoga, useExecutionCancellation, type Plugin } from "graphql-yoga";
import type { Logger } from "pino";
import type { Authenticator } from "../access/authenticator.js";
import type { ServerConfig } from "../config.js";
import { maskError, maskResult } from "../schema/api-errors.js";
import { createContext, type Caller, type Context, type SchemaDependencies } from "../schema/context.js";
import { DOCUMENT_LIMITS, documentLimitsRule, priceProblem } from "../schema/document-limits.js";
import { buildSchema } from "../schema/schema.js";
import { createEventTail, type EventTail } from "../schema/streams/event-tail.js";
import { createSharedSubscribe, type Subscribe } from "../schema/streams/shared-execution.js";

export const GRAPHQL_PATH = "/graphql";

export interface GraphqlDependencies extends Omit<SchemaDependencies, "config" | "bookmarkEveryMs" | "tail"> {
  readonly config: Pick<ServerConfig, "TRAINYARD_UNRESPONSIVE_AFTER_MS" | "TRAINYARD_LEASE_TTL_MS" | "TRAINYARD_CORS_ORIGINS">;
  /** A Bookmark goes out when a stream was quiet for this long; default 15 s. */
  readonly bookmarkEveryMs?: number;
  /** Made here unless given. */
  readonly tail?: EventTail;
}

/** What a transport other than HTTP runs. */
export interface PreparedOperation extends ExecutionArgs {
  readonly run: (args: ExecutionArgs) => Promise<ExecutionResult>;
}
export interface OperationRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown> | null | undefined;
  readonly operationName?: string | null | undefined;
}

export interface Graphql {
  readonly schema: GraphQLSchema;
  readonly tail: EventTail;
  readonly authenticator: Authenticator;
  readonly corsOrigins: readonly string[];
  readonly log: Logger;
  /** Answers one HTTP request to the endpoint; subscriptions come back as an event stream. */
  fetch(url: string, init: RequestInit, caller: Caller): Promise<Response>;
  /** Parses, limits, validates and prices. Q1: the errors are returned. */
  prepare(request: OperationRequest, caller: Caller): Promise<PreparedOperation | readonly GraphQLError[]>;
  /** Starts a subscription that `prepare` let through. */
  readonly subscribe: Subscribe;
}

interface ServerContext { readonly caller: Caller }

export function createGraphql(deps: GraphqlDependencies): Graphql {
  const { log } = deps;
  const schema = buildSchema();
  const tail = deps.tail ?? createEventTail({ db: deps.db, wakeups: deps.wakeups, log });
  const parts: SchemaDependencies = { ...deps, tail, bookmarkEveryMs: deps.bookmarkEveryMs ?? 15_000 };
  const subscribe = createSharedSubscribe(log);
  const origins = deps.config.TRAINYARD_CORS_ORIGINS;

  const yoga = createYoga<ServerContext, Context>({
    schema,
    context: ({ caller }) => createContext(parts, caller),
    graphqlEndpoint: GRAPHQL_PATH,
    graphiql: false,
    landingPage: false,
    batching: false,
    multipart: false,
    logging: false,
    cors: origins.length === 0 ? false : { origin: [...origins], methods: ["GET", "POST"], credentials: false, maxAge: 600 },
    maskedErrors: { maskError: (error) => maskError(error, randomUUID(), log) }, // what our own mask below has not seen, a broken context for instance
    plugins: [limits, operationRules(schema, subscribe, log), useExecutionCancellation(), useCSRFPrevention({ requestHeaders: ["x-graphql-yoga-csrf", "x-trainyard-csrf"] })],
  });

  return {
    schema, tail, subscribe, log, authenticator: deps.authenticator, corsOrigins: origins,
    fetch: async (url, init, caller) => (await yoga.fetch(url, init, { caller })) as Response,
    async prepare(request, caller) {
      try {
        const enveloped = yoga.getEnveloped({ caller } as never);
        const document = enveloped.parse(request.query) as DocumentNode;
        const invalid = enveloped.validate(enveloped.schema, document) as readonly GraphQLError[];
        if (invalid.length > 0) return invalid;
        const args = {
          schema: enveloped.schema, document, operationName: request.operationName ?? null, variableValues: request.variables ?? null,
          contextValue: await enveloped.contextFactory({}),
        };
        const tooMuch = problemOf(schema, args);
        if (tooMuch !== null) return [tooMuch];
        return { ...args, run: enveloped.execute as PreparedOperation["run"] };
      } catch (error) {
        return [maskError(error, caller.requestId, log)];
      }
    },
  };
}

/** Token limit while parsing, the other limits beside the rules of the specification. */
const limits: Plugin = {
  onParse({ setParseFn }) {
    setParseFn((source: string, options?: object) => parse(source, { ...options, maxTokens: DOCUMENT_LIMITS.tokens }));
  },
  onValidate({ addValidationRule }) {
    addValidationRule(documentLimitsRule);
  },
};

function operationRules(schema: GraphQLSchema, subscribe: Subscribe, log: Logger): Plugin<Context> {
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const tooMuch = problemOf(schema, args as ExecutionArgs);
      if (tooMuch !== null) return setResultAndStopExecution({ errors: [tooMuch] });
      return {
        onExecuteDone({ result, setResult }) { // Q3
          if (!(Symbol.asyncIterator in result)) setResult(maskResult(result as ExecutionResult, args.contextValue.requestId, log));
        },
      };
    },
    onSubscribe({ args, setResultAndStopExecution, setSubscribeFn }) {
      const tooMuch = problemOf(schema, args as ExecutionArgs);
      if (tooMuch !== null) return setResultAndStopExecution({ errors: [tooMuch] });
      setSubscribeFn(subscribe as never);
      return undefined;
    },
  };
}

function problemOf(schema: GraphQLSchema, args: ExecutionArgs): GraphQLError | null {
  const operation = getOperationAST(args.document, args.operationName);
  return operation == null ? null : priceProblem(schema, args.document, operation, (args.variableValues ?? {}) as Record<string, unknown>);
}
