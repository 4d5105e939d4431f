// The stages of a pipeline as a persistent table: `with` shares all but one block, so a step over 10,000 stages copies about 200 slots, not 10,000.

const BLOCK = 128;

export class StageTable<T> {
  readonly length: number;
  readonly #blocks: readonly (readonly T[])[];

  private constructor(blocks: readonly (readonly T[])[], length: number) {
    this.#blocks = blocks;
    this.length = length;
  }

  static of<T>(items: readonly T[]): StageTable<T> {
    const blocks: T[][] = [];
    for (let start = 0; start < items.length; start += BLOCK) blocks.push(items.slice(start, start + BLOCK));
    return new StageTable(blocks, items.length);
  }

  /** The item at a position; a position outside the table is a bug and throws. */
  at(index: number): T {
    const item = this.#blocks[Math.floor(index / BLOCK)]?.[index % BLOCK];
    if (item === undefined) throw new RangeError(`Stage ${index} of ${this.length} does not exist.`);
    return item;
  }

  /** A table equal to this one but at `index`; a position outside the table throws. */
  with(index: number, item: T): StageTable<T> {
    this.at(index);
    const which = Math.floor(index / BLOCK);
    const block = this.#blocks[which]!.slice();
    block[index % BLOCK] = item;
    const blocks = this.#blocks.slice();
    blocks[which] = block;
    return new StageTable(blocks, this.length);
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const block of this.#blocks) yield* block;
  }

  toJSON(): readonly T[] {
    return [...this];
  }
}
