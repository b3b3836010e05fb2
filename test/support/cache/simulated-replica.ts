import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";
import {
  createChannels,
  encodeInvalidation,
  encodeReplicaNumber,
  type InvalidationMessage,
  parseInvalidation,
  parseReplicaNumber,
} from "../../../src/infra/cache/invalidation/messages.ts";

/** An invalidation without throttled tags by default. */
type SimulatedMessage = Omit<InvalidationMessage, "replicaId" | "throttled"> &
  Partial<Pick<InvalidationMessage, "throttled">>;

/** A replica without a cache, which sends what the test says. */
export interface SimulatedReplica {
  id: string;
  /** The invalidations that it has received. */
  invalidations: InvalidationMessage[];
  /** The acknowledgements that it has received. */
  acknowledgements: { replicaId: string; sequence: number }[];
  heartbeat(): Promise<void>;
  /** Acknowledges all invalidations of a replica up to this one. */
  acknowledge(message: InvalidationMessage): Promise<void>;
  /** Publishes invalidations with the sequences 1, 2, ... in one pipeline. */
  invalidate(...tags: string[]): Promise<void>;
  /** Publishes invalidations with these sequences in one pipeline. */
  publish(...messages: SimulatedMessage[]): Promise<void>;
  /** Waits for so many invalidations in all. @returns the last one */
  receive(count: number): Promise<InvalidationMessage>;
}

/**
 * Subscribes a simulated replica.
 * @param isFormerVersion whether it is subscribed to invalidations only, as replicas of the former version are
 */
export async function openSimulatedReplica(
  url: string,
  namespace: string,
  isFormerVersion = false,
): Promise<SimulatedReplica> {
  const client = new Redis(url);
  const subscriber = new Redis(url);
  onTestFinished(() => {
    client.disconnect();
    subscriber.disconnect();
  });
  const id = randomBytes(8).toString("hex");
  const channels = createChannels(`cartwright:{${namespace}}:`);
  const inbox = channels.acknowledgementsFor(id);
  const invalidations: InvalidationMessage[] = [];
  const acknowledgements: { replicaId: string; sequence: number }[] = [];
  subscriber.on("message", (channel: string, message: string) => {
    if (channel === channels.invalidations) invalidations.push(parseInvalidation(message));
    if (channel !== inbox) return;
    const [replicaId, acknowledged] = parseReplicaNumber(message);
    acknowledgements.push({ replicaId, sequence: acknowledged });
  });
  if (isFormerVersion) await subscriber.subscribe(channels.invalidations);
  else await subscriber.subscribe(channels.invalidations, channels.heartbeats, inbox);
  let sequence = 0;
  const publish = async (...messages: SimulatedMessage[]) => {
    const pipeline = client.pipeline();
    for (const message of messages) {
      pipeline.publish(
        channels.invalidations,
        encodeInvalidation({ replicaId: id, throttled: [], ...message }),
      );
    }
    await pipeline.exec();
  };
  return {
    id,
    publish,
    invalidations,
    acknowledgements,
    async heartbeat() {
      await client.publish(channels.heartbeats, encodeReplicaNumber(id, 0));
    },
    async acknowledge({ replicaId, sequence: received = 0 }) {
      await client.publish(channels.acknowledgementsFor(replicaId), encodeReplicaNumber(id, received));
    },
    invalidate(...tags) {
      const messages = tags.map((tag) => {
        sequence += 1;
        return { sequence, tags: [tag] };
      });
      return publish(...messages);
    },
    async receive(count) {
      await expect.poll(() => invalidations.length, { interval: 2 }).toBe(count);
      const last = invalidations.at(-1);
      if (last === undefined) throw new Error("no invalidation was received");
      return last;
    },
  };
}
