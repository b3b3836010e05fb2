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
  readonly shared: RedisTier;
  readonly link: LeaseMonitor;
  readonly tags = new TagVersions();
  readonly #clear: (() => void)[] = [];

  constructor({ redis, namespace, log }: InvalidationBusOptions) {
    this.shared = new RedisTier(redis, namespace);
    const events = {
      heard: (message: string) => {
        const tags = this.shared.tagsOf(message);
        if (tags === "all") this.forget();
        else this.tags.bump(tags);
      },
      lost: () => this.forget(),
      meet: () => this.shared.renewAfterRestart(),
      renew: () => this.shared.renew(),
    };
    this.link = new LeaseMonitor(redis, this.shared.channel, events, log);
  }

  /** Has `clear` called whenever nothing that was kept may be used again. */
  onForget(clear: () => void): void {
    this.#clear.push(clear);
  }

  forget(): void {
    this.tags.bumpAll();
    for (const clear of this.#clear) clear();
  }

  close(): void {
    this.link.close();
  }
}
