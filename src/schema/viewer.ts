// Who the caller is, as the server sees it.

import type { Principal } from "../access/authenticator.js";
import { builder } from "./builder.js";
import { TokenRole } from "./token.js";

const Viewer = builder.objectRef<Principal>("Viewer").implement({
  description: "The token behind this request.",
  fields: (t) => ({
    tokenId: t.exposeID("tokenId"),
    name: t.exposeString("name"),
    role: t.field({ type: TokenRole, resolve: (principal) => principal.role }),
    expiresAt: t.expose("expiresAt", { type: "DateTime", nullable: true }),
  }),
});

builder.queryField("viewer", (t) => t.field({ type: Viewer, description: "Who is asking.", resolve: (_root, _args, { principal }) => principal! }));
