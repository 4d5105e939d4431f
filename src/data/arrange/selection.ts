// Which of the spilled rows stay, as a bit per row, and the running number that each then has in the order of the input.

export interface SelectionBuilder {
  /** `seq`: the row's number among all spilled rows. */
  take(seq: number): void;
  build(): Selection;
}

export interface Selection {
  readonly count: number;
  has(seq: number): boolean;
  /** How many selected rows come before this one. */
  rank(seq: number): number;
}

/** Takes 1 bit per row, and as much again once built. */
export function createSelection(rows: number): SelectionBuilder {
  const words = new Uint32Array(Math.ceil(rows / 32));

  function build(): Selection {
    const before = new Uint32Array(words.length);
    let count = 0;
    for (let word = 0; word < words.length; word++) {
      before[word] = count;
      count += bitsIn(words[word]!);
    }
    return {
      count,
      has: (seq) => ((words[seq >>> 5]! >>> (seq & 31)) & 1) === 1,
      rank: (seq) => before[seq >>> 5]! + bitsIn(words[seq >>> 5]! & ((1 << (seq & 31)) - 1)),
    };
  }

  return {
    take(seq) {
      words[seq >>> 5]! |= 1 << (seq & 31);
    },
    build,
  };
}

function bitsIn(word: number): number {
  let bits = word - ((word >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return (((bits + (bits >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}
