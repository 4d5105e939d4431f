import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROLES } from "../../src/access/roles.js";
import { createGraphql, type Graphql } from "../../src/server/graphql.js";
import { startApi, type Api } from "./api-world.js";
import { documentFor } from "./documents.js";

const SECRET = "password=hunter2 at db.internal:5432";
const logged: string[] = [];
const log = pino({ level: "error" }, { write: (line: string) => void logged.push(line) });
/** Throws on every use. */
const broken = (): never => { throw new Error(SECRET); };
const brokenPart = <T extends object>(): T => new Proxy({}, { get: () => broken }) as T;

let api: Api;
let graphql: Graphql;
beforeAll(async () => {
  api = await startApi();
  graphql = createGraphql({
    db: brokenPart(), controlPlane: brokenPart(), wakeups: brokenPart(), authenticator: api.authenticator, registry: brokenPart(), sshHosts: brokenPart(), hostDeployments: brokenPart(), secrets: brokenPart(), log,
    config: { TRAINYARD_UNRESPONSIVE_AFTER_MS: 1, TRAINYARD_LEASE_TTL_MS: 1, TRAINYARD_CORS_ORIGINS: [] },
  });
});
afterAll(() => api.stop());

test("with every part of the server broken, no root field of any kind leaks a word of it, over HTTP and over WebSocket alike", async () => {
  const { schema } = graphql;
  let internal = 0;
  for (const [kind, root] of [["query", schema.getQueryType()!], ["mutation", schema.getMutationType()!], ["subscription", schema.getSubscriptionType()!]] as const) {
    for (const field of Object.values(root.getFields())) {
      const { query, variables } = documentFor(kind, field);
      for (const role of [null, ...ROLES]) {
        const caller = { principal: role === null ? null : { tokenId: "tok_x" as never, name: role, role, agentName: null, expiresAt: null }, requestId: `request-${field.name}-${role}`, address: null };
        const response = await graphql.fetch("http://localhost/graphql", { method: "POST", headers: { "content-type": "application/json", accept: kind === "subscription" ? "text/event-stream" : "application/graphql-response+json" }, body: JSON.stringify({ query, variables }) }, caller);
        const text = await response.text();
        expect(text, `${field.name} as ${role}`).not.toMatch(/hunter2|db\.internal|\.ts:|\bat /);
        if (text.includes("Unexpected error.")) {
          internal++;
          expect(JSON.parse(/\{.*\}/s.exec(text)![0]).errors[0].extensions).toMatchObject({ code: "INTERNAL", requestId: expect.any(String) });
        }
        const prepared = await graphql.prepare({ query, variables }, caller);
        if (Array.isArray(prepared)) continue;
        const args = prepared as Exclude<typeof prepared, readonly unknown[]>;
        const result = kind === "subscription" ? await graphql.subscribe(args) : await args.run(args);
        const first = Symbol.asyncIterator in result ? await (result as AsyncIterableIterator<unknown>).next().catch((error: unknown) => error) : result;
        expect(JSON.stringify(first), `${field.name} as ${role} over WebSocket`).not.toMatch(/hunter2|db\.internal/);
      }
    }
  }
  expect(internal).toBeGreaterThan(20);
  expect(logged.filter((line) => line.includes(SECRET) && line.includes("request-pipelines-viewer")).length).toBeGreaterThan(0);
});
