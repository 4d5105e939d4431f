import { isObjectType, type GraphQLField, type GraphQLObjectType, type GraphQLSchema } from "graphql";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { includesRole, ROLES, type Role } from "../../src/access/roles.js";
import type { Principal } from "../../src/access/authenticator.js";
import { guardSchema } from "../../src/schema/guard.js";
import { neededRole, PERMISSIONS } from "../../src/schema/permissions.js";
import { buildSchema } from "../../src/schema/schema.js";
import { startApi, type Api } from "./api-world.js";
import { documentFor } from "./documents.js";

let api: Api;
let schema: GraphQLSchema;
beforeAll(async () => { api = await startApi(); schema = buildSchema(); });
afterAll(() => api.stop());

const WHO: readonly (Role | null)[] = [null, ...ROLES];
const fieldsOf = (): [GraphQLObjectType, GraphQLField<unknown, unknown>][] =>
  Object.values(buildSchema().getTypeMap()).filter(isObjectType).filter((type) => !type.name.startsWith("__")).flatMap((type) => Object.values(type.getFields()).map((field): [GraphQLObjectType, GraphQLField<unknown, unknown>] => [type, field]));
const principalOf = (role: Role | null): Principal | null => (role === null ? null : { tokenId: "tok_x" as never, name: role, role, agentName: null, expiresAt: null });

describe("every field and every role", () => {
  test("the table and the schema name the same fields", () => {
    for (const [type, field] of fieldsOf()) expect(neededRole(type.name, field.name), `${type.name}.${field.name}`).not.toBeNull();
    for (const [type, columns] of Object.entries(PERMISSIONS)) for (const name of Object.values(columns).flatMap((names) => names.split(" "))) expect(schema.getType(type), type).toHaveProperty("name", type), expect(Object.keys((schema.getType(type) as GraphQLObjectType).getFields())).toContain(name);
  });

  test("a schema with a field that is in no rule is not served", () => {
    const extended = buildSchema();
    const query = extended.getQueryType()!;
    query.getFields()["secretPlans"] = { ...query.getFields()["agents"]!, name: "secretPlans" };
    expect(() => guardSchema(extended)).toThrow(/Query\.secretPlans has no rule/);
    delete query.getFields()["secretPlans"];
    delete query.getFields()["agents"];
    expect(() => guardSchema(extended)).toThrow(/Query\.agents has a rule but does not exist/);
  });

  test("each resolver refuses whoever the table does not name, wherever it is reached from", async () => {
    for (const [type, field] of fieldsOf()) {
      if (type === schema.getType("Mutation") || type.name === "Mutation" || type.getInterfaces().some((face) => face.name === "DomainError")) continue;
      const needed = neededRole(type.name, field.name)!;
      for (const role of WHO) {
        const run = async () => (type.name === "Subscription" ? field.subscribe : field.resolve)!({}, {}, { principal: principalOf(role), loaders: {}, deps: {} }, {} as never);
        const code = await run().then(() => null, (error: { extensions?: { code?: string } }) => error.extensions?.code ?? null);
        const expected = role === null ? "UNAUTHENTICATED" : includesRole(role, needed) ? null : "FORBIDDEN";
        if (expected === null) expect(["UNAUTHENTICATED", "FORBIDDEN"], `${type.name}.${field.name} as ${role}`).not.toContain(code);
        else expect(code, `${type.name}.${field.name} as ${role}`).toBe(expected);
      }
    }
  });

  test.each(["query", "mutation"] as const)("over HTTP, each root field of %s answers each role as the table says", async (kind) => {
    const root = kind === "query" ? schema.getQueryType()! : schema.getMutationType()!;
    for (const field of Object.values(root.getFields())) {
      const needed = neededRole(root.name, field.name)!;
      const { query, variables } = documentFor(kind, field);
      for (const role of WHO) {
        const answer = await api.ask(role, query, variables);
        const codes = (answer.errors ?? []).map((error) => error.extensions?.["code"]);
        const refusedInside = (answer.data?.[field.name] as { __typename?: string } | null)?.__typename === "ForbiddenError";
        const where = `${field.name} as ${role}: ${JSON.stringify(answer).slice(0, 300)}`;
        if (role === null) expect(codes, where).toEqual(["UNAUTHENTICATED"]);
        else if (includesRole(role, needed)) expect(codes.includes("FORBIDDEN") || codes.includes("UNAUTHENTICATED") || codes.includes("INTERNAL") || refusedInside, where).toBe(false);
        else expect(kind === "query" ? codes[0] === "FORBIDDEN" : refusedInside, where).toBe(true);
      }
    }
  });

  test("subscriptions answer each role as the table says; without a token there is no connection", async () => {
    for (const field of Object.values(schema.getSubscriptionType()!.getFields())) {
      const needed = neededRole("Subscription", field.name)!;
      for (const role of ROLES) {
        const result = await new Promise<string | null>((resolve) => {
          const stop = api.client(role).subscribe(documentFor("subscription", field), {
            next: ({ errors }) => { resolve((errors?.[0]?.extensions?.["code"] as string | undefined) ?? null); stop(); },
            error: (error) => resolve((error as { extensions?: { code?: string } }[])[0]?.extensions?.code ?? "closed"),
            complete: () => resolve(null),
          });
        });
        if (includesRole(role, needed)) expect(result, `${field.name} as ${role}`).not.toBe("FORBIDDEN");
        else expect(result, `${field.name} as ${role}`).toBe("FORBIDDEN");
      }
    }
    await expect(api.client("ty_v_not-a-token").iterate({ query: "subscription { fleetEvents { __typename } }" }).next()).rejects.toMatchObject({ code: 4403 });
  });
});

test("node hands out nothing that its type's rule does not allow", async () => {
  const { token } = (await api.data('mutation { createToken(input: { name: "x", role: VIEWER }) { ... on CreateTokenPayload { token { id } } } }')).createToken;
  expect((await api.data("query ($id: ID!) { node(id: $id) { __typename } }", { id: token.id })).node).toBeNull();
  for (const role of [null, "agent"] as const) expect((await api.ask(role, "query ($id: ID!) { node(id: $id) { __typename } }", { id: token.id })).errors).toHaveLength(1);
});
