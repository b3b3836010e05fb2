import type { BlockList } from "node:net";
import { callerNetwork, networkPrefix, sitePrefix } from "../../../kernel/network-prefix.ts";
import { canonicalAddress, isTrustedProxy } from "../../call/client-address.ts";

/** The peer of a connection, and the groups of addresses to which it belongs. */
export interface Peer {
  /** The canonical address; "" when the peer has closed the connection already. */
  readonly address: string;
  /** The IPv4 address, or the /64 prefix of an IPv6 address. */
  readonly holder: string;
  /** The /48 prefix of an IPv6 address. */
  readonly site: string | undefined;
  /** The IPv4 address, or the /48 prefix of an IPv6 address. */
  readonly network: string;
  /** Whether it is a proxy of the operator, whose connections carry the calls of many callers. */
  readonly isTrusted: boolean;
}

/** Creates a peer from the remote address of a socket. */
export function createPeer(remoteAddress: string | undefined, trustedProxies: BlockList): Peer {
  const address = canonicalAddress(remoteAddress ?? "") ?? "";
  return {
    address,
    holder: networkPrefix(address),
    site: sitePrefix(address),
    network: callerNetwork(address),
    isTrusted: isTrustedProxy(address, trustedProxies),
  };
}
