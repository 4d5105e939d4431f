// Secrets by reference: secret://name in a stage's environment becomes a value here, on the host, and nowhere else.

import { readFileSync, statSync } from "node:fs";

const REFERENCE = /^secret:\/\/([A-Za-z0-9][A-Za-z0-9._-]*)$/;

/** What a stage's environment asks for and this host does not have, or cannot give. */
export class SecretError extends Error {
  readonly code = "INVALID_INPUT";
}

/** TRAINYARD_SECRET_<NAME> for secret://name: upper case, everything but letters and digits as '_'. */
export function secretVariable(name: string): string {
  return `TRAINYARD_SECRET_${name.toUpperCase().replace(/[^A-Z0-9]/g, "_")}`;
}

export interface ResolvedEnvironment {
  readonly variables: Readonly<Record<string, string>>;
  /** The values that came from references; they are redacted everywhere. */
  readonly secrets: readonly string[];
}

/** Fills references in. `file` is read each time: a rotated secret reaches the next attempt. Throws SecretError naming the first one that is missing. */
export function resolveSecrets(variables: Readonly<Record<string, string | number | boolean>>, source: { environment: Readonly<Record<string, string | undefined>>; file: string | undefined }): ResolvedEnvironment {
  let fromFile: Record<string, unknown> | null = null;
  const secrets: string[] = [];
  const filled = Object.entries(variables).map(([key, value]): [string, string] => {
    if (typeof value !== "string" || !value.startsWith("secret://")) return [key, String(value)];
    const name = REFERENCE.exec(value)?.[1];
    if (name === undefined) throw new SecretError(`env.${key}: ${JSON.stringify(value)} is no secret reference; write secret://name with letters, digits, '.', '_' or '-'.`);
    fromFile ??= source.file === undefined ? {} : readSecretsFile(source.file);
    const secret = source.environment[secretVariable(name)] ?? (Object.hasOwn(fromFile, name) ? fromFile[name] : undefined);
    if (typeof secret !== "string" || secret === "") {
      throw new SecretError(`env.${key}: this agent has no secret ${JSON.stringify(name)}. Set ${secretVariable(name)} for the agent, or add it to the file that TRAINYARD_AGENT_SECRETS_FILE names.`);
    }
    secrets.push(secret);
    return [key, secret];
  });
  return { variables: Object.fromEntries(filled), secrets };
}

function readSecretsFile(file: string): Record<string, unknown> {
  try {
    if ((statSync(file).mode & 0o077) !== 0) throw new Error("others may read it; set its mode to 0600");
    const content: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (content === null || typeof content !== "object" || Array.isArray(content)) throw new Error("it must hold one JSON object, name → value");
    return content as Record<string, unknown>;
  } catch (error) {
    throw new SecretError(`The secrets file ${file} cannot be used: ${error instanceof SyntaxError ? "it is not valid JSON" : (error as Error).message}.`);
  }
}
