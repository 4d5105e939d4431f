// The audit trail, for admins.

import type { Selectable } from "kysely";
import type { Database } from "../db/tables.js";
import { builder } from "./builder.js";
import { decodeListCursor, encodeListCursor, pageOf, PageInfo, readPageArgs, type ConnectionShape } from "./paging.js";

type AuditRow = Selectable<Database["audit"]>;

const AuditOutcome = builder.enumType("AuditOutcome", { values: ["ACCEPTED", "REFUSED"] as const });

const AuditEntry = builder.objectRef<AuditRow>("AuditEntry").implement({
  description: "One mutation that was asked for, accepted or refused.",
  fields: (t) => ({
    id: t.field({ type: "SafeInt", resolve: (row) => row.id }),
    at: t.expose("at", { type: "DateTime" }),
    actor: t.exposeString("actor", { description: "Name of the token; anonymous where there was none." }),
    tokenId: t.id({ nullable: true, resolve: (row) => row.token_id }),
    role: t.exposeString("role", { nullable: true }),
    action: t.exposeString("action", { description: "Name of the mutation." }),
    subject: t.exposeString("subject", { nullable: true, description: "Id of what it was about." }),
    input: t.expose("input", { type: "JSON", description: "What was sent, without secrets; large inputs as hash and size." }),
    outcome: t.expose("outcome", { type: AuditOutcome }),
    code: t.exposeString("code", { nullable: true, description: "Why it was refused." }),
    requestId: t.string({ nullable: true, resolve: (row) => row.request_id }),
    address: t.exposeString("address", { nullable: true }),
  }),
});

const AuditEdge = builder.objectRef<{ readonly node: AuditRow; readonly cursor: string }>("AuditEdge").implement({
  fields: (t) => ({ node: t.expose("node", { type: AuditEntry }), cursor: t.exposeString("cursor") }),
});
const AuditConnection = builder.objectRef<ConnectionShape<AuditRow>>("AuditConnection").implement({
  fields: (t) => ({ edges: t.field({ type: [AuditEdge], resolve: ({ edges }) => [...edges] }), pageInfo: t.expose("pageInfo", { type: PageInfo }) }),
});

const cursorOf = (row: AuditRow) => encodeListCursor("aud", row.id);

builder.queryField("audit", (t) => t.field({
  type: AuditConnection, description: "The audit trail, newest first.",
  args: { first: t.arg.int(), after: t.arg.string(), last: t.arg.int(), before: t.arg.string(), subject: t.arg.string({ description: "Only what was about the object with this id." }) },
  resolve: async (_root, args, { deps }) => {
    const asked = readPageArgs(args, (cursor) => Number(decodeListCursor(cursor, "aud", /^\d{1,15}$/)[0]));
    let query = deps.db.selectFrom("audit").selectAll().orderBy("id", asked.forward ? "desc" : "asc").limit(asked.size + 1);
    if (args.subject != null) query = query.where("subject", "=", args.subject);
    if (asked.after !== null) query = query.where("id", "<", asked.after);
    if (asked.before !== null) query = query.where("id", ">", asked.before);
    return pageOf(asked, await query.execute(), cursorOf);
  },
}));
