// Every failpoint of the product as a test: the process dies there, comes back, and the checker finds nothing. One world per link; the surviving process lives through
// all of it, so each test begins where the last one ended.

import { afterAll, beforeAll, describe, test } from "vitest";
import { FULL_MATRIX, dieAt, type Cast, type Round } from "../support/nemesis.js";
import { askInVain, submitDeadlines } from "../support/processes-world-load.js";
import { startProcessesWorld, type Link, type ProcessesWorld } from "../support/processes-world.js";

interface Point extends Omit<Round, "failpoint"> {
  readonly name: string;
  readonly links: readonly Link[];
  /** Hits at which it dies: all that this load reaches; in the usual run only the first and those in `also`. */
  readonly hits: readonly number[];
  readonly also?: Partial<Record<Link, readonly number[]>>;
}

const BOTH: readonly Link[] = ["https", "streams"];

export const POINTS: readonly Point[] = [
  { victim: "server", name: "before-commit", links: BOTH, hits: [1, 2, 5], also: { https: [5], streams: [2] } },
  { victim: "server", name: "mid-batch", links: BOTH, hits: [1, 2, 5], also: { streams: [5] } },
  { victim: "server", name: "after-commit-before-publish", links: BOTH, hits: [1, 2, 5], also: { https: [2], streams: [5] } },
  { victim: "server", name: "after-publish", links: ["streams"], hits: [1, 2, 5], also: { streams: [2] } },
  { victim: "server", name: "before-orders-reply", links: ["https"], hits: [1, 2, 5], also: { https: [2] } },
  { victim: "server", name: "after-session-before-reply", links: BOTH, hits: [1], renewsSession: true },
  { victim: "server", name: "after-inbox-commit-before-ack", links: BOTH, hits: [1, 2, 5], also: { https: [5], streams: [5] } },
  { victim: "server", name: "after-ack-before-watermark", links: ["streams"], hits: [1, 2, 5] },
  { victim: "server", name: "mid-sweep", links: BOTH, hits: [1, 2, 5], also: { https: [2] }, extra: submitDeadlines },
  { victim: "server", name: "during-start-up-recovery", links: BOTH, hits: [1] },
  { victim: "server", name: "during-subscription-page", links: BOTH, hits: [1, 2, 5], also: { https: [5] } },
  { victim: "server", name: "during-audit-insert", links: BOTH, hits: [1, 2, 5], also: { streams: [5] }, extra: askInVain },
  { victim: "agent", name: "after-journal-accept", links: BOTH, hits: [1, 2, 5], also: { https: [2] } },
  { victim: "agent", name: "before-spawn", links: BOTH, hits: [1, 2, 5], also: { streams: [2] } },
  { victim: "agent", name: "after-spawn-before-journal", links: BOTH, hits: [1, 2, 5], also: { https: [5] } },
  { victim: "agent", name: "after-exit-before-report", links: BOTH, hits: [1, 2, 5], also: { streams: [5] } },
  { victim: "agent", name: "after-report-before-ack", links: BOTH, hits: [1, 2, 5], also: { https: [5], streams: [5] } },
];

export function failpointSuite(link: Link): void {
  describe(`over ${link}`, () => {
    let world: ProcessesWorld;
    let cast: Cast;
    beforeAll(async () => {
      world = await startProcessesWorld({ link });
      cast = { server: world.startServer(), agent: world.startAgent() };
      await world.ready(cast.server);
    });
    afterAll(() => world.stop());

    for (const { name, links, hits, also, ...round } of POINTS.filter((point) => point.links.includes(link))) {
      for (const hit of hits.filter((one) => FULL_MATRIX || one === 1 || also?.[link]?.includes(one))) {
        test(`the ${round.victim} dies ${name.replaceAll("-", " ")}, hit ${hit}, and nothing is lost, doubled or left behind`, { timeout: 90_000 }, async () => {
          await dieAt(world, cast, { ...round, failpoint: `${name}:${hit}` });
        });
      }
    }
  });
}
