import type { Principal } from "../../kernel/principal.ts";
import { principalName } from "../../kernel/principal.ts";

/** Who has caused a change of an order. UNKNOWN: the order is older than its history. */
export type ActorKind = "CUSTOMER" | "GUEST" | "STAFF" | "SERVICE" | "SYSTEM" | "UNKNOWN";

/** Returns the stored form of a caller: its kind and, for staff and services, its name. */
export function actorOf(principal: Principal): string {
  switch (principal.kind) {
    case "account":
      return principal.role === "CUSTOMER" ? "CUSTOMER" : `STAFF ${principalName(principal)}`;
    case "service":
      return `SERVICE ${principalName(principal)}`;
    case "anonymous":
      return "GUEST";
    case "system":
      return "SYSTEM";
  }
}
