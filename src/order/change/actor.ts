import type { Principal } from "../../kernel/principal.ts";
import { principalName } from "../../kernel/principal.ts";

/** Who has caused a change of an order. UNKNOWN: the order is older than its history. */
export type ActorKind = "CUSTOMER" | "GUEST" | "STAFF" | "SERVICE" | "SYSTEM" | "UNKNOWN";

/**
 * Returns the stored form of a caller: its kind and, for staff and services, its name. A customer that changes the order
 * of someone else holds its order token, and is its guest.
 * @param customerId customer of the order; empty for the order of a guest
 */
export function actorOf(principal: Principal, customerId: string): string {
  switch (principal.kind) {
    case "account":
      if (principal.role !== "CUSTOMER") return `STAFF ${principalName(principal)}`;
      return principal.customerId === customerId ? "CUSTOMER" : "GUEST";
    case "service":
      return `SERVICE ${principalName(principal)}`;
    case "anonymous":
      return "GUEST";
    case "system":
      return "SYSTEM";
  }
}
