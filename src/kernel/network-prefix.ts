import { isIPv6 } from "node:net";

/**
 * Returns the part of an address that identifies a caller: an IPv4 address, or the /64 prefix of an IPv6 address, since
 * a network assigns its users whole prefixes.
 * @param address in canonical form: IPv4-mapped addresses as IPv4, IPv6 as in RFC 5952
 */
export function networkPrefix(address: string): string {
  if (!isIPv6(address)) return address;
  const [head = "", tail] = address.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const gap = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => "0");
  return `${[...front, ...gap, ...back].slice(0, 4).join(":")}::/64`;
}
