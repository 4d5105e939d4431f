// Roll-ups of a metric: what 500 steps come to. Pure; the database merges and stores what is computed here.
//   K1. A roll-up names real points only (value, step and time of one report), so that a chart drawn from roll-ups shows values that were measured.
//   K2. NaN and infinities are no extremes; they are counted and the newest is kept.

/** Steps per block; `metric_blocks.block` is floor(step / this). */
export const BLOCK_STEPS = 500;

/** One value of a series. `at`: milliseconds since 1970. */
export interface Point {
  readonly step: number;
  readonly at: number;
  /** May be NaN or infinite. */
  readonly value: number;
}

export interface Block {
  readonly block: number;
  readonly points: number;
  readonly nonFinite: number;
  readonly firstStep: number;
  readonly min: Point | null;
  readonly max: Point | null;
  readonly last: Point;
  /** The newest that is not finite. */
  readonly lastNonFinite: Point | null;
}

/** The block that a step falls in. */
export function blockOf(step: number): number {
  return Math.floor(step / BLOCK_STEPS);
}

/** Rolls points up. They must be in rising order of step, each step once. */
export function rollUp(points: Iterable<Point>): Block[] {
  const blocks: Block[] = [];
  let open: { -readonly [K in keyof Block]: Block[K] } | null = null;
  for (const point of points) {
    const block = blockOf(point.step);
    if (open === null || open.block !== block) {
      open = { block, points: 0, nonFinite: 0, firstStep: point.step, min: null, max: null, last: point, lastNonFinite: null };
      blocks.push(open);
    }
    open.points++;
    open.last = point;
    if (!Number.isFinite(point.value)) {
      open.nonFinite++;
      open.lastNonFinite = point;
      continue;
    }
    if (open.min === null || point.value < open.min.value) open.min = point;
    if (open.max === null || point.value > open.max.value) open.max = point;
  }
  return blocks;
}

/** The points that stand for a block in a chart, in rising order of step, each once. */
export function pointsOf(block: Pick<Block, "min" | "max" | "last" | "lastNonFinite">): Point[] {
  const points: Point[] = [];
  for (const point of [block.min, block.max, block.lastNonFinite, block.last]) {
    if (point !== null && !points.some(({ step }) => step === point.step)) points.push(point);
  }
  return points.sort((a, b) => a.step - b.step);
}
