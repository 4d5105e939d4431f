// The scalars of the API. Each refuses what it cannot carry exactly.

import { GraphQLError, Kind } from "graphql";
import { builder } from "./builder.js";

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;
/** Longer texts are no cursor of ours. */
const MAX_CURSOR_LENGTH = 200;

builder.scalarType("DateTime", {
  description: "A moment: RFC 3339 in UTC, to the millisecond.",
  serialize: (value) => value.toISOString(),
  parseValue: (value) => {
    const at = typeof value === "string" && RFC_3339.test(value) ? new Date(value) : null;
    if (at === null || Number.isNaN(at.getTime())) throw new GraphQLError("A DateTime looks like 2026-01-31T12:00:00.000Z.");
    return at;
  },
});

builder.scalarType("SafeInt", {
  description: "An integer up to 2^53-1: bytes, tokens, steps, milliseconds. Int ends at 2^31-1.",
  serialize: safeInteger,
  parseValue: safeInteger,
  parseLiteral: (node) => {
    if (node.kind !== Kind.INT) throw new GraphQLError("A SafeInt is a whole number.", { nodes: node });
    return safeInteger(Number(node.value));
  },
});

builder.scalarType("JSON", {
  description: "Any JSON value: specifications, parameters, outputs, payloads of events.",
  serialize: (value) => value,
  parseValue: (value) => value,
});

builder.scalarType("EventCursor", {
  description: "A place in a stream of events. Keep it and give it back; its form may change, so never build or compare one.",
  serialize: (value) => value,
  parseValue: (value) => {
    if (typeof value !== "string" || value.length > MAX_CURSOR_LENGTH) throw new GraphQLError("An EventCursor is a text that this API gave out.");
    return value;
  },
});

function safeInteger(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value)) throw new GraphQLError("A SafeInt is a whole number between -(2^53-1) and 2^53-1.");
  return value;
}
