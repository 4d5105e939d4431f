// Brings an agent of its own onto a machine, upgrades it, or takes it off, and follows that live. The server carries the order out, also when this command goes away.
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { DEPLOYMENT_FIELDS, findHost, HOST_FIELDS, type DeploymentAnswer, type DeploymentStepAnswer, type HostAnswer } from "../api/hosts.js";
import { DOMAIN_ERROR, payloadOf, type DomainErrorAnswer } from "../api/results.js";
import type { Cli } from "../cli.js";
import { CliError, EXIT, type ExitCode } from "../exit-codes.js";
import { mayGoOn } from "../question.js";
import { showTransfer, showWaiting, type Transfer } from "../render/transfer.js";
import { harmless } from "../render/text-width.js";

interface DeployOptions {
  readonly agentUrl?: string; readonly pools?: string; readonly labels?: string; readonly python?: string; readonly ca?: string; readonly sendNode?: boolean;
  readonly remove?: boolean; readonly now?: boolean; readonly forget?: boolean; readonly yes?: boolean; readonly wait: boolean;
}

const LOOK_MS = 300;
/** A server that is away for so long is believed to be, in milliseconds; a restart takes less. */
const PATIENCE_MS = 60_000;

export async function run(cli: Cli, [text]: readonly string[], options: DeployOptions): Promise<ExitCode | void> {
  const host = await findHost(cli, text!);
  if (options.remove !== true && (options.now === true || options.forget === true)) throw new CliError(EXIT.usage, "--now and --forget belong to --remove.");
  if (options.remove === true) {
    const refused = await mayGoOn(cli, options.forget === true ? `Forget the agent of ${host.name} without asking the machine?` : `Remove the agent of ${host.name}${options.now === true ? " and stop what it runs" : ""}?`, options.yes === true);
    if (refused !== null) return refused;
  }
  const order = options.remove === true
    ? { field: "removeHostAgent", type: "RemoveHostAgentInput", input: { hostId: host.id, now: options.now === true, forget: options.forget === true } }
    : { field: "deployHostAgent", type: "DeployHostAgentInput", input: { hostId: host.id, url: options.agentUrl ?? null, pools: options.pools ?? null, labels: options.labels ?? null, python: options.python ?? null, caCertificate: certificateOf(options.ca), sendNode: options.sendNode ?? null } };
  const answer = await cli.api().call<Record<string, { sshHost: HostAnswer } | DomainErrorAnswer>>(
    `mutation Order($input: ${order.type}!) { ${order.field}(input: $input) { ... on SshHostPayload { sshHost { ${HOST_FIELDS} } } ${DOMAIN_ERROR} } }`, { input: order.input });
  payloadOf(answer[order.field]!);
  if (!options.wait) {
    cli.print({ value: host, table: () => [host.id], ids: () => [host.id] });
    cli.note(`Ordered; how far it is: ${cli.command("host ls")}`);
    return;
  }
  const done = await follow(cli, host);
  cli.print({ value: { id: host.id, name: host.name, deployment: done }, table: () => [], ids: () => [host.id] });
  for (const note of done.notes) cli.note(harmless(note));
  if (done.state === "FAILED") throw new CliError(EXIT.failure, `${done.error?.message ?? "it failed"} (${done.error?.code ?? "?"})`, { hint: `Given again, the order goes on where it can: ${cli.command(`host deploy ${host.name}${options.remove === true ? " --remove" : ""}`)}` });
  cli.note(done.state === "REMOVED" ? `The agent of ${host.name} is gone; the machine is served over SSH again.` : `${host.name} has an agent of its own: trainyard ${done.version}, online. Its work: ${cli.command(`agents show ${host.name}`)}`);
}

function certificateOf(file: string | undefined): string | null {
  if (file === undefined) return null;
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new CliError(EXIT.usage, `The certificate file ${file} cannot be read: ${(error as Error).message}`);
  }
}

/** Shows each step as it ends, and what is under way on a line of its own; resolves with the end of the order. */
async function follow(cli: Cli, host: HostAnswer): Promise<DeploymentAnswer> {
  const shown = cli.format === "table" && !cli.quiet;
  let told = 0;
  let heardAt = Date.now();
  let transfer: { readonly name: string; readonly line: Transfer } | null = null;
  let waiting: { readonly text: string; end(): void } | null = null;
  const quiet = (): void => {
    transfer?.line.end();
    waiting?.end();
    transfer = waiting = null;
  };
  const under = (step: DeploymentStepAnswer | undefined): void => {
    if (step === undefined || !shown) return quiet();
    if (step.bytesTotal !== null && step.bytesDone !== null) {
      if (transfer?.name !== step.name) {
        quiet();
        transfer = { name: step.name, line: showTransfer(cli, step.name, step.bytesTotal) };
      }
      return transfer.line.moved(step.bytesDone);
    }
    const text = `${step.name}${step.detail === null ? "" : `: ${harmless(step.detail)}`}`;
    if (waiting?.text === text) return;
    quiet();
    waiting = { text, end: showWaiting(cli, text) };
  };
  try {
    for (;;) {
      const deployment = await deploymentOf(cli, host.id).catch((error: unknown) => {
        if (!(error instanceof CliError) || error.exitCode !== EXIT.failure || Date.now() - heardAt > PATIENCE_MS) throw error;
        return null; // it is restarted, and goes on with the order
      });
      if (deployment !== null) {
        heardAt = Date.now();
        const ended = deployment.steps.filter(({ state }) => state !== "RUNNING");
        if (ended.length < told) told = 0; // taken up anew by another process
        if (ended.length > told) quiet();
        if (shown) for (const step of ended.slice(told)) cli.note(`${step.state === "DONE" ? cli.noteStyle.green("✓") : cli.noteStyle.red("✗")} ${step.name}${step.detail === null ? "" : cli.noteStyle.dim(`  ${harmless(step.detail)}`)}`);
        told = ended.length;
        if (deployment.state !== "DEPLOYING" && deployment.state !== "REMOVING") return deployment;
        under(deployment.steps.find(({ state }) => state === "RUNNING"));
      }
      await delay(LOOK_MS);
    }
  } finally {
    quiet();
  }
}

async function deploymentOf(cli: Cli, id: string): Promise<DeploymentAnswer> {
  const { node } = await cli.api().call<{ node: { deployment: DeploymentAnswer | null } | null }>(`query Deployment($id: ID!) { node(id: $id) { ... on SshHost { deployment { ${DEPLOYMENT_FIELDS} } } } }`, { id });
  if (node?.deployment == null) throw new CliError(EXIT.notFound, "The machine was forgotten meanwhile.");
  return node.deployment;
}
