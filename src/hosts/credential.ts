// From a credential to what ssh2 is given. A key that cannot be used is found out here, with the reason, before anything is connected.

import { readFileSync, statSync } from "node:fs";
import ssh2, { type AnyAuthMethod } from "ssh2";
import type { HostAccess } from "./host-access.js";
import { SshError } from "./ssh-error.js";

/** The one method of authentication to try; there is no falling back from a key to a password. Throws SshError. */
export function authMethods(access: HostAccess): AnyAuthMethod[] {
  const { credential, username, name } = access;
  switch (credential.kind) {
    case "password":
      return [
        { type: "password", username, password: credential.password },
        { type: "keyboard-interactive", username, prompt: (_name, _instructions, _language, prompts, finish) => finish(prompts.map((prompt) => (prompt.echo ? "" : credential.password))) },
      ];
    case "agent": {
      if (statSync(credential.socket, { throwIfNoEntry: false })?.isSocket() !== true) {
        throw new SshError("SSH_AGENT_UNUSABLE", name, `there is no ssh-agent at ${credential.socket}. Start one, add the key (ssh-add) and set SSH_AUTH_SOCK for this process; or add the host with a key.`);
      }
      return [{ type: "agent", username, agent: credential.socket }];
    }
    case "key":
      return [{ type: "publickey", username, key: usableKey(name, credential.privateKey, credential.passphrase, "the private key"), ...withPassphrase(credential.passphrase) }];
    case "key-file": {
      let text: string;
      try {
        text = readFileSync(credential.path, "utf8");
      } catch (error) {
        throw new SshError("SSH_KEY_UNUSABLE", name, `the key file ${credential.path} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message}). Check the path and that this process may read it.`, { cause: error });
      }
      return [{ type: "publickey", username, key: usableKey(name, text, credential.passphrase, `the key in ${credential.path}`), ...withPassphrase(credential.passphrase) }];
    }
  }
}

function withPassphrase(passphrase: string | null): { passphrase?: string } {
  return passphrase === null ? {} : { passphrase };
}

const KEY_TYPES = /^(ssh-ed25519|ecdsa-sha2-|ssh-rsa)/;

/** The key's text, checked. Throws SshError; no part of the key is in it. */
function usableKey(name: string, text: string, passphrase: string | null, what: string): string {
  const parsed = ssh2.utils.parseKey(text, passphrase ?? undefined);
  if (parsed instanceof Error) {
    if (/no passphrase/i.test(parsed.message)) throw new SshError("SSH_KEY_UNUSABLE", name, `${what} is protected by a passphrase and none was given. Give it together with the key.`);
    if (/passphrase|integrity|bad decrypt/i.test(parsed.message)) throw new SshError("SSH_KEY_UNUSABLE", name, `the passphrase does not open ${what}. Give the right one.`);
    throw new SshError("SSH_KEY_UNUSABLE", name, `${what} is no private key that can be read. Give an ed25519, ECDSA or RSA key in PEM or OpenSSH form (not PuTTY's).`);
  }
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key === undefined || !key.isPrivateKey()) throw new SshError("SSH_KEY_UNUSABLE", name, `${what} is a public key. Give the private one, the file without .pub.`);
  if (!KEY_TYPES.test(key.type)) throw new SshError("SSH_KEY_UNUSABLE", name, `${what} is of the type ${key.type}, which is no longer safe. Make another with ssh-keygen -t ed25519.`);
  return text;
}
