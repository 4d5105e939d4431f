// How many rows of each input go into the files: caps, and a mixture by weight. Pure. Which rows they are, `selection.ts` says.
//   Q1. Nothing is repeated: no quota is larger than what is there.
//   Q2. With weights the shares are exact up to rounding: the input that is scarcest for its weight bounds the whole.

/** Rows of one entry of `params.input`, be it one file or many. */
export interface InputGroup {
  /** Rows that passed the quality checks. */
  readonly available: number;
  readonly maxRows?: number | undefined;
  /** All groups carry one, or none does. */
  readonly weight?: number | undefined;
}

export interface Quotas {
  readonly perGroup: readonly number[];
  /** All groups together; less than the sum of the quotas when `maxRows` caps inputs without weights. */
  readonly total: number;
}

export function quotasOf(groups: readonly InputGroup[], maxRows: number | undefined): Quotas {
  const capped = groups.map((group) => Math.min(group.available, group.maxRows ?? Infinity));
  const perGroup = groups.some((group) => group.weight !== undefined) ? mixture(capped, groups.map((group) => group.weight ?? 1), maxRows) : capped;
  return { perGroup, total: Math.min(sum(perGroup), maxRows ?? Infinity) };
}

function mixture(available: readonly number[], weights: readonly number[], maxRows: number | undefined): number[] {
  const perWeight = Math.min(...available.map((rows, group) => rows / weights[group]!));
  // A little more than the product, because c / w * w may end just below c.
  const full = weights.map((weight, group) => Math.min(available[group]!, Math.floor(perWeight * weight + 1e-6)));
  return maxRows === undefined || sum(full) <= maxRows ? full : apportioned(full, weights, maxRows);
}

/** Largest remainders: shares of `total` by weight, rounded so that they add up. */
function apportioned(limits: readonly number[], weights: readonly number[], total: number): number[] {
  const whole = sum(weights);
  const ideal = weights.map((weight) => (total * weight) / whole);
  const rounded = ideal.map((share, group) => Math.min(limits[group]!, Math.floor(share + 1e-6)));
  const byRemainder = ideal.map((share, group) => ({ group, remainder: share - rounded[group]! })).sort((a, b) => b.remainder - a.remainder || a.group - b.group);
  let left = total - sum(rounded);
  for (const { group } of byRemainder) {
    if (left <= 0) break;
    if (rounded[group]! >= limits[group]!) continue;
    rounded[group]! += 1;
    left -= 1;
  }
  return rounded;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
