// Signatures of texts whose share of equal places estimates the Jaccard similarity of the texts' shingles (overlapping pieces of k characters). Every shingle is
// thrown into one of the places, again and again with other hash functions until no place is empty, and each place keeps the smallest hash of the first throw
// that reached it ("fast similarity sketching", Dahlgaard et al. 2017): as exact as one hash function a place, in about the time of one altogether.
//   M1. Equal sets of shingles give equal signatures; the order and number of a shingle do not matter.
//   M2. Places are compared by 16 bits: unequal shingles agree by chance in one place of 65,536.

/** Writes the signature of `text` (in UTF-16 code units, not empty) into `into`, whose length is a power of two. A text shorter than a shingle is one shingle. */
export type Sketcher = (text: string, into: Uint16Array) => void;

const FIRST_FACTOR = 0x01000193;
const SECOND_FACTOR = 0x9e3779b1;

export function createSketcher(shingleChars: number, places: number): Sketcher {
  const shift = 32 - Math.log2(places);
  const smallest = new Uint32Array(places);
  const reached = new Int32Array(places);
  let first = new Uint32Array(4_096);
  let second = new Uint32Array(4_096);
  const [firstOut, secondOut] = [power(FIRST_FACTOR, shingleChars), power(SECOND_FACTOR, shingleChars)];

  /** Two hashes of every shingle, rolled along the text; gives their number. */
  const hashShingles = (text: string): number => {
    const count = Math.max(1, text.length - shingleChars + 1);
    if (first.length < count) [first, second] = [new Uint32Array(count * 2), new Uint32Array(count * 2)];
    let [a, b] = [0, 0];
    for (let index = 0; index < text.length; index++) {
      const unit = text.charCodeAt(index) + 1;
      a = (Math.imul(a, FIRST_FACTOR) + unit) | 0;
      b = (Math.imul(b, SECOND_FACTOR) + unit) | 0;
      if (index >= shingleChars) {
        const gone = text.charCodeAt(index - shingleChars) + 1;
        a = (a - Math.imul(gone, firstOut)) | 0;
        b = (b - Math.imul(gone, secondOut)) | 0;
      }
      const at = index - shingleChars + 1;
      if (at >= 0 || index === text.length - 1) {
        first[Math.max(0, at)] = a;
        second[Math.max(0, at)] = b;
      }
    }
    return count;
  };

  return (text, into) => {
    const shingles = hashShingles(text);
    reached.fill(-1);
    let empty = places;
    for (let round = 0; empty > 0 && round < places; round++) {
      const seed = mixed(round + 1);
      for (let index = 0; index < shingles; index++) {
        const value = hashOf(first[index]!, second[index]!, seed);
        const place = value >>> shift;
        if (reached[place] === -1) {
          reached[place] = round;
          smallest[place] = value;
          empty--;
        } else if (reached[place] === round && value < smallest[place]!) {
          smallest[place] = value;
        }
      }
    }
    for (let place = 0; empty > 0 && place < places; place++) {
      if (reached[place] !== -1) continue;
      const seed = mixed(places + place + 1);
      let least = 0xffffffff;
      for (let index = 0; index < shingles; index++) least = Math.min(least, hashOf(first[index]!, second[index]!, seed));
      smallest[place] = least;
      empty--;
    }
    for (let place = 0; place < places; place++) into[place] = mixed(smallest[place]! ^ SECOND_FACTOR) & 0xffff;
  };
}

/** Both hashes count in every round, so that two shingles that share one of them part in the next round. */
function hashOf(a: number, b: number, seed: number): number {
  return mixed((a ^ seed) + Math.imul(b, seed | 1)) >>> 0;
}

/** Spreads 32 bits (the finaliser of MurmurHash3). */
export function mixed(value: number): number {
  let bits = value ^ (value >>> 16);
  bits = Math.imul(bits, 0x85ebca6b);
  bits ^= bits >>> 13;
  bits = Math.imul(bits, 0xc2b2ae35);
  return bits ^ (bits >>> 16);
}

function power(base: number, exponent: number): number {
  let result = 1;
  for (let n = 0; n < exponent; n++) result = Math.imul(result, base);
  return result;
}
