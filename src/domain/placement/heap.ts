// A binary heap whose items know their place, so that one can be taken out or moved in O(log n) without a search.

/** What a heap can hold: `slot` is the item's place in the one heap it is in, −1 outside of any. Only the heap writes it. */
export interface Slotted {
  slot: number;
}

export class Heap<T extends Slotted> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get size(): number {
    return this.#items.length;
  }

  /** The first item, or null when there is none. */
  peek(): T | null {
    return this.#items[0] ?? null;
  }

  has(item: T): boolean {
    return this.#items[item.slot] === item;
  }

  /** In no useful order but the first. */
  items(): readonly T[] {
    return this.#items;
  }

  add(item: T): void {
    item.slot = this.#items.length;
    this.#items.push(item);
    this.#rise(item);
  }

  /** Takes the first item out; null when there is none. */
  pop(): T | null {
    const first = this.peek();
    if (first !== null) this.remove(first);
    return first;
  }

  remove(item: T): void {
    const last = this.#items.pop()!;
    if (last !== item) {
      this.#items[item.slot] = last;
      last.slot = item.slot;
      this.moved(last);
    }
    item.slot = -1;
  }

  /** Restores the order after an item's key has changed. Call it before the next change of another item's key. */
  moved(item: T): void {
    this.#rise(item);
    this.#sink(item);
  }

  #rise(item: T): void {
    const items = this.#items;
    let at = item.slot;
    while (at > 0) {
      const up = (at - 1) >> 1;
      const parent = items[up]!;
      if (!this.#before(item, parent)) break;
      items[at] = parent;
      parent.slot = at;
      at = up;
    }
    items[at] = item;
    item.slot = at;
  }

  #sink(item: T): void {
    const items = this.#items;
    let at = item.slot;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= items.length) break;
      if (down + 1 < items.length && this.#before(items[down + 1]!, items[down]!)) down++;
      const child = items[down]!;
      if (!this.#before(child, item)) break;
      items[at] = child;
      child.slot = at;
      at = down;
    }
    items[at] = item;
    item.slot = at;
  }
}
