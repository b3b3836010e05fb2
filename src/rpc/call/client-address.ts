import { type BlockList, isIP, SocketAddress } from "node:net";

/** The most proxies in a row that are resolved; longer chains are mistakes or forged. */
const MAX_HOPS = 20;

/**
 * Returns the address of the client: the first address of `X-Forwarded-For`, read from the right, that is not a trusted
 * proxy. Everything to the left of it, or of a malformed entry, may be forged and is ignored.
 *
 * @param peer the address of the socket's peer; undefined when it is closed already
 */
export function resolveClientAddress(
  peer: string | undefined,
  forwardedFor: string | string[] | undefined,
  trustedProxies: BlockList,
): string {
  let address = canonicalAddress(peer ?? "") ?? "";
  if (forwardedFor === undefined) return address;
  let rest = typeof forwardedFor === "string" ? forwardedFor : forwardedFor.join(",");
  for (let hop = 0; hop < MAX_HOPS && isTrustedProxy(address, trustedProxies); hop += 1) {
    const comma = rest.lastIndexOf(",");
    const next = canonicalAddress(withoutPort(rest.slice(comma + 1).trim()));
    if (next === undefined) return address;
    address = next;
    if (comma === -1) return address;
    rest = rest.slice(0, comma);
  }
  return address;
}

/** Returns whether a canonical address is that of a trusted proxy. */
export function isTrustedProxy(address: string, trustedProxies: BlockList): boolean {
  return address !== "" && trustedProxies.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Removes the port that some proxies write: `192.0.2.1:1234`, `[2001:db8::1]:1234`. */
function withoutPort(text: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
}

/** Returns the canonical text of an address: IPv4-mapped IPv6 as IPv4, no zone, RFC 5952. Undefined for other text. */
export function canonicalAddress(text: string): string | undefined {
  const version = isIP(text);
  if (version === 0) return undefined;
  if (version === 4) return text;
  const [withoutZone = ""] = text.split("%");
  const { address } = new SocketAddress({ address: withoutZone, family: "ipv6" });
  const mapped = address.startsWith("::ffff:") ? address.slice(7) : "";
  return isIP(mapped) === 4 ? mapped : address;
}
