import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "./freshness.ts";
import { cacheRequest, type Replica, resultOf } from "./replica.ts";

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
export function cacheClientOf(replica: Replica, rows: SlowRows): Client {
  return {
    read: async (row) =>
      Number(resultOf(await replica.cache.getOrLoad(cacheRequest(`row ${row}`, () => rows.read(row))))),
    async write(row, version) {
      await rows.write(row, version);
      await replica.write(`row ${row}`);
    },
  };
}
