import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, inject, test } from "vitest";
import { DEFAULT_URL, parseEndpoint, resolveConnection, type ConnectionSources } from "../../src/cli/connection.js";
import { EXIT } from "../../src/cli/exit-codes.js";
import { writeServerNote, writeTokenFile } from "../../src/cli/stack/data-directory.js";

const folder = () => mkdtempSync(join(inject("runFolder"), "connection-"));
const sources = (given: Partial<ConnectionSources> & { workingDirectory: string }): ConnectionSources => ({ flags: {}, config: {}, isRunning: () => true, ...given });

function serverIn(dataDir: string, port: number, pid = 1): void {
  mkdirSync(dataDir, { recursive: true });
  writeServerNote(dataDir, { url: `http://127.0.0.1:${port}/graphql`, wsUrl: `ws://127.0.0.1:${port}/graphql`, pid });
  writeTokenFile(dataDir, "admin", `token-of-${port}`);
}

describe("which server the commands talk to", () => {
  test("a flag goes before the environment, and the environment before the data directory", () => {
    const here = folder();
    serverIn(join(here, ".trainyard"), 7001);
    const config = { TRAINYARD_URL: "http://from-environment" };
    expect(resolveConnection(sources({ workingDirectory: here, flags: { url: "from-flag:80" }, config })).url).toBe("http://from-flag/graphql");
    expect(resolveConnection(sources({ workingDirectory: here, config })).url).toBe("http://from-environment/graphql");
    expect(resolveConnection(sources({ workingDirectory: here }))).toMatchObject({ url: "http://127.0.0.1:7001/graphql", wsUrl: "ws://127.0.0.1:7001/graphql", token: "token-of-7001" });
    expect(resolveConnection(sources({ workingDirectory: folder() }))).toMatchObject({ url: DEFAULT_URL, token: null });
  });

  test("a directory named by a flag goes before one named by the environment, and both before the usual ones", () => {
    const here = folder();
    serverIn(join(here, ".trainyard"), 7001);
    serverIn(join(here, "one"), 7002);
    serverIn(join(here, "two"), 7003);
    expect(resolveConnection(sources({ workingDirectory: here, flags: { dataDir: "two" }, config: { TRAINYARD_DATA_DIR: "one" } })).token).toBe("token-of-7003");
    expect(resolveConnection(sources({ workingDirectory: here, config: { TRAINYARD_DATA_DIR: "one" } })).token).toBe("token-of-7002");
  });

  test("the demo's server is found where no other runs, and from a folder below", () => {
    const here = folder();
    serverIn(join(here, ".trainyard"), 7001, 111);
    serverIn(join(here, ".trainyard", "demo"), 7002, 222);
    const below = join(here, "examples", "tiny-lm");
    mkdirSync(below, { recursive: true });
    expect(resolveConnection(sources({ workingDirectory: below, isRunning: (pid) => pid === 222 })).url).toContain(":7002/");
    expect(resolveConnection(sources({ workingDirectory: below, isRunning: () => true })).url).toContain(":7001/");
  });

  test("the token of a data directory never goes to another server", () => {
    const here = folder();
    serverIn(join(here, ".trainyard"), 7001);
    expect(resolveConnection(sources({ workingDirectory: here, config: { TRAINYARD_URL: "https://elsewhere.example" } })).token).toBeNull();
    expect(resolveConnection(sources({ workingDirectory: here, config: { TRAINYARD_URL: "http://127.0.0.1:7001" } })).token).toBe("token-of-7001");
    expect(resolveConnection(sources({ workingDirectory: here, config: { TRAINYARD_URL: "https://elsewhere.example", TRAINYARD_TOKEN: "mine" } })).token).toBe("mine");
  });

  test("a token file goes before the environment, and one that is not there is refused by name", () => {
    const here = folder();
    writeFileSync(join(here, "token"), "from-file\n");
    expect(resolveConnection(sources({ workingDirectory: here, flags: { tokenFile: "token" }, config: { TRAINYARD_TOKEN: "from-environment" } })).token).toBe("from-file");
    expect(() => resolveConnection(sources({ workingDirectory: here, flags: { tokenFile: "missing" } }))).toThrow(/no token in missing/);
  });

  test.each([
    ["http://host:1/graphql", "http://host:1/graphql"],
    ["http://host:1/graphql/", "http://host:1/graphql"],
    ["http://host:1", "http://host:1/graphql"],
    ["host:1", "http://host:1/graphql"],
    ["wss://host/base/", "https://host/base/graphql"],
    ["http://host/#token=secret", "http://host/graphql"],
  ])("the address %s means %s", (given, meant) => expect(parseEndpoint(given, "--url")).toBe(meant));

  test.each(["ftp://host", "http://", "http://host:99999"])("the address %s is refused as wrong usage", (given) => {
    expect(() => parseEndpoint(given, "TRAINYARD_URL")).toThrow(expect.objectContaining({ exitCode: EXIT.usage, message: expect.stringContaining("TRAINYARD_URL") as string }) as Error);
  });
  test.each(["http://someone:hunter22@host:7070", "https://hunter22@host", "ftp://someone:hunter22@host", "http://someone:hunter22@:bad:"])("an address with a name or password (%s) is refused, and not repeated", (given) => {
    const refused = (() => { try { return parseEndpoint(given, "--url"); } catch (error) { return error as Error; } })();
    expect(refused).toMatchObject({ exitCode: EXIT.usage });
    expect((refused as Error).message).not.toContain("hunter22");
  });
});
