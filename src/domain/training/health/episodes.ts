// Hysteresis: an anomaly is told once from its beginning to its end, again only when it gets worse. Levels are reached by standing beyond them for a while, and it ends
// by standing well for a while.

import { rankOf } from "./anomaly.js";
import type { Episode } from "./health-state.js";
import type { LevelStanding, Standing } from "./rules.js";

export function newEpisode(levels: number): Episode {
  return { runs: Array.from({ length: levels }, () => 0), told: 0, good: 0 };
}

/** Takes one standing in. Returns the level that is to be told now, or null. */
export function advanceEpisode(episode: Episode, standing: Standing): LevelStanding | null {
  let reached: LevelStanding | null = null;
  standing.levels.forEach((level, index) => {
    episode.runs[index] = level.beyond ? Math.min(level.hold, episode.runs[index]! + 1) : 0;
    if (episode.runs[index]! >= level.hold) reached = worse(reached, level);
  });
  if (episode.told > 0) {
    if (standing.well !== null) episode.good = standing.well ? episode.good + 1 : 0;
    if (episode.good >= standing.recovery) Object.assign(episode, newEpisode(standing.levels.length));
  }
  return raise(episode, reached);
}

function worse(a: LevelStanding | null, b: LevelStanding): LevelStanding {
  return a === null || rankOf(b.severity) > rankOf(a.severity) ? b : a;
}

function raise(episode: Episode, reached: LevelStanding | null): LevelStanding | null {
  if (reached === null || rankOf(reached.severity) <= episode.told) return null;
  episode.told = rankOf(reached.severity);
  episode.good = 0;
  return reached;
}
