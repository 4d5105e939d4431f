// Documents made from the schema: the smallest operation that reaches a root field.
import { getNamedType, isCompositeType, isEnumType, isInputObjectType, isListType, isNonNullType, type GraphQLField, type GraphQLInputType } from "graphql";

/** A value that the type accepts. */
function sample(type: GraphQLInputType): unknown {
  if (isNonNullType(type)) return sample(type.ofType);
  if (isListType(type)) return [];
  if (isEnumType(type)) return type.getValues()[0]!.name;
  if (isInputObjectType(type)) return Object.fromEntries(Object.values(type.getFields()).filter((field) => isNonNullType(field.type)).map((field) => [field.name, sample(field.type)]));
  return { ID: "pip_00000000000000000000000000", String: "x", Int: 1, SafeInt: 1, Float: 1, Boolean: true, JSON: {}, EventCursor: "x", DateTime: "2026-01-01T00:00:00Z" }[type.name];
}

/** The operation and variables that its arguments accept. */
export function documentFor(kind: string, field: GraphQLField<unknown, unknown>): { query: string; variables: Record<string, unknown> } {
  const needed = field.args.filter((argument) => isNonNullType(argument.type));
  const result = getNamedType(field.type);
  const selection = isCompositeType(result) ? "{ __typename }" : "";
  const head = needed.length === 0 ? "" : `(${needed.map((argument) => `$${argument.name}: ${argument.type}`).join(", ")})`;
  const args = needed.length === 0 ? "" : `(${needed.map((argument) => `${argument.name}: $${argument.name}`).join(", ")})`;
  return { query: `${kind} ${head} { ${field.name}${args} ${selection} }`, variables: Object.fromEntries(needed.map((argument) => [argument.name, sample(argument.type)])) };
}
