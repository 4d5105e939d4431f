import fc from "fast-check";
import { GraphQLError, parse, type GraphQLScalarType, type OperationDefinitionNode } from "graphql";
import { describe, expect, test } from "vitest";
import { ConflictError, ForbiddenError, InvalidInputError, NotFoundError, UnavailableError } from "../../src/domain/errors.js";
import { newId } from "../../src/domain/ids.js";
import { agentStatus } from "../../src/schema/agent-status.js";
import { maskError } from "../../src/schema/api-errors.js";
import { priceProblem } from "../../src/schema/document-limits.js";
import { decodePlace, encodePlace, type EventPlace } from "../../src/schema/event-cursor.js";
import { decodeListCursor, encodeListCursor } from "../../src/schema/paging.js";
import { buildSchema } from "../../src/schema/schema.js";

const schema = buildSchema();
const scalar = (name: string) => schema.getType(name) as GraphQLScalarType;

describe("event cursors", () => {
  const place: fc.Arbitrary<EventPlace> = fc.oneof(
    fc.record({ kind: fc.constant("fleet" as const), position: fc.maxSafeNat() }),
    fc.record({ kind: fc.constant("pipeline" as const), pipelineId: fc.constant(newId("pip")), seq: fc.maxSafeNat() }));

  test("every place survives the way to the client and back", () => {
    fc.assert(fc.property(place, (each) => { expect(decodePlace(encodePlace(each))).toEqual(each); }));
  });

  test("anything else is refused as input, never as a fault", () => {
    const refused = (text: string) => { expect(() => decodePlace(text)).toThrow(expect.objectContaining({ extensions: { code: "BAD_USER_INPUT" } })); };
    fc.assert(fc.property(fc.string({ unit: "binary" }), refused));
    for (const text of ["g:", "g:-1", "g:1.5", "g:1e3", "g:99999999999999999", "p:x:1", `p:${newId("stg")}:1`, `p:${newId("pip")}`, `p:${newId("pip")}:1:2`, "x:1"]) refused(Buffer.from(text).toString("base64url"));
  });
});

test("a cursor of one list is no cursor of another", () => {
  expect(decodeListCursor(encodeListCursor("aud", 7), "aud", /^\d+$/)).toEqual(["7"]);
  for (const cursor of [encodeListCursor("pips", 7), encodeListCursor("aud", "x"), "", "?", "x".repeat(300)]) expect(() => decodeListCursor(cursor, "aud", /^\d+$/)).toThrow(/no cursor of this list/);
});

describe("scalars", () => {
  test("DateTime is UTC to the millisecond and takes any offset", () => {
    const at = scalar("DateTime").parseValue("2026-01-31T13:00:00.25+01:00") as Date;
    expect(scalar("DateTime").serialize(at)).toBe("2026-01-31T12:00:00.250Z");
    for (const wrong of ["yesterday", "2026-01-31", "2026-13-01T00:00:00Z", 0, null]) expect(() => scalar("DateTime").parseValue(wrong)).toThrow(GraphQLError);
  });

  test("SafeInt carries 2^53-1 and refuses what it would have to round", () => {
    expect(scalar("SafeInt").serialize(Number.MAX_SAFE_INTEGER)).toBe(9007199254740991);
    for (const wrong of [2 ** 53, 1.5, Number.NaN, "1", null]) expect(() => scalar("SafeInt").parseValue(wrong)).toThrow(GraphQLError);
    expect(() => scalar("SafeInt").parseLiteral({ kind: "FloatValue", value: "1.5" } as never)).toThrow(GraphQLError);
  });
});

describe("errors of queries", () => {
  const log = { error: () => undefined };
  test("what is expected keeps its words and a code", () => {
    for (const [error, code] of [
      [new NotFoundError("pipeline", "x"), "NOT_FOUND"], [new ConflictError("BUSY", "busy"), "BUSY"], [new ForbiddenError("no"), "FORBIDDEN"], [new UnavailableError("away"), "UNAVAILABLE"], [new InvalidInputError("bad", []), "BAD_USER_INPUT"],
    ] as const) expect(maskError(new GraphQLError("wrapped", { originalError: error }), "r", log)).toMatchObject({ message: error.message, extensions: { code, retryable: error.retryable } });
  });

  test("a database that is away is said to be, without its address, and the call may be repeated", () => {
    for (const error of [Object.assign(new Error("connect ECONNREFUSED 10.0.0.7:5432"), { code: "ECONNREFUSED" }), Object.assign(new Error("terminating connection"), { code: "57P01" }), new Error("Connection terminated unexpectedly")]) {
      const masked = maskError(new GraphQLError("wrapped", { originalError: error }), "r-1", log);
      expect(masked).toMatchObject({ extensions: { code: "UNAVAILABLE", retryable: true, requestId: "r-1" } });
      expect(masked.message).not.toMatch(/10\.0|terminat/);
    }
  });

  test("whatever else is thrown reads the same", () => {
    for (const error of [new Error("secret"), new TypeError("x of undefined"), "text", { message: "secret" }, null, new GraphQLError("wrapped", { originalError: new Error("secret") })]) {
      expect(maskError(error, "r-1", log).toJSON()).toMatchObject({ message: "Unexpected error.", extensions: { code: "INTERNAL", requestId: "r-1" } });
    }
    const once = maskError(new Error("secret"), "r-1", log);
    expect(maskError(once, "r-2", log)).toBe(once);
  });
});

test("an agent is offline when it said goodbye, lost or unresponsive by its silence, and draining or online otherwise", () => {
  const at = (silentMs: number | null, more: object = {}) => agentStatus(
    { closed_at: null, draining: false, stopping: false, now: new Date(1_000_000), last_heartbeat_at: silentMs === null ? null : new Date(1_000_000 - silentMs), ...more }, { unresponsiveAfterMs: 45_000, leaseTtlMs: 600_000 });
  expect([at(0), at(45_000), at(45_001), at(600_000), at(600_001), at(null), at(0, { closed_at: new Date() }), at(0, { draining: true }), at(50_000, { draining: true })]).toEqual(
    ["ONLINE", "ONLINE", "UNRESPONSIVE", "UNRESPONSIVE", "LOST", "OFFLINE", "OFFLINE", "DRAINING", "UNRESPONSIVE"]);
});

describe("the price of a document", () => {
  const refused = (query: string, variables: Record<string, unknown> = {}) => {
    const document = parse(query);
    return priceProblem(schema, document, document.definitions.find((each): each is OperationDefinitionNode => each.kind === "OperationDefinition")!, variables) !== null;
  };

  test("what people ask is within it", () => {
    expect(refused("query ($id: ID!) { pipeline(id: $id) { name status spec layers stages { id name kind status dependsOn queue priority params outputs waitReasons progress { step totalSteps etaSeconds } error { code message hint logTail } attempts { number status command agent { name } error { code } } checkpoints { id step isBest } evaluations { scores } metricNames } events(first: 100) { seq type stage payload at } } }")).toBe(false);
    expect(refused("{ pipelines(first: 100) { edges { node { id name status labels stageCounts createdAt startedAt finishedAt stages { name status progress { step totalSteps } } } } } }")).toBe(false);
    expect(refused("{ agents { name status queues { name running concurrency } gpus { index model memoryUsedMiB heldBy { stage { name pipeline { name } } } } running { stage { name } } } queues { name waiting } }")).toBe(false);
    expect(refused("query ($id: ID!) { stage(id: $id) { metrics(maxPoints: 10000) { name points { step at value nonFinite } } } }")).toBe(false);
  });

  test("what multiplies is not, however it is spelled", () => {
    expect(refused("{ pipelines(first: 100) { edges { node { stages { metrics { points { value } } } } } } }")).toBe(true);
    expect(refused("{ pipelines(first: 100) { edges { node { ...P } } } } fragment P on Pipeline { stages { attempts { stage { ...S } } } } fragment S on Stage { pipeline { stages { id } } }")).toBe(true);
    expect(refused("query ($n: Int!, $m: Int!) { pipelines(first: $n) { edges { node { stages { metrics(maxPoints: $m) { points { value } } } } } } }", { n: 2, m: 100 })).toBe(false);
    expect(refused("query ($n: Int!, $m: Int!) { pipelines(first: $n) { edges { node { stages { metrics(maxPoints: $m) { points { value } } } } } } }", { n: 2, m: 10_000 })).toBe(true);
    expect(refused("{ a: pipelines(first: 100) { edges { node { forkedFrom { forkedFrom { forkedFrom { stages { pipeline { stages { id name status } } } } } } } } } }")).toBe(true);
  });

  test("a cycle of fragments ends", () => {
    expect(refused("{ pipelines { edges { node { ...A } } } } fragment A on Pipeline { forkedFrom { ...B } } fragment B on Pipeline { forkedFrom { ...A } }")).toBe(false);
  });
});
