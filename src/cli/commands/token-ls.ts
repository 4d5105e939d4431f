import type { Cli } from "../cli.js";
import { shortDuration } from "../render/quantities.js";
import { renderTable } from "../render/table.js";
import { harmless } from "../render/text-width.js";

interface Token { readonly id: string; readonly name: string; readonly role: string; readonly agentName: string | null; readonly createdBy: string; readonly createdAt: string; readonly expiresAt: string | null; readonly lastUsedAt: string | null; readonly revokedAt: string | null }

export async function run(cli: Cli): Promise<void> {
  const { tokens } = await cli.api().call<{ tokens: readonly Token[] }>("query Tokens { tokens { id name role agentName createdBy createdAt expiresAt lastUsedAt revokedAt } }");
  const now = Date.now();
  const ago = (at: string | null) => (at === null ? "never" : `${shortDuration(now - Date.parse(at))} ago`);
  const state = (token: Token) => (token.revokedAt !== null ? cli.style.red("revoked") : token.expiresAt === null ? "" : Date.parse(token.expiresAt) < now ? cli.style.red("expired") : `ends in ${shortDuration(Date.parse(token.expiresAt) - now)}`);
  const rows = () => tokens.map((token) => [token.id, harmless(token.name), token.role.toLowerCase(), harmless(token.agentName ?? ""), ago(token.createdAt), ago(token.lastUsedAt), state(token)]);
  cli.print({ value: tokens, table: () => renderTable(["ID", "NAME", "ROLE", "AGENT", "MADE", "USED", ""].map((title) => ({ title })), rows(), cli.style, null), ids: () => tokens.map(({ id }) => id) });
}
