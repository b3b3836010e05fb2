import type { Call } from "../../../kernel/call.ts";
import type { ThrottledTag } from "../../cache/invalidation/messages.ts";
import { type Generation, newGeneration } from "../../cache/redis-tier.ts";
import type { Database, Invalidation, TransactionLimits, Tx } from "../../postgres/postgres.ts";
import { invalidationTopic } from "./invalidation-topic.ts";

/** Delivers the cache tags that a transaction has changed. Its methods must not throw, since the change is made. */
export interface InvalidationPublisher {
  /** Invalidates the tags after the commit. */
  invalidate(
    tags: readonly string[],
    generation: Generation,
    throttledTags?: readonly string[],
  ): Promise<unknown>;
  /** Invalidates a tag after the commit, or later. */
  invalidateThrottled(change: ThrottledTag): void;
  /** Invalidates the tags of an earlier transaction unless that is complete. */
  ensureInvalidated(tags: readonly string[], generation: Generation): Promise<unknown>;
}

/**
 * Wraps a database so that `tx.invalidate` and `tx.invalidateThrottled` take effect: the tags of a transaction are
 * published with it. After the commit they are invalidated, those of `tx.invalidate` before `transact` returns. The
 * consumer of the outbox repeats that if the process dies after the commit.
 */
export function withInvalidationOutbox(db: Database, publisher: InvalidationPublisher): Database {
  return {
    ...db,
    async transact<T>(call: Call, work: (tx: Tx) => Promise<T>, limits?: TransactionLimits): Promise<T> {
      const generation = newGeneration();
      let registered = createRegisteredTags();
      let repeated: Invalidation | undefined;
      const attempt = async (tx: Tx): Promise<T> => {
        const added = createRegisteredTags();
        repeated = undefined;
        const result = await work({
          ...tx,
          invalidate: added.invalidate,
          invalidateThrottled: added.invalidateThrottled,
          invalidation: () => ({ tags: added.allTags(), generation }),
          repeatInvalidation(invalidation) {
            repeated = invalidation;
          },
        });
        registered = added;
        if (added.allTags().length > 0) {
          const throttled = [...added.throttled].map(
            ([tag, version]) => [tag, version === undefined ? null : String(version)] as const,
          );
          tx.publish(invalidationTopic, {
            tags: [...added.tags],
            generation: generation.toString("base64"),
            throttled,
          });
        }
        return result;
      };
      let result: T;
      try {
        result = await db.transact(call, attempt, limits);
      } catch (error) {
        // A connection lost during the commit may have committed, or may still. A generation of its own keeps the
        // consumer from skipping these tags as already invalidated, as would the versions of the throttled ones.
        const tags = registered.allTags();
        if (tags.length > 0) await publisher.invalidate(tags, newGeneration());
        throw error;
      }
      const immediate: string[] = [];
      for (const [tag, version] of registered.throttled) {
        if (version === undefined) immediate.push(tag);
        else publisher.invalidateThrottled({ tag, version });
      }
      const { tags } = registered;
      if (tags.size > 0 || immediate.length > 0) await publisher.invalidate([...tags], generation, immediate);
      if (repeated !== undefined) await publisher.ensureInvalidated(repeated.tags, repeated.generation);
      return result;
    },
  };
}

/** The tags that a transaction has registered. */
interface RegisteredTags {
  readonly tags: ReadonlySet<string>;
  /** Versions by tag. */
  readonly throttled: ReadonlyMap<string, bigint | undefined>;
  invalidate(...tags: string[]): void;
  invalidateThrottled(tag: string, version?: bigint): void;
  /** Returns all tags, throttled or not. */
  allTags(): string[];
}

function createRegisteredTags(): RegisteredTags {
  const tags = new Set<string>();
  const throttled = new Map<string, bigint | undefined>();
  return {
    tags,
    throttled,
    invalidate(...added) {
      for (const tag of added) {
        tags.add(tag);
        throttled.delete(tag);
      }
    },
    invalidateThrottled(tag, version) {
      const last = throttled.get(tag);
      const isLater = version === undefined || !throttled.has(tag) || (last !== undefined && version > last);
      if (!tags.has(tag) && isLater) throttled.set(tag, version);
    },
    allTags: () => [...tags, ...throttled.keys()],
  };
}
