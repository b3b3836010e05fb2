/** A change of the resource of a tag, whose invalidation is throttled. */
export interface ThrottledTag {
  tag: string;
  /** The version of the resource after the change. */
  version: bigint;
}

/** The tags of an invalidation. */
export interface InvalidatedTags {
  /** Tags whose entries must not be used any more. */
  tags: readonly string[];
  /** Tags whose entries may be used until THROTTLE_MS after their load. */
  throttled: readonly ThrottledTag[];
}

/** An invalidation as replicas receive it. */
export interface InvalidationMessage extends InvalidatedTags {
  /** The replica that published it. */
  replicaId: string;
  /**
   * Position among the invalidations of that replica that wait for an acknowledgement. Undefined if it needs none, as
   * the first parts of a large one and those of the former version.
   */
  sequence: number | undefined;
}

/** The channels of one namespace, and of this replica. */
export interface Channels {
  /**
   * Invalidations. During a rolling update, replicas of the former version share it: a new name would hide the writes
   * of each from the other, so it keeps its name.
   */
  invalidations: string;
  /** Heartbeats of all replicas. Those of the former version have no subscription to it. */
  heartbeats: string;
  /** Returns the channel of the acknowledgements for a replica. */
  acknowledgementsFor(replicaId: string): string;
}

/** Returns the channels of the keys with this prefix. */
export function createChannels(prefix: string): Channels {
  const invalidations = `${prefix}bumps`;
  return {
    invalidations,
    heartbeats: `${invalidations}:heartbeats`,
    acknowledgementsFor: (replicaId) => `${invalidations}:acks:${replicaId}`,
  };
}

/**
 * Encodes an invalidation: the id of the replica, the sequence and the versions of the throttled tags in the first line,
 * then a tag in each line, the throttled ones last. The former version takes all of them for tags that are not throttled.
 */
export function encodeInvalidation(message: InvalidationMessage): string {
  const { replicaId, sequence, tags, throttled } = message;
  if (throttled.length === 0) {
    return [sequence === undefined ? replicaId : `${replicaId}:${sequence}`, ...tags].join("\n");
  }
  const versions = throttled.map(({ version }) => version).join(",");
  const source = `${replicaId}:${sequence ?? ""}:${versions}`;
  return [source, ...tags, ...throttled.map(({ tag }) => tag)].join("\n");
}

export function parseInvalidation(message: string): InvalidationMessage {
  const [source = "", ...allTags] = message.split("\n");
  const [replicaId = "", sequence = "", list = ""] = source.split(":");
  const versions = list === "" ? [] : list.split(",").map(BigInt);
  const count = allTags.length - versions.length;
  return {
    replicaId,
    sequence: sequence === "" ? undefined : Number(sequence),
    tags: allTags.slice(0, count),
    throttled: versions.map((version, index) => ({ tag: allTags[count + index] ?? "", version })),
  };
}

/** Encodes a number of a replica: the time at which a heartbeat was sent, or an acknowledged sequence. */
export function encodeReplicaNumber(replicaId: string, value: number): string {
  return `${replicaId} ${value}`;
}

export function parseReplicaNumber(message: string): [replicaId: string, value: number] {
  const [replicaId = "", value] = message.split(" ");
  return [replicaId, Number(value)];
}
