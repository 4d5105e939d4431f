import { expect, test } from "vitest";
import { compareWithContract } from "../../scripts/contract-check.js";

const contract = "type Query { pipeline: Pipeline host: Host } type Pipeline { id: ID! name: String! } type Host { id: ID! }";
const awaited = ["TYPE_REMOVED: Host was removed.", "FIELD_REMOVED: Query.host was removed."];

test("a schema that lacks only what is awaited keeps the contract", () => {
  expect(compareWithContract(contract, "type Query { pipeline: Pipeline } type Pipeline { id: ID! name: String! extra: Int }", awaited)).toEqual({ broken: [], arrived: [] });
});

test("a part that is missing without being awaited is a break", () => {
  expect(compareWithContract(contract, "type Query { pipeline: Pipeline } type Pipeline { id: ID! }", awaited)).toEqual({ broken: ["FIELD_REMOVED: Pipeline.name was removed."], arrived: [] });
});

test("a part that has arrived must be struck from the list", () => {
  expect(compareWithContract(contract, contract, awaited)).toEqual({ broken: [], arrived: awaited });
});
