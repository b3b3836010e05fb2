import pg from "pg";

interface Member<Item, Result> {
  item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

// A connection that is lost at the commit must not repeat the batch: whether it was committed is unknown.
const DATA_ERROR = /^2[23]/;

/** Writes items of the same turn of the event loop together, and bisects a batch that fails by a data error. */
export class NaiveBatches<Item, Result> {
  readonly #write: (items: readonly Item[]) => Promise<readonly Result[]>;
  #members: Member<Item, Result>[] = [];

  constructor(write: (items: readonly Item[]) => Promise<readonly Result[]>) {
    this.#write = write;
  }

  join(item: Item): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#members.push({ item, resolve, reject });
      if (this.#members.length > 1) return;
      setImmediate(() => {
        const members = this.#members;
        this.#members = [];
        void this.#writeOrBisect(members);
      });
    });
  }

  async #writeOrBisect(members: readonly Member<Item, Result>[]): Promise<void> {
    try {
      const results = await this.#write(members.map(({ item }) => item));
      for (const [index, result] of results.entries()) members[index]?.resolve(result);
    } catch (error) {
      if (members.length === 1 || !isDataError(error)) {
        for (const { reject } of members) reject(error);
        return;
      }
      const half = Math.ceil(members.length / 2);
      await this.#writeOrBisect(members.slice(0, half));
      await this.#writeOrBisect(members.slice(half));
    }
  }
}

function isDataError(error: unknown): boolean {
  return error instanceof pg.DatabaseError && DATA_ERROR.test(error.code ?? "");
}
