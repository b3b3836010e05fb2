import { BlockList } from "node:net";
import type { SharedConnection } from "../../../src/rpc/server/connections/connection-shares.ts";
import { createPeer, type Peer } from "../../../src/rpc/server/connections/peer.ts";

/** The proxy that `peerAt` trusts. */
export const TRUSTED_PROXY = "10.0.0.1";

const trustedProxies = new BlockList();
trustedProxies.addAddress(TRUSTED_PROXY);

/** Returns the peer at an address. */
export function peerAt(address: string): Peer {
  return createPeer(address, trustedProxies);
}

/** A connection without a socket. */
export interface FakeConnection extends SharedConnection {
  isIdle: boolean;
  isClosed: boolean;
}

/** Creates an idle connection from an address. */
export function fakeConnection(address: string): FakeConnection {
  return {
    peer: peerAt(address),
    isIdle: true,
    isClosed: false,
    close() {
      this.isClosed = true;
    },
  };
}
