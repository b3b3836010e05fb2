import type { Principal } from "../../kernel/principal.ts";
import { principalName } from "../../kernel/principal.ts";

/** Who has caused a change of an order. UNKNOWN: the order is older than its history. */
export type ActorKind = "CUSTOMER" | "GUEST" | "STAFF" | "SERVICE" | "SYSTEM" | "UNKNOWN";

/** Who has caused a change, as a reader may see it. */
export interface Actor {
  actor: ActorKind;
  /** Name of the account or API key of staff and services; empty for readers who are customers or guests. */
  actorId: string;
}

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

/**
 * Returns the actor of a stored form.
 * @param stored null or empty: unknown
 * @param isForStaff whether it names accounts and API keys
 */
export function readActor(stored: string | null, isForStaff: boolean): Actor {
  const [kind, actorId = ""] = (stored ?? "").split(" ");
  return { actor: toActorKind(kind), actorId: isForStaff ? actorId : "" };
}

function toActorKind(text: string | undefined): ActorKind {
  switch (text) {
    case "CUSTOMER":
    case "GUEST":
    case "STAFF":
    case "SERVICE":
    case "SYSTEM":
      return text;
    default:
      return "UNKNOWN";
  }
}
