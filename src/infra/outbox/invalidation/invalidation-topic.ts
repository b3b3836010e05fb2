import type { Topic } from "../topic.ts";

/** Cache tags that a transaction has changed. */
export interface PublishedInvalidation {
  readonly tags: readonly string[];
  /** Generation of the transaction, base64. */
  readonly generation: string;
  /** Tags whose invalidation is throttled, with the versions of their resources, decimal; null: it is not delayed. */
  readonly throttled: readonly (readonly [tag: string, version: string | null])[];
}

export const invalidationTopic: Topic<PublishedInvalidation> = { name: "cache-invalidation" };
