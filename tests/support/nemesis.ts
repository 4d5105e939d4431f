// The nemesis: makes a process die at a named point while work is under way, brings it back, waits for the end and has everything judged.

import { expect } from "vitest";
import { check, type CheckOptions } from "./checker.js";
import { gatherEvidence } from "./checker-evidence.js";
import { EXPECTED, submitMix, submitTelemetry } from "./processes-world-load.js";
import type { ProcessesWorld, Running } from "./processes-world.js";

/** `TRAINYARD_CHAOS=full`: every failpoint at its first, second and fifth hit. Otherwise each at its first and some later. */
export const FULL_MATRIX = process.env["TRAINYARD_CHAOS"] === "full";

/** The server and the agent that live at present; replaced as they die. */
export interface Cast { server: Running; agent: Running }

export interface Round {
  readonly victim: "server" | "agent";
  /** "name:n", as TRAINYARD_FAILPOINT takes it. */
  readonly failpoint: string;
  /** More work, beside the mix. */
  readonly extra?: (world: ProcessesWorld) => Promise<unknown>;
  /** The agent is killed and started again too: it opens a session with whoever is to die. */
  readonly renewsSession?: boolean;
}

/** One death at a failpoint, from steady state to steady state. */
export async function dieAt(world: ProcessesWorld, cast: Cast, { victim, failpoint, extra, renewsSession = false }: Round): Promise<void> {
  const start = (armed: string | undefined): Running => (victim === "server" ? world.startServer(armed === undefined ? {} : { failpoint: armed }) : world.startAgent(armed === undefined ? {} : { failpoint: armed }));
  await submitTelemetry(world); // what runs when the armed process takes over
  await world.kill(cast[victim]);
  const doomed = start(failpoint);
  if (renewsSession) {
    await world.kill(cast.agent);
    cast.agent = world.startAgent();
  }
  const work = Promise.all([submitMix(world), extra?.(world)]);
  work.catch(() => undefined); // told when it is awaited
  const flush = world.redis === null ? null : flushAtSomeEvent(world, world.chance.of(`FLUSHALL, ${failpoint}`).below(EVENTS_OF_A_MIX));
  const how = await Promise.race([doomed.ended, new Promise<string>((resolve) => setTimeout(resolve, 25_000, "alive"))]);
  const { orphans } = await gatherEvidence(world);
  cast[victim] = how === "alive" ? doomed : start(undefined);
  expect(how, `the ${victim} was to die at ${failpoint}\n${world.logTail(victim)}`).toBe("SIGKILL");
  expect(orphans).toEqual([]); // invariant 10, at the worst moment
  await Promise.all([work, flush]);
  await world.settled();
  await judged(world);
}

/** Events that a round's work brings, about. */
const EVENTS_OF_A_MIX = 90;

/** Invariant 19: Redis loses everything in the middle of the work, at the n-th event from now. When the work has fewer, or a process lies dead for long, it is done nevertheless. */
export async function flushAtSomeEvent(world: ProcessesWorld, n: number): Promise<void> {
  const position = async (): Promise<number> => (await world.db.query<{ position: number }>("select position::int from event_counter")).rows[0]!.position;
  const at = (await position()) + n;
  await world.until(`event ${at}`, async () => (await position()) >= at, 3_000).catch(() => undefined);
  world.note(`event ${at} (${n} after the beginning) is the moment to flush Redis`);
  await world.flushRedis();
}

/** Waits until the agents' last reports and the subscriber's last event are in, then judges everything so far. */
export async function judged(world: ProcessesWorld, options: CheckOptions = {}): Promise<void> {
  let found: string[] = [];
  await world.until("nothing is found", async () => {
    found = check(await gatherEvidence(world), { expected: EXPECTED, ...options });
    return found.every((one) => !MAY_LAG.test(one));
  }, 10_000).catch(() => undefined);
  expect(found, [...world.timeline, ...[...world.agents, "server"].map((name) => world.logTail(name))].join("\n")).toEqual([]);
  await world.dismissFollowers();
}

/** Acknowledgement of the very last reports, and the subscribers' reading, may come a moment after the last pipeline ended. */
const MAY_LAG = /^(6: agent .* journalled|14:|15: a reader of .* was not yet told)/;
