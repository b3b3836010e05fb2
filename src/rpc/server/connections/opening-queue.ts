import type { Peer } from "./peer.ts";

/** The connections that are opened in one turn of the event loop. */
const OPENED_PER_TURN = 8;

/**
 * Opens connections, a few in each turn of the event loop, so that calls are handled in between: a session of HTTP/2
 * takes 0.2 ms and a handshake of TLS 1 ms, and one turn can bring hundreds. Networks (an IPv4 address or a /48 prefix of
 * IPv6) take turns: those with many connections wait for those with few.
 */
export class OpeningQueue {
  readonly #waiting = new Map<string, (() => void)[]>();
  #opened = 0;
  #isScheduled = false;

  /** Opens a connection of a peer, immediately unless others wait. */
  push({ network }: Pick<Peer, "network">, open: () => void): void {
    this.#schedule();
    if (this.#waiting.size === 0 && this.#opened < OPENED_PER_TURN) {
      this.#opened += 1;
      open();
      return;
    }
    // Not by holder: a /48 has 65,536 of them, each of which would get a turn.
    const queue = this.#waiting.get(network);
    if (queue === undefined) this.#waiting.set(network, [open]);
    else queue.push(open);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#runTurn());
  }

  #runTurn(): void {
    this.#isScheduled = false;
    this.#opened = 0;
    for (const [network, queue] of this.#waiting) {
      if (this.#opened >= OPENED_PER_TURN) break;
      this.#opened += 1;
      const open = queue.shift();
      // To the end of the map, behind the networks that have not had their turn.
      this.#waiting.delete(network);
      if (queue.length > 0) this.#waiting.set(network, queue);
      open?.();
    }
    if (this.#waiting.size > 0) this.#schedule();
  }
}
