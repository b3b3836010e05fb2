import { setTimeout as sleep } from "node:timers/promises";
import { MAX_TAGS_PER_MESSAGE } from "../../../src/infra/cache/redis-tier.ts";
import type { Client } from "./freshness.ts";
import { createRequest, type Replica, textOf } from "./replica.ts";

/** Tags of other rows, which every fifth write of a row invalidates too, as an import does: in several messages. */
const OTHER_TAGS = Array.from({ length: 2 * MAX_TAGS_PER_MESSAGE }, (_, index) => `other ${index}`);

/** A database whose reads and writes take a random time before and after they happen. */
export class SlowRows {
  readonly #rows = new Map<number, number>();
  readonly #maxMs: number;

  /** @param maxMs how long each of the two halves takes at most */
  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  async read(row: number): Promise<string> {
    await this.#wait();
    const version = this.#rows.get(row) ?? 0;
    await this.#wait();
    return String(version);
  }

  async write(row: number, version: number): Promise<void> {
    await this.#wait();
    this.#rows.set(row, version);
    await this.#wait();
  }

  #wait(): Promise<void> {
    return sleep(Math.random() * this.#maxMs);
  }
}

/** Returns a client that reads these rows through the cache of a replica. */
export function createCacheClient(replica: Replica, rows: SlowRows): Client {
  return {
    read: async (row) =>
      Number(textOf(await replica.cache.getOrLoad(createRequest(`row ${row}`, () => rows.read(row))))),
    async write(row, version) {
      await rows.write(row, version);
      const otherTags = version % 5 === 0 ? OTHER_TAGS : [];
      await replica.invalidate(...otherTags, `row ${row}`);
    },
  };
}
