// Draining an agent, and the opposite.
import type { Cli } from "../cli.js";
import { findAgent } from "./agents.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "./results.js";

interface Drained { readonly agent: { readonly id: string; readonly name: string; readonly status: string; readonly draining: boolean } }

/** Orders it of the agent the user named, and says what it means. */
export async function orderDrain(cli: Cli, name: string, mutation: "drainAgent" | "undrainAgent", reason: string | undefined, remark: (agent: Drained["agent"]) => string): Promise<void> {
  const { id: agentId } = await findAgent(cli, name);
  const input = { agentId, ...(reason === undefined ? {} : { reason }) };
  const answer = await cli.api().call<Record<string, Drained | DomainErrorAnswer>>(
    `mutation Drain($input: AgentActionInput!) { ${mutation}(input: $input) { ... on AgentPayload { agent { id name status draining } } ${DOMAIN_ERROR} } }`, { input });
  const { agent } = payloadOf(answer[mutation]!) as Drained;
  cli.print({ value: agent, table: () => [], ids: () => [agent.id] });
  cli.note(remark(agent));
}
