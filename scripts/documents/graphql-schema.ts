// schema.graphql, printed from the schema that the server serves.
import type { Document } from "./document.js";

export const graphqlSchema: Document = {
  path: "schema.graphql",
  async render() {
    const { printSchemaSdl } = await import("../../src/schema/print.js");
    return printSchemaSdl();
  },
};
