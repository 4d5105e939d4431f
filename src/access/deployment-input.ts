// What an admin may ask of a deployed agent, judged before anything happens.

import { agentConfigSchema } from "../config.js";
import { InvalidInputError, type Problem } from "../domain/errors.js";
import { parseLabels, parsePools } from "../protocol/declaration.js";
import { dividedVariables } from "./host-settings.js";

/** Null: as it was for the agent that runs there, if there is one. */
export interface DeploymentInput {
  /** How the host reaches the control plane; null: as it says of itself. */
  readonly url: string | null;
  /** As TRAINYARD_AGENT_POOLS and TRAINYARD_AGENT_LABELS; null: the default. */
  readonly pools: string | null;
  readonly labels: string | null;
  /** Interpreter that has verl; null: that of the host's Python environment, or python3. */
  readonly python: string | null;
  /** PEM of the authority that signed the control plane's certificate; null: those that Node knows. */
  readonly caCertificate: string | null;
  /** Always the control plane's own Node; null: no. */
  readonly sendNode: boolean | null;
}

/** What is left open, as it was for the agent that runs there. */
export function asBefore(input: DeploymentInput, before: DeploymentInput | null): DeploymentInput {
  if (before === null) return input;
  const given = Object.fromEntries(Object.entries(input).filter(([, value]) => value !== null));
  return { ...before, ...given };
}

const NEVER_PASSED = /^(LD_|DYLD_|PYTHON|NODE_OPTIONS$|BASH_|ENV$|IFS$)/;

/** Throws InvalidInputError with everything that is wrong. */
export function refuseUnusableDeployment(input: DeploymentInput, host: { readonly name: string; readonly host: string; readonly command_prefix: readonly string[] }): void {
  const problems: Problem[] = [];
  const wrong = (path: string, message: string, hint: string | null = null): void => void problems.push({ path, severity: "ERROR", code: "INVALID_FIELD", message, hint });
  const tried = (path: string, parse: () => unknown): void => {
    try {
      parse();
    } catch (error) {
      wrong(path, (error as Error).message);
    }
  };
  const hint = `trainyard host deploy ${host.name} --agent-url https://…`;
  let url: URL | null = null;
  try {
    url = input.url === null ? null : new URL(input.url);
  } catch {
    wrong("url", `${JSON.stringify(input.url)} is no address.`, hint);
  }
  if (url !== null && (!/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "" || url.hash !== "")) wrong("url", "the control plane's address begins with http:// or https:// and has no user, query or fragment.", hint);
  else if (url !== null && isEverywhere(url.hostname)) wrong("url", `${url.hostname} is no address of anybody: it only says that the control plane listens everywhere.`, hint);
  else if (url !== null && isLoopback(url.hostname) && !isLoopback(host.host)) wrong("url", `${input.url} is this machine itself; ${host.name} would look for the control plane on its own.`, hint);
  if (input.pools !== null) tried("pools", () => parsePools(input.pools!));
  if (input.labels !== null) tried("labels", () => parseLabels(input.labels!));
  if (input.python !== null && (input.python === "" || input.python.length > 1_000 || /[\0\n]/.test(input.python))) wrong("python", "an interpreter is a path on the host, or a name on its PATH.");
  if (input.caCertificate !== null && (input.caCertificate.length > 100_000 || !input.caCertificate.includes("-----BEGIN CERTIFICATE-----"))) wrong("caCertificate", "it must be the PEM text of a certificate.");
  if (host.command_prefix.length > 0) wrong("hostId", `${host.name} was added with words that stand before each program (${host.command_prefix.join(" ")}); an agent there would not know them.`, "Let it be served over SSH, or add it again without --prefix and let stages name them.");
  if (problems.length > 0) throw new InvalidInputError(`${host.name}: ${problems[0]!.message}`, problems);
}

/** The agent's configuration, and what the operator should know of it. `given`: the variables of the host. */
export function agentConfiguration(input: DeploymentInput, host: { readonly python_environment: string | null }, given: Readonly<Record<string, string>>): { readonly configuration: Readonly<Record<string, string>>; readonly notes: readonly string[] } {
  const inherited = agentConfigSchema.shape.TRAINYARD_AGENT_ENV.parse(undefined);
  const { settings, variables } = dividedVariables(given);
  const names = Object.keys(variables);
  const lost = names.filter((name) => NEVER_PASSED.test(name));
  return {
    configuration: {
      ...variables, ...settings,
      TRAINYARD_AGENT_ENV: [...new Set([...inherited, ...names])].join(","),
      TRAINYARD_AGENT_PYTHON: input.python ?? (host.python_environment === null ? "python3" : `${host.python_environment}/bin/python3`),
      ...(input.pools === null ? {} : { TRAINYARD_AGENT_POOLS: input.pools }),
      ...(input.labels === null ? {} : { TRAINYARD_AGENT_LABELS: input.labels }),
    },
    notes: lost.length === 0 ? [] : [`An agent does not pass ${lost.join(", ")} on to programs: put ${lost.length === 1 ? "it" : "them"} into the env of stages.`],
  };
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

function isEverywhere(host: string): boolean {
  return host === "0.0.0.0" || host === "[::]" || host === "::";
}
