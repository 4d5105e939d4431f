import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { bearerToken, createAuthenticator } from "../../src/access/authenticator.js";
import { includesRole, ROLES } from "../../src/access/roles.js";
import { hashToken, isTokenText, mintToken } from "../../src/access/token-text.js";
import { adoptToken, createToken, listTokens, revokeToken } from "../../src/access/tokens.js";
import { openDatabase, type OpenedDatabase } from "../../src/db/database.js";
import { createTestDatabase, type TestDatabase } from "../support/postgres.js";
import { silent } from "../support/world.js";

let database: TestDatabase;
let opened: OpenedDatabase;
beforeAll(async () => { database = await createTestDatabase(); opened = openDatabase({ url: database.url, size: 4, log: silent }); });
afterAll(async () => { await opened.close(); await database.drop(); });

const input = { name: "someone", role: "viewer", agentName: null, expiresInDays: null, by: "test" } as const;

describe("the text of a token", () => {
  test("shows its role, has 32 bytes of chance, and no two are alike", () => {
    const texts = ROLES.flatMap((role) => Array.from({ length: 100 }, () => mintToken(role)));
    expect(new Set(texts).size).toBe(texts.length);
    for (const text of texts) expect(isTokenText(text), text).toBe(true);
    expect(ROLES.map((role) => mintToken(role).slice(0, 5))).toEqual(["ty_v_", "ty_o_", "ty_a_", "ty_g_"]);
  });

  test("a change of any one character is seen by its checksum", () => {
    fc.assert(fc.property(fc.integer({ min: 5, max: 53 }), fc.constantFrom(..."0aZ9x"), (at, letter) => {
      const text = mintToken("admin");
      fc.pre(text[at] !== letter);
      expect(isTokenText(text.slice(0, at) + letter + text.slice(at + 1))).toBe(false);
    }));
    for (const text of ["", "ty_a_", mintToken("admin").slice(0, -1), `${mintToken("admin")}x`, ` ${mintToken("admin")}`]) expect(isTokenText(text)).toBe(false);
  });

  test("a bearer header is taken apart, and nothing else is", () => {
    expect(bearerToken("Bearer abc")).toBe("abc");
    expect(bearerToken("bearer   abc ")).toBe("abc");
    for (const text of [undefined, "", "abc", "Basic abc", "Bearer", "Bearer a b"]) expect(bearerToken(text)).toBeNull();
  });

  test("viewer, operator and admin include each other in this order; an agent includes and is included by none", () => {
    expect(ROLES.map((role) => (["viewer", "operator", "admin"] as const).map((needed) => includesRole(role, needed)))).toEqual([[true, false, false], [true, true, false], [true, true, true], [false, false, false]]);
  });
});

describe("tokens in the store", () => {
  const authenticator = () => createAuthenticator({ db: opened.db, log: silent });

  test("only the hash is stored, and the text opens what it was made for", async () => {
    const { token, secret } = await createToken(opened.db, { ...input, role: "agent", agentName: "box-1" });
    const [row] = await opened.db.selectFrom("tokens").selectAll().where("id", "=", token.id).execute();
    expect(row!.hash).toBe(hashToken(secret));
    expect(JSON.stringify(row)).not.toContain(secret);
    expect(await authenticator().authenticate(secret)).toEqual({ tokenId: token.id, name: "someone", role: "agent", agentName: "box-1", expiresAt: null });
    expect(JSON.stringify(await listTokens(opened.db))).not.toMatch(/hash/);
  });

  test("unknown, cut, revoked and expired tokens open nothing", async () => {
    const { token, secret } = await createToken(opened.db, input);
    const { secret: expired } = await createToken(opened.db, { ...input, expiresInDays: 1e-9 });
    expect(await authenticator().authenticate(mintToken("admin"))).toBeNull();
    expect(await authenticator().authenticate(secret.slice(0, -1))).toBeNull();
    expect(await authenticator().authenticate(expired)).toBeNull();
    const first = await revokeToken(opened.db, token.id);
    expect((await revokeToken(opened.db, token.id)).revoked_at).toEqual(first.revoked_at); // again changes nothing
    expect(await authenticator().authenticate(secret)).toBeNull();
    await expect(revokeToken(opened.db, "tok_00000000000000000000000000")).rejects.toMatchObject({ kind: "NOT_FOUND" });
    await expect(revokeToken(opened.db, "x")).rejects.toMatchObject({ kind: "NOT_FOUND" });
  });

  test("the time of last use is noted, at most once a minute", async () => {
    const { token, secret } = await createToken(opened.db, input);
    const one = authenticator();
    const used = async () => (await opened.db.selectFrom("tokens").select("last_used_at").where("id", "=", token.id).executeTakeFirstOrThrow()).last_used_at;
    await one.authenticate(secret);
    await expect.poll(used).not.toBeNull();
    await opened.db.updateTable("tokens").set({ last_used_at: null }).where("id", "=", token.id).execute();
    for (let i = 0; i < 10; i++) await one.authenticate(secret);
    expect(await used()).toBeNull();
  });

  test("what cannot be meant is refused with the place that is wrong", async () => {
    for (const [wrong, path] of [[{ name: " " }, "name"], [{ name: "x".repeat(201) }, "name"], [{ agentName: "a" }, "agentName"], [{ expiresInDays: 0 }, "expiresInDays"], [{ expiresInDays: Number.NaN }, "expiresInDays"], [{ expiresInDays: 1e9 }, "expiresInDays"]] as const) {
      await expect(createToken(opened.db, { ...input, ...wrong })).rejects.toMatchObject({ kind: "INVALID_INPUT", problems: [{ path }] });
    }
  });

  test("a token kept in a file is adopted once, again without effect, and never when revoked", async () => {
    const secret = mintToken("admin");
    const first = await adoptToken(opened.db, { ...input, role: "admin" }, secret);
    expect((await adoptToken(opened.db, { ...input, role: "admin" }, secret)).id).toBe(first.id);
    expect((await authenticator().authenticate(secret))?.role).toBe("admin");
    await revokeToken(opened.db, first.id);
    await expect(adoptToken(opened.db, input, secret)).rejects.toMatchObject({ code: "TOKEN_REVOKED" });
    await expect(adoptToken(opened.db, input, "nonsense")).rejects.toMatchObject({ kind: "INVALID_INPUT" });
  });
});

describe("what a token holds open", () => {
  const authenticators: { stop(): void }[] = [];
  afterEach(() => authenticators.splice(0).forEach((each) => each.stop()));
  const start = () => {
    const authenticator = createAuthenticator({ db: opened.db, log: silent });
    authenticators.push(authenticator);
    return authenticator;
  };

  test("ends within a second of the revocation, whoever revoked, once, and only that token's", async () => {
    const authenticator = start();
    const made = await Promise.all([createToken(opened.db, input), createToken(opened.db, input)]);
    const [leaver, stays] = await Promise.all(made.map(async ({ secret }) => (await authenticator.authenticate(secret))!));
    const ended: string[] = [];
    authenticator.onEnd(leaver!, () => ended.push("leaver"));
    authenticator.onEnd(stays!, () => ended.push("stays"));
    const begun = performance.now();
    await revokeToken(opened.db, leaver!.tokenId);
    await expect.poll(() => ended, { interval: 10, timeout: 1_500 }).toEqual(["leaver"]);
    expect(performance.now() - begun).toBeLessThan(1_000);
    expect(authenticator.watched).toBe(1);
  });

  test("what is released is not told, and nothing is watched any more", async () => {
    const authenticator = start();
    const { secret } = await createToken(opened.db, input);
    const principal = (await authenticator.authenticate(secret))!;
    let ended = 0;
    const releases = [authenticator.onEnd(principal, () => ended++), authenticator.onEnd(principal, () => ended++)];
    releases.forEach((release) => release());
    releases.forEach((release) => release());
    expect(authenticator.watched).toBe(0);
    await revokeToken(opened.db, principal.tokenId);
    authenticator.checkNow();
    expect(ended).toBe(0);
  });
});
