import { existsSync, readFileSync } from "node:fs";
import { buildSchema as parseSchema, findBreakingChanges } from "graphql";
import { expect, test } from "vitest";
import { packagePath } from "../../src/package-root.js";
import { printSchemaSdl } from "../../src/schema/print.js";

const contract = packagePath("..", "shared", "contract", "schema.graphql");
if (!existsSync(contract)) console.warn("\nNOT RUN: the comparison with the public contract: shared/contract/schema.graphql is not beside this checkout\n");

test.skipIf(!existsSync(contract))("the schema has everything of the public contract", () => {
  const breaking = findBreakingChanges(parseSchema(readFileSync(contract, "utf8")), parseSchema(printSchemaSdl()));
  expect(breaking.map((change) => change.description)).toEqual([]);
});

test("the committed schema.graphql is the one that is served", () => {
  expect(readFileSync(packagePath("schema.graphql"), "utf8")).toBe(printSchemaSdl());
});

test("every type, field and argument that needs words has them, in our own", () => {
  const schema = parseSchema(printSchemaSdl());
  const bare = Object.values(schema.getTypeMap()).filter((type) => !type.name.startsWith("__") && type.description == null && !/(Payload|Result|Edge|Connection|Input|Outcome)$|^(Query|Mutation|Subscription|ID|Int|Float|String|Boolean)$/.test(type.name));
  expect(bare.map((type) => type.name)).toEqual([]);
});
