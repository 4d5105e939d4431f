// Noise without chance: a number that depends on nothing but what it is asked for, so that a curve is the same in every run and after every resume.

/** Between 0 and 1, by seed, name and step (FNV-1a, then a finaliser). */
export function noise(seed: number, name: string, step: number): number {
  let hash = 0x811c9dc5 ^ seed;
  for (const character of `${name}\0${step}`) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** About `value`, off by up to `share` of it, with the digits of a 32-bit float. */
export function around(value: number, share: number, seed: number, name: string, step: number): number {
  return Math.fround(value * (1 + share * (2 * noise(seed, name, step) - 1)));
}
