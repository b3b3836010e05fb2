import type { Peer } from "./peer.ts";

/** The part of a connection that shares read. */
export interface SharedConnection {
  readonly peer: Peer;
  /** Whether it may be closed for the connection of another network. */
  readonly isIdle: boolean;
  close(): void;
}

/** Dependencies of the shares. */
export interface ConnectionSharesOptions {
  /** The most connections. */
  capacity: number;
  /** Connections that each holder may have while there are places, however few places are free. */
  minShare: number;
}

/** The decision about a new connection. */
export type AdmissionResult = "admitted" | "over-share" | "full";

/**
 * A /48 may hold twice the free places, and a /64 in it as many as are free: a site has more users than a household,
 * and yet must not multiply its share by its 65,536 prefixes.
 */
const SITE_SHARES = 2;
/** The most connections that are examined to find an idle one, so that a refused connection stays cheap. */
const MAX_EXAMINED = 64;
const MAX_EXAMINED_OF_NETWORK = 16;

/** The connections of an IPv4 address or of a /48 prefix of IPv6, in the order in which they are examined. */
type Network = Set<SharedConnection>;

/**
 * Divides the connections of a listener among addresses. A holder (an IPv4 address or a /64 prefix) may have as many
 * connections as there are free places: the dynamic threshold of shared buffers (Choudhury and Hahne, 1998). Below half
 * of the capacity this never rejects; from there on n large holders get capacity / (n + 1) each, and as many places
 * stay free for others. When no place is free, idle connections of the largest network are closed for smaller ones.
 * All operations take constant time.
 */
export class ConnectionShares {
  readonly #options: ConnectionSharesOptions;
  readonly #holders = new Map<string, number>();
  readonly #networks = new Map<string, Network>();
  readonly #trusted: Network = new Set();
  /** The networks by their number of connections. */
  readonly #bySize: Set<Network>[] = [];
  #largest = 0;
  #size = 0;

  constructor(options: ConnectionSharesOptions) {
    this.#options = options;
  }

  /** The number of connections. */
  get size(): number {
    return this.#size;
  }

  /** Returns the number of connections from the IPv4 address, or from the /64 prefix, of a peer. */
  heldBy({ holder }: Peer): number {
    return this.#holders.get(holder) ?? 0;
  }

  /** Adds a connection, unless its holder has its share or there is no place. */
  add(connection: SharedConnection): AdmissionResult {
    const { capacity, minShare } = this.#options;
    const { peer } = connection;
    const { holder, isTrusted } = peer;
    const free = Math.max(0, capacity - this.#size);
    if (isTrusted) {
      if (free === 0 && !this.#closeIdle(1)) return "full";
      this.#trusted.add(connection);
      this.#size += 1;
      return "admitted";
    }
    const share = Math.max(minShare, free);
    const held = this.heldBy(peer);
    const network: Network = this.#networks.get(peer.network) ?? new Set();
    if (held >= share || network.size >= SITE_SHARES * share) return "over-share";
    if (free === 0 && !this.#closeIdle(network.size + 2)) return "full";
    this.#holders.set(holder, held + 1);
    this.#networks.set(peer.network, network);
    network.add(connection);
    this.#resize(network, network.size - 1);
    this.#size += 1;
    return "admitted";
  }

  /** Removes a connection that was admitted. A second removal changes nothing. */
  remove(connection: SharedConnection): void {
    const { holder, network: key, isTrusted } = connection.peer;
    const network = isTrusted ? this.#trusted : this.#networks.get(key);
    if (network?.delete(connection) !== true) return;
    this.#size -= 1;
    if (isTrusted) return;
    this.#resize(network, network.size + 1);
    if (network.size === 0) this.#networks.delete(key);
    const held = this.heldBy(connection.peer) - 1;
    if (held > 0) this.#holders.set(holder, held);
    else this.#holders.delete(holder);
  }

  /** Returns the connections from the IPv4 address, or from the /48 prefix, of a peer. */
  networkOf({ network }: Peer): readonly SharedConnection[] {
    return [...(this.#networks.get(network) ?? [])];
  }

  /**
   * Closes an idle connection of the largest network that has one.
   * @param minSize networks with fewer connections are not considered: they are not larger than the newcomer's
   */
  #closeIdle(minSize: number): boolean {
    let remaining = MAX_EXAMINED;
    for (let size = this.#largest; size >= minSize; size -= 1) {
      for (const network of this.#bySize[size] ?? []) {
        if (remaining <= 0) return false;
        remaining -= MAX_EXAMINED_OF_NETWORK;
        const idle = findIdle(network);
        if (idle === undefined) continue;
        this.remove(idle);
        idle.close();
        return true;
      }
    }
    return false;
  }

  /** Records that the size of a network has changed by one. */
  #resize(network: Network, before: number): void {
    this.#bySize[before]?.delete(network);
    const after = network.size;
    if (after > 0) {
      this.#bySize[after] ??= new Set();
      this.#bySize[after].add(network);
    }
    if (after > this.#largest) this.#largest = after;
    else if (before === this.#largest && this.#bySize[before]?.size === 0) this.#largest = after;
  }
}

/** Returns an idle connection. The busy ones before it move to the end, so that the next search continues after them. */
function findIdle(network: Network): SharedConnection | undefined {
  for (const connection of [...network.values().take(MAX_EXAMINED_OF_NETWORK)]) {
    if (connection.isIdle) return connection;
    network.delete(connection);
    network.add(connection);
  }
  return undefined;
}
