import { LRUCache } from "lru-cache";
import { callerNetwork } from "../../kernel/network-prefix.ts";
import { anonymous, type Principal } from "../../kernel/principal.ts";
import type { ActiveCall } from "./active-call.ts";

/** Maximum number of credentials whose principals are kept. */
const MAX_CREDENTIALS = 10_000;

/**
 * Identifies callers for the sharing of slots: accounts and service accounts, and the networks of other callers. IPv6
 * networks of one /48 are one caller, because a single customer of a provider may have all of them.
 */
export class CallerKeys {
  /** The principals of credentials that were valid at their last use, by Authorization header. */
  readonly #principals = new LRUCache<string, Principal>({ max: MAX_CREDENTIALS });

  /** Keeps the principal of an authenticated call. */
  add({ setup, principal }: ActiveCall): void {
    const { authorization } = setup;
    if (authorization === undefined || this.#principals.get(authorization) === principal) return;
    this.#principals.set(authorization, principal);
  }

  /**
   * Returns the key of a call's caller. Before authentication the principal of the last call with the same credential
   * counts; callers in one network whose credentials have not been seen yet are one caller.
   */
  keyOf(call: ActiveCall): string {
    const principal = call.hasPrincipal ? call.principal : this.presumedPrincipal(call);
    if (principal?.kind === "account") return principal.accountId;
    if (principal?.kind === "service") return principal.keyId;
    const network = callerNetwork(call.clientAddress);
    return principal === undefined ? `credential@${network}` : network;
  }

  /** Returns the principal that a call will probably have; undefined for a credential that has not been seen yet. */
  presumedPrincipal({ setup }: ActiveCall): Principal | undefined {
    return setup.authorization === undefined ? anonymous : this.#principals.get(setup.authorization);
  }
}
