// The tokens of a server started here: one for its user, one for its agent, kept in files that only the user can read.
//   T1. The file comes first, then the database learns it: whoever is killed in between leaves a file that the next start makes known.
import { mintToken } from "../../access/token-text.js";
import { adoptToken } from "../../access/tokens.js";
import { openDatabase } from "../../db/database.js";
import { readTokenFile, tokenFile, writeTokenFile } from "./data-directory.js";
import { CliError, EXIT } from "../exit-codes.js";

/** Makes both tokens known to the database. Returns the user's. Throws CliError where a kept token was revoked. */
export async function ensureTokens(databaseUrl: string, dataDir: string): Promise<{ admin: string; agent: string }> {
  const opened = openDatabase({ url: databaseUrl, size: 1, log: { warn: () => undefined } });
  try {
    const ensure = async (name: "admin" | "agent") => {
      const kept = readTokenFile(dataDir, name);
      const secret = kept ?? mintToken(name);
      if (kept === null) writeTokenFile(dataDir, name, secret); // T1
      try {
        await adoptToken(opened.db, { name: name === "admin" ? "admin" : "local agent", role: name, agentName: null, expiresInDays: null, by: "trainyard up" }, secret);
      } catch (error) {
        throw new CliError(EXIT.failure, `The token in ${tokenFile(dataDir, name)} cannot be used: ${(error as Error).message}`, { cause: error });
      }
      return secret;
    };
    return { admin: await ensure("admin"), agent: await ensure("agent") };
  } finally {
    await opened.close();
  }
}
