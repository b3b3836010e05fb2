import type { Redis } from "ioredis";
import { type Channels, encodeReplicaNumber } from "./messages.ts";

/** Acknowledges invalidations to the replicas that published them, once for all that arrive together. */
export class AcknowledgementSender {
  readonly #client: Redis;
  readonly #channels: Channels;
  readonly #ownId: string;
  /** The last sequence to acknowledge, by replica. */
  readonly #sequences = new Map<string, number>();

  constructor(client: Redis, channels: Channels, ownId: string) {
    this.#client = client;
    this.#channels = channels;
    this.#ownId = ownId;
  }

  /** Acknowledges all invalidations of a replica up to this sequence. */
  add(replicaId: string, sequence: number): void {
    if (this.#sequences.size === 0) queueMicrotask(() => this.#send());
    // A message that was delayed by a lost connection may arrive after later ones.
    this.#sequences.set(replicaId, Math.max(sequence, this.#sequences.get(replicaId) ?? 0));
  }

  #send(): void {
    for (const [replicaId, sequence] of this.#sequences) {
      const channel = this.#channels.acknowledgementsFor(replicaId);
      // Without the acknowledgement, the replica waits until the lease of this one has ended.
      this.#client.publish(channel, encodeReplicaNumber(this.#ownId, sequence)).catch(() => {});
    }
    this.#sequences.clear();
  }
}
