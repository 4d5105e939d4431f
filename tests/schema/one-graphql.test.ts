import { createRequire } from "node:module";
import * as graphql from "graphql";
import { expect, test } from "vitest";
import { buildSchema } from "../../src/schema/schema.js";

test("tests and packages share one copy of graphql: otherwise no `instanceof` between them holds, and errors of ours would be masked as bugs", () => {
  const require = createRequire(import.meta.url);
  for (const name of [".", "graphql-yoga", "@pothos/core", "graphql-ws"]) {
    const theirs = (name === "." ? require : createRequire(require.resolve(name)))("graphql") as typeof graphql;
    expect(theirs.GraphQLError === graphql.GraphQLError, name).toBe(true);
    expect(theirs.GraphQLSchema === graphql.GraphQLSchema, name).toBe(true);
  }
  expect(buildSchema()).toBeInstanceOf(graphql.GraphQLSchema);
});
