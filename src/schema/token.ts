// Tokens of the API and of agents. The text of a token is in the answer that makes it and nowhere else.

import { createToken, listTokens, revokeToken, type TokenRow } from "../access/tokens.js";
import { builder } from "./builder.js";
import { Forbidden, InvalidInput, Conflict, memberOf, NotFound } from "./domain-error.js";
import { audited } from "./mutation.js";

export const TokenRole = builder.enumType("TokenRole", {
  description: "A viewer reads, an operator also acts on pipelines, agents and checkpoints, an admin also on tokens. An agent token opens an agent's session and nothing of this API.",
  values: { VIEWER: { value: "viewer" }, OPERATOR: { value: "operator" }, ADMIN: { value: "admin" }, AGENT: { value: "agent" } } as const,
});

const Token = builder.objectRef<TokenRow>("Token").implement({
  description: "A token without its text.",
  fields: (t) => ({
    id: t.exposeID("id"),
    name: t.exposeString("name"),
    role: t.expose("role", { type: TokenRole }),
    agentName: t.string({ nullable: true, description: "The only agent that may use it; null for any.", resolve: (row) => row.agent_name }),
    createdBy: t.string({ resolve: (row) => row.created_by }),
    createdAt: t.field({ type: "DateTime", resolve: (row) => row.created_at }),
    expiresAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.expires_at }),
    lastUsedAt: t.field({ type: "DateTime", nullable: true, description: "To the minute.", resolve: (row) => row.last_used_at }),
    revokedAt: t.field({ type: "DateTime", nullable: true, resolve: (row) => row.revoked_at }),
  }),
});

builder.queryField("tokens", (t) => t.field({ type: [Token], description: "Every token, newest first.", resolve: (_root, _args, { deps }) => listTokens(deps.db) }));

const CreateTokenInput = builder.inputType("CreateTokenInput", {
  fields: (t) => ({
    name: t.string({ required: true, description: "Who or what will use it." }),
    role: t.field({ type: TokenRole, required: true }),
    agentName: t.string({ description: "Binds an agent token to the agent of this name." }),
    expiresInDays: t.float({ description: "Without it the token does not expire." }),
  }),
});
const CreateTokenPayload = builder.objectRef<{ token: TokenRow; secret: string }>("CreateTokenPayload").implement({
  fields: (t) => ({
    token: t.expose("token", { type: Token }),
    secret: t.exposeString("secret", { description: "The token itself. This is the only time it is shown." }),
  }),
});
const CreateTokenResult = builder.unionType("CreateTokenResult", { types: [CreateTokenPayload, InvalidInput, Forbidden], resolveType: memberOf("CreateTokenPayload") });

builder.mutationField("createToken", (t) => t.field({
  type: CreateTokenResult, description: "Makes a token and shows it this once.",
  args: { input: t.arg({ type: CreateTokenInput, required: true }) },
  resolve: audited({
    subject: () => null,
    run: ({ input }: { input: typeof CreateTokenInput.$inferInput }, { principal, audit }, { deps }) => deps.db.transaction().execute(async (trx) => {
      const made = await createToken(trx, { name: input.name, role: input.role, agentName: input.agentName ?? null, expiresInDays: input.expiresInDays ?? null, by: principal.name });
      await audit(trx, made.token.id);
      return made;
    }),
  }),
}));

const TokenPayload = builder.objectRef<{ token: TokenRow }>("TokenPayload").implement({ fields: (t) => ({ token: t.expose("token", { type: Token }) }) });
const TokenResult = builder.unionType("TokenResult", { types: [TokenPayload, NotFound, Conflict, Forbidden], resolveType: memberOf("TokenPayload") });

builder.mutationField("revokeToken", (t) => t.field({
  type: TokenResult, description: "Ends a token for good. What it holds open is closed within a second.",
  args: { id: t.arg.id({ required: true }) },
  resolve: audited({
    subject: ({ id }: { id: string }) => id,
    run: async ({ id }, { audit }, { deps }) => {
      const token = await deps.db.transaction().execute(async (trx) => {
        const row = await revokeToken(trx, id);
        await audit(trx);
        return row;
      });
      deps.authenticator.checkNow();
      return { token };
    },
  }),
}));
