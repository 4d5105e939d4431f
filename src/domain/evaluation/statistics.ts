// How sure a score is: its mean over rows with an interval. Pure and repeatable: chance comes from a fixed seed.

export interface Confidence {
  readonly low: number;
  readonly high: number;
  readonly level: 0.95;
  /** wilson: every row is right or wrong. bootstrap: rows are in between; percentiles of means of rows drawn again. */
  readonly method: "wilson" | "bootstrap";
}

/** The 97.5 % point of the normal distribution. */
const Z = 1.959963984540054;
const MOST_DRAWS = 20_000_000;

/** Null without values. */
export function meanOf(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  let total = 0;
  let lost = 0; // Kahan
  for (const value of values) {
    const next = value - lost;
    const sum = total + next;
    lost = sum - total - next;
    total = sum;
  }
  return total / values.length;
}

/** Of the mean of independent values, one per row. Null without values. */
export function confidenceOf(values: readonly number[]): Confidence | null {
  if (values.length === 0) return null;
  return values.every((value) => value === 0 || value === 1) ? wilson(values.filter((value) => value === 1).length, values.length) : bootstrap(values);
}

/** Wilson's score interval of a share. `right` of `n`, n above 0. */
export function wilson(right: number, n: number): Confidence {
  const share = right / n;
  const square = Z * Z;
  const centre = (share + square / (2 * n)) / (1 + square / n);
  const half = (Z / (1 + square / n)) * Math.sqrt((share * (1 - share)) / n + square / (4 * n * n));
  return { low: right === 0 ? 0 : Math.max(0, centre - half), high: right === n ? 1 : Math.min(1, centre + half), level: 0.95, method: "wilson" };
}

/** Percentile bootstrap with 2000 means, fewer for very many values. */
export function bootstrap(values: readonly number[], seed = 1): Confidence {
  const n = values.length;
  const rounds = Math.min(2_000, Math.max(200, Math.floor(MOST_DRAWS / n)));
  const random = randomNumbers(seed);
  const means = new Float64Array(rounds);
  for (let round = 0; round < rounds; round++) {
    let total = 0;
    for (let i = 0; i < n; i++) total += values[Math.floor(random() * n)]!;
    means[round] = total / n;
  }
  means.sort();
  return { low: percentile(means, 0.025), high: percentile(means, 0.975), level: 0.95, method: "bootstrap" };
}

function percentile(sorted: Float64Array, share: number): number {
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  return sorted[below]! + (place - below) * ((sorted[below + 1] ?? sorted[below]!) - sorted[below]!);
}

/** Two-sided p-value of the sign test: of `a + b` changes, `a` went one way, under the hypothesis that either way is as likely. With right and wrong rows
 *  this is McNemar's exact test. */
export function signTest(a: number, b: number): number {
  const n = a + b;
  if (n === 0) return 1;
  const fewer = Math.min(a, b);
  let logChance = -n * Math.LN2; // of 0 out of n
  let tail = Math.exp(logChance);
  if (n <= 1_000) {
    for (let k = 1; k <= fewer; k++) {
      logChance += Math.log((n - k + 1) / k);
      tail += Math.exp(logChance);
    }
    return Math.min(1, 2 * tail);
  }
  const z = Math.max(0, Math.abs(a - b) - 1) / Math.sqrt(n); // continuity correction
  return Math.min(1, 2 * upperTail(z));
}

/** P(Z > z) of the normal distribution; Abramowitz and Stegun 26.2.17, error below 7.5e-8. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const polynomial = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * polynomial;
}

/** mulberry32: numbers in [0, 1). */
function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
