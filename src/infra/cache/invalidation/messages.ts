/** An invalidation as replicas receive it. */
export interface InvalidationMessage {
  /** The replica that published it. */
  replicaId: string;
  /**
   * Position among the invalidations of that replica that wait for an acknowledgement. Undefined if it needs none, as
   * the first parts of a large one and those of the former version.
   */
  sequence: number | undefined;
  tags: readonly string[];
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

/** Encodes an invalidation. The former version takes the whole first line for the id of the replica. */
export function encodeInvalidation({ replicaId, sequence, tags }: InvalidationMessage): string {
  const source = sequence === undefined ? replicaId : `${replicaId}:${sequence}`;
  return [source, ...tags].join("\n");
}

export function parseInvalidation(message: string): InvalidationMessage {
  const [source = "", ...tags] = message.split("\n");
  const [replicaId = "", sequence] = source.split(":");
  return { replicaId, sequence: sequence === undefined ? undefined : Number(sequence), tags };
}

/** Encodes a number of a replica: the time at which a heartbeat was sent, or an acknowledged sequence. */
export function encodeReplicaNumber(replicaId: string, value: number): string {
  return `${replicaId} ${value}`;
}

export function parseReplicaNumber(message: string): [replicaId: string, value: number] {
  const [replicaId = "", value] = message.split(" ");
  return [replicaId, Number(value)];
}
