// A mailbox: what arrives while a batch is at work forms the next one. One batch at a time, in order of arrival.
//   B1. An item is handed to `work` exactly once; `work` settles it.
//   B2. Nothing waits on a timer: an idle mailbox takes an item at once, a busy one takes all that came meanwhile (up to `limit`).

export class Mailbox<Item> {
  readonly #work: (batch: readonly Item[]) => Promise<void>;
  readonly #weigh: (item: Item) => number;
  readonly #limit: number;
  #waiting: Item[] = [];
  #running: Promise<void> | null = null;
  #closed = false;

  /** `limit` bounds the weight of a batch; a single heavier item still goes. `work` must not reject: it answers each item itself. */
  constructor(work: (batch: readonly Item[]) => Promise<void>, options: { limit: number; weigh?: (item: Item) => number }) {
    this.#work = work;
    this.#limit = options.limit;
    this.#weigh = options.weigh ?? (() => 1);
  }

  get length(): number {
    return this.#waiting.length;
  }

  /** False after close: the item was not taken. */
  push(item: Item): boolean {
    if (this.#closed) return false;
    this.#waiting.push(item);
    this.#running ??= this.#run();
    return true;
  }

  /** Takes no more items, and resolves when those taken are done. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // One turn of the event loop gathers what arrives in the same read of a socket.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      let weight = 0;
      let count = 0;
      while (count < this.#waiting.length && (count === 0 || weight < this.#limit)) weight += this.#weigh(this.#waiting[count++]!);
      await this.#work(this.#waiting.splice(0, count));
    }
    this.#running = null;
  }
}
