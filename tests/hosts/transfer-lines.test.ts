// How many connections for files there are: real sshd, real threads.
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { openTransferLines } from "../../src/hosts/transfer-lines.js";
import { sshdIsHere } from "../support/sshd.js";
import { startFilesWorld } from "./files-world.js";

describe.skipIf(!sshdIsHere)("connections for files", () => {
  const endings: (() => unknown)[] = [];
  afterEach(async () => { for (const end of endings.splice(0).reverse()) await end(); });

  test("are two for each host, one where the process has many already; they are used again", { timeout: 60_000 }, async () => {
    const world = await startFilesWorld((end) => endings.push(end));
    const access = world.sshd.access();
    const made: string[] = [];
    const links = Array.from({ length: 10 }, (_, n) => openTransferLines({ name: `gpu${n}`, connect: (by) => { made.push(`gpu${n}`); return by(access); } }));
    for (const lines of links) endings.push(() => lines.close());
    for (const lines of links) {
      const channels = await lines.take(4);
      expect(channels).toHaveLength(4);
      await lines.giveBack(channels, true);
    }
    expect(made).toEqual([..."01234567"].flatMap((n) => [`gpu${n}`, `gpu${n}`]).concat("gpu8", "gpu9"));
    const [channel, ...others] = await links[9]!.take(4);
    const handle = await channel!.open(join(world.sshd.folder, "sshd_config"), "r");
    expect((await channel!.read({ handle, offset: 0, length: 10 })).length).toBe(10);
    await links[9]!.giveBack([channel!, ...others], false);
    links[0]!.close();
    const again = await links[9]!.take(1); // on the connection that is there
    await links[9]!.giveBack(again, true);
    expect(made).toHaveLength(18);
  });
});
