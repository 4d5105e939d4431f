// What the database knows and does while an agent is deployed: whose the host is, the agent's token, whether it is connected.
//   P1. Two agents never serve a host: `served_by` changes in a transaction that holds the host's row, and only when nobody else has an attempt there.
//   P2. The token is made here, reaches the host over the encrypted connection, and is kept nowhere else. One that was replaced, or whose agent does not run, is revoked.

import type { Selectable } from "kysely";
import type { Database } from "../db/tables.js";
import { ConflictError } from "../domain/errors.js";
import type { SshHostId } from "../domain/ids.js";
import { packAgent, packNode } from "../hosts/deploy/agent-package.js";
import type { DeployParts } from "../hosts/deploy/deploy-agent.js";
import { DeployError } from "../hosts/deploy/deploy-error.js";
import type { SshHostRow } from "./ssh-hosts.js";
import { createToken, revokeToken, type AccessDb } from "./tokens.js";

export interface DeployPartsOptions {
  readonly db: AccessDb;
  readonly row: Selectable<Database["host_deployments"]>;
  readonly host: SshHostRow;
  /** Where this installation lies, and where archives for hosts are kept. */
  readonly packageRoot: string;
  readonly archives: string;
  readonly unresponsiveAfterMs: number;
  readonly send: DeployParts["send"];
}

export function deployParts({ db, row, host, packageRoot, archives, unresponsiveAfterMs, send }: DeployPartsOptions): DeployParts {
  const deployment = (trx: AccessDb) => trx.selectFrom("host_deployments").select("token_id").where("host_id", "=", host.id);
  return {
    send,
    packAgent: () => packAgent({ root: packageRoot, folder: archives }),
    packNode: () => packNode({ folder: archives }),
    refuseClash: () => refuseClash(db, host, unresponsiveAfterMs),

    token: (onHost) => db.transaction().execute(async (trx) => { // P2
      const { token_id: tokenId } = await deployment(trx).forUpdate().executeTakeFirstOrThrow();
      const known = tokenId === null ? undefined : await trx.selectFrom("tokens").select(["hash", "revoked_at"]).where("id", "=", tokenId).executeTakeFirst();
      if (known !== undefined && known.revoked_at === null && known.hash === onHost) return null;
      const { token, secret } = await createToken(trx, { name: `agent on ${host.name}`, role: "agent", agentName: host.name, expiresInDays: null, by: row.ordered_by });
      await trx.updateTable("host_deployments").set({ token_id: token.id }).where("host_id", "=", host.id).execute();
      if (tokenId !== null) await revokeToken(trx, tokenId);
      return secret;
    }),

    takeOver: () => db.transaction().execute(async (trx) => { // P1
      await trx.selectFrom("ssh_hosts").select("id").where("id", "=", host.id).forUpdate().executeTakeFirstOrThrow();
      await refuseClash(trx, host, unresponsiveAfterMs);
      const { numUpdatedRows } = await trx.updateTable("ssh_hosts").set({ served_by: "agent" }).where("id", "=", host.id).where("served_by", "=", "ssh").executeTakeFirst();
      if (Number(numUpdatedRows) === 0) return false;
      await trx.updateTable("agents").set({ draining: false }).where("name", "=", host.name).execute(); // drained to make room
      return true;
    }),

    async giveBack() {
      await db.updateTable("ssh_hosts").set({ served_by: "ssh" }).where("id", "=", host.id).execute();
      await db.updateTable("host_deployments").set({ parameters: "{}", release: null, version: null, supervision: null, running_since: null }).where("host_id", "=", host.id).execute();
    },

    async isOnline() {
      const { token_id: tokenId } = await deployment(db).executeTakeFirstOrThrow();
      const agent = await db.selectFrom("agents").select("id").where("name", "=", host.name).where("token_id", "=", tokenId).where("closed_at", "is", null)
        .where("last_heartbeat_at", ">", new Date(Date.now() - unresponsiveAfterMs)).executeTakeFirst();
      return agent !== undefined;
    },
  };
}

/** P2. After a failure: nobody uses the token of an agent that does not run. */
export async function revokeIdle(db: AccessDb, id: SshHostId): Promise<void> {
  const idle = await db.selectFrom("host_deployments as d").innerJoin("ssh_hosts as h", "h.id", "d.host_id").select("d.token_id")
    .where("d.host_id", "=", id).where("h.served_by", "=", "ssh").where("d.token_id", "is not", null).executeTakeFirst();
  if (idle?.token_id != null) await revokeToken(db, idle.token_id);
}

/** P1. Throws ConflictError, DeployError. */
async function refuseClash(db: AccessDb, host: SshHostRow, unresponsiveAfterMs: number): Promise<void> {
  const agent = await db.selectFrom("agents").selectAll().where("name", "=", host.name).executeTakeFirst();
  if (agent === undefined) return;
  if (agent.run_mode === "LOCAL") {
    const heard = agent.closed_at === null && agent.last_heartbeat_at !== null && agent.last_heartbeat_at.getTime() > Date.now() - unresponsiveAfterMs;
    const { token_id: ours } = await db.selectFrom("host_deployments").select("token_id").where("host_id", "=", host.id).executeTakeFirstOrThrow();
    const foreign = agent.token_id === null || agent.token_id === ours ? undefined : await db.selectFrom("tokens").select("id").where("id", "=", agent.token_id).where("revoked_at", "is", null).executeTakeFirst();
    if (heard && foreign !== undefined) throw new DeployError("DEPLOY_NAME_TAKEN", host.name, "an agent that was not deployed from here is connected under that name. Stop it, or add the host under another name.");
    return;
  }
  const { count } = await db.selectFrom("assignments").select((eb) => eb.fn.countAll<number>().as("count")).where("agent_id", "=", agent.id).executeTakeFirstOrThrow();
  if (Number(count) > 0) throw new ConflictError("SSH_HOST_IN_USE", `${host.name} still runs ${count} attempt${Number(count) === 1 ? "" : "s"} over SSH. Run trainyard agents drain ${host.name}, wait for ${Number(count) === 1 ? "it" : "them"}, then deploy.`);
}
