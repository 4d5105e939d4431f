// What a trainer's process has around it.

import type { KnownRelease } from "../verl/releases.js";
import type { MeetingPlace } from "./rank-group.js";
import type { Scenario } from "./scenario.js";

export interface TrainerHost {
  readonly release: KnownRelease;
  readonly scenario: Scenario;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** One line on standard output. */
  readonly print: (line: string) => void;
  /** Text on standard error, with or without a line end. */
  readonly progress: (text: string) => void;
  /** A file, its folder made if need be. */
  readonly write: (path: string, content: string | Uint8Array) => void;
  /** Words that start this program again, as the same interpreter. */
  readonly self: readonly string[];
}

/** One rank of several. */
export interface RankHost extends TrainerHost {
  readonly rank: number;
  readonly worldSize: number;
  readonly place: MeetingPlace;
}
