// Makes a token: over the API, or on the server's own machine straight in the database (the first admin of a fresh database has nobody to ask).
import { createToken } from "../../access/tokens.js";
import type { Role } from "../../access/roles.js";
import { openDatabase } from "../../db/database.js";
import { UnreachableError } from "../exit-codes.js";
import type { Cli } from "../cli.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "../api/results.js";
import { databaseHere } from "../stack/database-here.js";

interface CreateOptions { readonly role: Role; readonly name: string; readonly agentName?: string; readonly expiresInDays?: number; readonly local?: boolean }
interface Made { readonly token: { readonly id: string; readonly name: string; readonly role: string }; readonly secret: string }

export async function run(cli: Cli, _: readonly string[], options: CreateOptions): Promise<void> {
  const { token, secret } = options.local === true ? await createHere(cli, options) : await createOverApi(cli, options);
  cli.print({ value: { id: token.id, name: token.name, role: token.role.toLowerCase(), token: secret }, table: () => [secret], ids: () => [token.id] });
  const variable = options.role === "agent" ? "TRAINYARD_AGENT_TOKEN" : "TRAINYARD_TOKEN";
  cli.note(`Token ${token.id} for ${token.name} (${options.role}). It is not shown again. Use it as ${variable}; end it with: ${cli.command(`token revoke ${token.id}`)}`);
}

async function createOverApi(cli: Cli, options: CreateOptions): Promise<Made> {
  const input = { name: options.name, role: options.role.toUpperCase(), agentName: options.agentName ?? null, expiresInDays: options.expiresInDays ?? null };
  try {
    const { createToken: answer } = await cli.api().call<{ createToken: Made | DomainErrorAnswer }>(
      `mutation Create($input: CreateTokenInput!) { createToken(input: $input) { ... on CreateTokenPayload { token { id name role } secret } ${DOMAIN_ERROR} } }`, { input });
    return payloadOf(answer) as Made;
  } catch (error) {
    if (error instanceof UnreachableError) cli.note("On the server's own machine it works without the server: add --local.");
    throw error;
  }
}

async function createHere(cli: Cli, options: CreateOptions): Promise<Made> {
  const database = await databaseHere(cli);
  const opened = openDatabase({ url: database.url, size: 1, log: { warn: () => undefined } });
  try {
    return await createToken(opened.db, { name: options.name, role: options.role, agentName: options.agentName ?? null, expiresInDays: options.expiresInDays ?? null, by: "trainyard token create --local" });
  } finally {
    await opened.close();
    await database.close();
  }
}
