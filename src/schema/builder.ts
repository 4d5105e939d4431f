// The Pothos builder that every file of this folder adds its type to. Fields are non-null unless they say otherwise. No plugin: result unions here are shared
// by several mutations, page sizes are refused instead of capped, and who may read what stands in one table (permissions.ts).

import SchemaBuilder from "@pothos/core";
import type { Context } from "./context.js";

export const builder = new SchemaBuilder<{
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: {
    ID: { Input: string; Output: string };
    DateTime: { Input: Date; Output: Date };
    SafeInt: { Input: number; Output: number };
    JSON: { Input: unknown; Output: unknown };
    EventCursor: { Input: string; Output: string };
  };
}>({ defaultFieldNullability: false });

builder.queryType({});
builder.mutationType({});
builder.subscriptionType({});
