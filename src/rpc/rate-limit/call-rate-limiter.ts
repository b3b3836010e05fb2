import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Budget, Decision, Limiter } from "../../infra/rate-limit/limiter.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";
import type { ActiveCall } from "../call/active-call.ts";
import { type BudgetOptions, type BudgetScope, classOf, createClassBudgets } from "./class-budgets.ts";
import { rateLimitExceeded } from "./rate-limit-error.ts";

/** The units of AUTH that a wrong credential costs. */
const FAILED_AUTH_COST = 1;

/** Enforces the rate limits of calls. */
export interface CallRateLimiter {
  /**
   * Charges the cost of a call to its caller's budget, and records the remaining budget in the call. Methods of class
   * AUTH, which check or set a password, cost the caller's address too, signed in or not.
   * @throws AppError resource_exhausted, with the time to wait, when the budget does not cover it
   */
  charge(call: ActiveCall, policy: MethodPolicy): Promise<void>;
  /**
   * Charges a wrong credential to the caller's address.
   * @throws AppError resource_exhausted when too many were sent from there
   */
  chargeFailedAuth(call: ActiveCall): Promise<void>;
  /**
   * Checks, free of charge, that not too many wrong credentials were sent from the caller's address.
   * @throws AppError resource_exhausted when there were
   */
  assertAuthAllowed(call: ActiveCall): void;
}

/** Dependencies of the rate limiter. */
export interface CallRateLimiterOptions extends BudgetOptions {
  limiter: Pick<Limiter, "spend" | "cachedDenial">;
  /** The policies of all methods, whose costs the budgets must cover. */
  policies: Iterable<MethodPolicy>;
}

/**
 * Creates the rate limiter.
 * @throws StartupError for budgets that could never cover a call
 */
export function createCallRateLimiter({
  limiter,
  policies,
  ...options
}: CallRateLimiterOptions): CallRateLimiter {
  const budgets = createClassBudgets(options, policies);
  const addressAuthBudget = budgets.AUTH.address;
  const spend = async (call: ActiveCall, budget: Budget, key: string, cost: number): Promise<void> => {
    // A call that costs more than the whole budget takes all of it, so that authorization still decides about it.
    const spent = limiter.spend(budget, key, Math.min(cost, budget.units));
    const decision = spent instanceof Promise ? await spent : spent;
    call.responseMetadata.rateLimit = stricter(call.responseMetadata.rateLimit, decision);
    if (!decision.allowed) throw rateLimitExceeded(budget, decision);
  };
  return {
    async charge(call, policy) {
      const name = classOf(policy);
      if (name === undefined) return;
      const cost = policy.rateLimit?.cost ?? 0;
      const { scope, key } = budgetScopeOf(call);
      await spend(call, budgets[name][scope], key, cost);
      // A password guesser may have created any number of accounts.
      if (name === "AUTH" && scope !== "address") {
        await spend(call, addressAuthBudget, networkPrefix(call.clientAddress), cost);
      }
    },
    chargeFailedAuth: (call) =>
      spend(call, addressAuthBudget, networkPrefix(call.clientAddress), FAILED_AUTH_COST),
    assertAuthAllowed(call) {
      const decision = limiter.cachedDenial(
        addressAuthBudget,
        networkPrefix(call.clientAddress),
        FAILED_AUTH_COST,
      );
      if (decision === undefined) return;
      call.responseMetadata.rateLimit = decision;
      throw rateLimitExceeded(addressAuthBudget, decision);
    },
  };
}

/**
 * Returns the budget that a call is charged to: of the account or service account, or of an anonymous caller's network.
 */
function budgetScopeOf({ principal, clientAddress }: ActiveCall): { scope: BudgetScope; key: string } {
  switch (principal.kind) {
    case "account":
      return { scope: "account", key: principal.accountId };
    case "service":
      return { scope: "service", key: principal.keyId };
    case "anonymous":
    case "system":
      return { scope: "address", key: networkPrefix(clientAddress) };
  }
}

/** Returns the decision to report when several budgets apply: the rejection, or the one with the smallest rest. */
function stricter(recorded: Decision | undefined, decision: Decision): Decision {
  return recorded === undefined || !decision.allowed || decision.remaining <= recorded.remaining
    ? decision
    : recorded;
}
