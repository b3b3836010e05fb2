import { setTimeout as sleep } from "node:timers/promises";
import { answerOf, type Replica, wanted } from "./cache-replica.ts";
import type { Door } from "./freshness.ts";

/** A database whose reads and writes take a moment, as long as it pleases them, before and after they happen. */
export class SlowRows {
  readonly #rows = new Map<number, number>();
  readonly #maxMs: number;

  /** @param maxMs how long each half takes at most */
  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  async read(row: number): Promise<string> {
    await this.#moment();
    const version = this.#rows.get(row) ?? 0;
    await this.#moment();
    return String(version);
  }

  async write(row: number, version: number): Promise<void> {
    await this.#moment();
    this.#rows.set(row, version);
    await this.#moment();
  }

  #moment(): Promise<void> {
    return sleep(Math.random() * this.#maxMs);
  }
}

/** The way to these rows through a replica's cache. */
export function doorOf(replica: Replica, rows: SlowRows): Door {
  return {
    read: async (row) =>
      Number(answerOf(await replica.cache.find(wanted(`row ${row}`, () => rows.read(row))))),
    async write(row, version) {
      await rows.write(row, version);
      await replica.write(`row ${row}`);
    },
  };
}
