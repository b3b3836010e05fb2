import { type BlockList, isIP, SocketAddress } from "node:net";

/** Proxies in a row that are looked through. More than that is a mistake, or a lie. */
const maxHops = 20;

/**
 * The address of the caller. `X-Forwarded-For` is believed as far as proxies of ours wrote it: read from the
 * right, the first address that is no trusted proxy is the caller. What stands left of it, or left of
 * anything that is no address, anybody may have written.
 *
 * @param peer the address at the other end of the socket; undefined when it has gone already
 */
export function clientAddressOf(
  peer: string | undefined,
  forwardedFor: string | string[] | undefined,
  trusted: BlockList,
): string {
  let address = canonical(peer ?? "") ?? "";
  if (forwardedFor === undefined) return address;
  let rest = typeof forwardedFor === "string" ? forwardedFor : forwardedFor.join(",");
  for (let hop = 0; hop < maxHops && isTrusted(address, trusted); hop += 1) {
    const comma = rest.lastIndexOf(",");
    const next = canonical(withoutPort(rest.slice(comma + 1).trim()));
    if (next === undefined) return address;
    address = next;
    if (comma === -1) return address;
    rest = rest.slice(0, comma);
  }
  return address;
}

function isTrusted(address: string, trusted: BlockList): boolean {
  return address !== "" && trusted.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
}

/** Some proxies write ports: `192.0.2.1:1234`, `[2001:db8::1]:1234`. */
function withoutPort(text: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(text)?.[1] ?? /^([\d.]+):\d+$/.exec(text)?.[1] ?? text;
}

/** One spelling for one address: IPv4 in IPv6 as IPv4, no zone, RFC 5952. Undefined for anything else. */
function canonical(text: string): string | undefined {
  const version = isIP(text);
  if (version === 0) return undefined;
  if (version === 4) return text;
  const [bare = ""] = text.split("%");
  const { address } = new SocketAddress({ address: bare, family: "ipv6" });
  const mapped = address.startsWith("::ffff:") ? address.slice(7) : "";
  return isIP(mapped) === 4 ? mapped : address;
}
