import type { Redis } from "ioredis";
import { encodeReplicaNumber } from "./messages.ts";

/** Maximum number of messages under way. Beyond it the connection does not work. */
const MAX_PENDING = 100;

/** A message under way, for all calls of one turn of the event loop. */
interface Pending {
  readonly promise: Promise<boolean>;
  resolve(isReceived: boolean): void;
}

/**
 * Waits for invalidations that are under way to this process. It publishes a message on a channel of its own: Redis
 * delivers the messages of all channels in one order, so those that it accepted earlier arrive earlier.
 */
export class InvalidationBarrier {
  readonly #client: Redis;
  readonly #channel: string;
  readonly #ownId: string;
  /** By number, in ascending order, which is the order in which Redis publishes them. */
  readonly #pending = new Map<number, Pending>();
  #lastNumber = 0;
  #open: Pending | undefined;

  /** @param channel to which only this process is subscribed */
  constructor(client: Redis, channel: string, ownId: string) {
    this.#client = client;
    this.#channel = channel;
    this.#ownId = ownId;
  }

  /** Waits for the own message. Returns false if it is lost, also because the connection was. */
  wait(): Promise<boolean> {
    if (this.#open !== undefined) return this.#open.promise;
    if (this.#pending.size >= MAX_PENDING) return Promise.resolve(false);
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    const pending = Promise.withResolvers<boolean>();
    this.#open = pending;
    this.#pending.set(number, pending);
    // Sent after the commands of all calls that wait for it.
    setImmediate(() => this.#publish(number));
    return pending.promise;
  }

  /** Handles the own message. */
  receive(number: number): void {
    for (const [sent, { resolve }] of this.#pending) {
      if (sent > number) break;
      this.#pending.delete(sent);
      resolve(true);
    }
  }

  /** Ends all waits, because messages may have been lost. */
  reset(): void {
    for (const { resolve } of this.#pending.values()) resolve(false);
    this.#pending.clear();
  }

  #publish(number: number): void {
    this.#open = undefined;
    this.#client.publish(this.#channel, encodeReplicaNumber(this.#ownId, number)).then(
      (subscribers) => subscribers > 0 || this.#fail(number),
      () => this.#fail(number),
    );
  }

  #fail(number: number): void {
    this.#pending.get(number)?.resolve(false);
    this.#pending.delete(number);
  }
}
