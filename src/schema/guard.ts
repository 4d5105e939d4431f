// Puts the permission table in front of every resolver.
//   G1. Default deny: a field that is not in the table stops the server from starting, and so does an entry for a field that does not exist.
//   G2. Every field of every object type asks, not only the roots: what a new path makes reachable is still refused.
//   G3. Mutations answer a refusal as ForbiddenError and leave an audit row (mutation.ts asks the same table); here it is only made sure that they do.
//   G4. Error members of unions are the exception: whoever was refused may read why. Agents too.

import { defaultFieldResolver, isObjectType, type GraphQLFieldResolver, type GraphQLSchema } from "graphql";
import { includesRole, type NeededRole } from "../access/roles.js";
import type { Principal } from "../access/authenticator.js";
import { badInput, forbidden, unauthenticated } from "./api-errors.js";
import { textProblem } from "./argument-texts.js";
import type { Context } from "./context.js";
import { isAudited } from "./mutation.js";
import { neededRole, PERMISSIONS } from "./permissions.js";

/** Wraps the schema's resolvers in place and returns it. Throws when table and schema disagree. */
export function guardSchema(schema: GraphQLSchema): GraphQLSchema {
  const seen = new Set<string>();
  const wrong: string[] = [];
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isObjectType(type) || type.name.startsWith("__")) continue;
    const isError = type.getInterfaces().some((face) => face.name === "DomainError");
    for (const field of Object.values(type.getFields())) {
      const needed = neededRole(type.name, field.name);
      seen.add(`${type.name}.${field.name}`);
      if (needed === null) wrong.push(`${type.name}.${field.name} has no rule`);
      else if (type === schema.getMutationType()) {
        if (!isAudited(field.resolve)) wrong.push(`${type.name}.${field.name} is not made by \`audited\``);
      } else if (type === schema.getSubscriptionType()) field.subscribe = guarded(field.subscribe, `${type.name}.${field.name}`, needed, true);
      else if (!isError) field.resolve = guarded(field.resolve, `${type.name}.${field.name}`, needed, field.args.length > 0); // G4
    }
  }
  for (const [type, columns] of Object.entries(PERMISSIONS)) {
    for (const field of Object.values(columns).flatMap((names) => names.split(" "))) if (!seen.has(`${type}.${field}`)) wrong.push(`${type}.${field} has a rule but does not exist`);
  }
  if (wrong.length > 0) throw new Error(`src/schema/permissions.ts does not fit the schema: ${wrong.join("; ")}.`);
  return schema;
}

function guarded(resolve: GraphQLFieldResolver<unknown, Context> | undefined, name: string, needed: NeededRole, takesArguments: boolean): GraphQLFieldResolver<unknown, Context> {
  const inner = resolve ?? defaultFieldResolver;
  return (parent, args, context, info) => {
    checkRole(context.principal, needed, name);
    const problem = takesArguments ? textProblem(args) : null;
    if (problem !== null) throw badInput(problem);
    return inner(parent, args, context, info);
  };
}

/** Throws UNAUTHENTICATED or FORBIDDEN unless the principal's role includes `needed`. */
export function checkRole(principal: Principal | null, needed: NeededRole, what: string): asserts principal is Principal {
  if (principal === null) throw unauthenticated();
  if (!includesRole(principal.role, needed)) throw forbidden(what, principal.role, needed);
}
