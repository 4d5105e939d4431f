import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { configuredHost } from "../../src/hosts/ssh-config.js";

let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "ty-home-"));
  mkdirSync(join(home, ".ssh", "conf.d"), { recursive: true });
});
afterEach(() => rmSync(home, { recursive: true, force: true }));
const write = (text: string, file = "config") => writeFileSync(join(home, ".ssh", file), text);

describe("names of ~/.ssh/config", () => {
  test("a name gives address, port, user, key and jump host; the first value found wins, as ssh does it", () => {
    write(`
# machines
Host gpu1 gpu1.lan
  HostName = 10.0.0.7
  Port 2200
  User ml
  IdentityFile "~/.ssh/id of gpu"
  ProxyJump bastion
Host gpu1
  Port 22
Host *
  User nobody
  IdentityFile ~/.ssh/id_ed25519
`);
    expect(configuredHost("gpu1", home)).toEqual({ hostName: "10.0.0.7", port: 2200, user: "ml", identityFile: join(home, ".ssh/id of gpu"), proxyJump: "bastion" });
  });

  test("patterns fill in what a named block leaves open; a name that only patterns for all match is unknown", () => {
    write("Host lab-* !lab-9\n  User lab\n  HostName %h.example.org\nHost *\n  Port 2222\n");
    expect(configuredHost("lab-3", home)).toEqual({ hostName: "lab-3.example.org", port: 2222, user: "lab", identityFile: null, proxyJump: null });
    expect(configuredHost("lab-9", home)).toBeNull();
    expect(configuredHost("other", home)).toBeNull();
  });

  test("Include is followed, also with patterns, and one that includes itself ends", () => {
    write("Include conf.d/*.conf\nInclude config\nHost late\n HostName late.example\n");
    write("Host early\n  HostName 10.1.1.1\n  ProxyJump none\n", "conf.d/a.conf");
    expect(configuredHost("early", home)).toMatchObject({ hostName: "10.1.1.1", proxyJump: null });
    expect(configuredHost("late", home)).toMatchObject({ hostName: "late.example" });
  });

  test("Match blocks other than `Match all` apply to nobody, and without a file nothing is known", () => {
    expect(configuredHost("x", home)).toBeNull();
    write("Host x\n  Port 7\nMatch exec \"touch /tmp/never\"\n  User evil\nMatch all\n  User good\n");
    expect(configuredHost("x", home)).toMatchObject({ port: 7, user: "good" });
  });
});
