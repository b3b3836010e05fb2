import type { Redis } from "ioredis";
import type { Log } from "../../kernel/log.ts";
import { LeaseMonitor } from "./lease-monitor.ts";
import { RedisTier } from "./redis-tier.ts";
import { TagVersions } from "./tag-versions.ts";

/** Times are milliseconds. */
export interface InvalidationBusOptions {
  redis: Redis;
  /** Keeps shops apart that use one Redis. */
  namespace: string;
  log: Log;
}

/** What ties the caches of a process to each other and to those of other processes: which tags have been bumped. */
export class InvalidationBus {
  readonly redisTier: RedisTier;
  readonly lease: LeaseMonitor;
  readonly tagVersions = new TagVersions();
  readonly #clear: (() => void)[] = [];

  constructor({ redis, namespace, log }: InvalidationBusOptions) {
    this.redisTier = new RedisTier(redis, namespace);
    const events = {
      heard: (message: string) => {
        const tags = this.redisTier.parseMessage(message);
        if (tags === "all") this.invalidateAllLocally();
        else this.tagVersions.invalidate(tags);
      },
      lost: () => this.invalidateAllLocally(),
      meet: () => this.redisTier.invalidateAllAfterRestart(),
      renew: () => this.redisTier.invalidateAll(),
    };
    this.lease = new LeaseMonitor(redis, this.redisTier.channel, events, log);
  }

  /** Has `clear` called whenever nothing that was kept may be used again. */
  onInvalidateAll(clear: () => void): void {
    this.#clear.push(clear);
  }

  invalidateAllLocally(): void {
    this.tagVersions.invalidateAll();
    for (const clear of this.#clear) clear();
  }

  close(): void {
    this.lease.close();
  }
}
