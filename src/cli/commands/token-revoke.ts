import type { Cli } from "../cli.js";
import { payloadOf, type DomainErrorAnswer } from "../api/results.js";
import type { ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";

interface Revoked { readonly token: { readonly id: string; readonly name: string } }

export async function run(cli: Cli, [id]: readonly string[], options: { readonly yes?: boolean }): Promise<ExitCode | void> {
  const refused = await mayGoOn(cli, `Revoke ${id!}? Whoever uses it is cut off at once.`, options.yes === true);
  if (refused !== null) return refused;
  const { revokeToken } = await cli.api().call<{ revokeToken: Revoked | DomainErrorAnswer }>(
    "mutation Revoke($id: ID!) { revokeToken(id: $id) { ... on TokenPayload { token { id name } } ... on DomainError { __typename code message retryable } } }", { id });
  const { token } = payloadOf(revokeToken) as Revoked;
  cli.print({ value: token, table: () => [], ids: () => [token.id] });
  cli.note(`The token of ${token.name} is revoked; what it held open is closed.`);
}
