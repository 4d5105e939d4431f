// Changes to one checkpoint.
import type { Cli } from "../cli.js";
import { payloadOf, type DomainErrorAnswer } from "./results.js";

export const CHECKPOINT_FIELDS = "id step path host sizeBytes metrics isBest isPinned simulated deletedAt createdAt";
export interface CheckpointAnswer {
  readonly id: string; readonly step: number; readonly path: string; readonly host: string; readonly sizeBytes: number | null; readonly metrics: Readonly<Record<string, unknown>>;
  readonly isBest: boolean; readonly isPinned: boolean; readonly simulated: boolean; readonly deletedAt: string | null; readonly createdAt: string;
}

/** Orders the change, prints the checkpoint and says what it means. Throws RefusedError. */
export async function changeCheckpoint(cli: Cli, mutation: "pinCheckpoint" | "unpinCheckpoint" | "deleteCheckpoint", id: string, remark: (checkpoint: CheckpointAnswer) => string): Promise<void> {
  const answer = await cli.api().call<Record<string, { checkpoint: CheckpointAnswer } | DomainErrorAnswer>>(
    `mutation Change($id: ID!) { ${mutation}(id: $id) { ... on CheckpointPayload { checkpoint { ${CHECKPOINT_FIELDS} } } ... on DomainError { __typename code message retryable } } }`, { id });
  const { checkpoint } = payloadOf(answer[mutation]!) as { checkpoint: CheckpointAnswer };
  cli.print({ value: checkpoint, table: () => [], ids: () => [checkpoint.id] });
  cli.note(remark(checkpoint));
}
