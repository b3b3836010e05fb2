import type { MethodPolicy } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Budget, Decision, Limiter } from "../../infra/rate-limit/limiter.ts";
import type { AppError } from "../../kernel/errors.ts";
import { networkPrefix, sitePrefix } from "../../kernel/network-prefix.ts";
import type { ActiveCall } from "../call/active-call.ts";
import { type BudgetOptions, classOf, createClassBudgets, type ScopeBudgets } from "./class-budgets.ts";
import { rateLimitExceeded } from "./rate-limit-error.ts";

/** The units of AUTH that a wrong credential costs. */
const FAILED_AUTH_COST = 1;
/** The units of AUTH that a call of class REGISTER costs besides its own. */
const REGISTER_AUTH_COST = 2;

/** Enforces the rate limits of calls. */
export interface CallRateLimiter {
  /**
   * Charges the cost of a call to the budget of its caller and to those that the caller shares with others, and records
   * the smallest remainder in the call. Calls of the classes AUTH and REGISTER cost the caller's network, signed in or not.
   * @returns the denial by the AUTH budget of an anonymous caller's IPv6 site, about which the method decides
   * @throws AppError resource_exhausted, with the time to wait, when another budget does not cover the call
   */
  charge(call: ActiveCall, policy: MethodPolicy): Promise<AppError | undefined>;
  /**
   * Charges a wrong credential to the caller's network.
   * @throws AppError resource_exhausted when too many were sent from the caller's address
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

/** Units to spend of the budget of one key. */
interface Charge {
  readonly budget: Budget;
  readonly key: string;
  readonly cost: number;
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

  const request = ({ budget, key, cost }: Charge): Decision | Promise<Decision> =>
    // A call that costs more than the whole budget takes all of it, so that authorization still decides about it.
    limiter.spend(budget, key, Math.min(cost, budget.units));

  /** Charges a budget, and those that its caller shares in the same round trip. */
  const spend = async (call: ActiveCall, own: Charge, ...shared: readonly Charge[]): Promise<void> => {
    const requested = request(own);
    // A denial that this process has cached is not charged to the shared budgets.
    if (!(requested instanceof Promise)) record(call, own, requested);
    if (shared.length === 0) return record(call, own, await requested);
    const [decision, ...others] = await Promise.all([requested, ...shared.map(request)]);
    record(call, own, decision);
    for (const [index, charge] of shared.entries()) {
      const other = others[index];
      if (other !== undefined) record(call, charge, other);
    }
  };

  const chargeAuth = async (call: ActiveCall, cost: number): Promise<void> => {
    // A password guesser may have created any number of accounts.
    if (isSignedIn(call)) await spend(call, callerCharge(budgets.AUTH, call, cost));
    await spend(call, addressCharge(budgets.AUTH.address, call, cost));
  };

  /** Charges the AUTH budget of the site, and returns its denial. */
  const chargeSite = async (call: ActiveCall, cost: number): Promise<AppError | undefined> => {
    const [charge] = siteCharge(budgets.AUTH.site, call, cost);
    if (charge === undefined) return undefined;
    const decision = await request(charge);
    return decision.allowed ? undefined : rateLimitExceeded(charge.budget, decision);
  };

  return {
    async charge(call, policy) {
      const name = classOf(policy);
      if (name === undefined) return undefined;
      const cost = costOf(call, policy);
      if (name === "REGISTER") {
        const { address, site } = budgets.REGISTER;
        await spend(call, addressCharge(address, call, cost), ...siteCharge(site, call, cost));
        await chargeAuth(call, REGISTER_AUTH_COST);
      } else if (name === "AUTH") {
        await chargeAuth(call, cost);
        if (!isSignedIn(call)) return chargeSite(call, cost);
      } else {
        await spend(
          call,
          callerCharge(budgets[name], call, cost),
          ...sharedCharges(budgets[name], call, cost),
        );
      }
      return undefined;
    },

    async chargeFailedAuth(call) {
      // The site is charged, but its budget does not reject the call.
      await chargeSite(call, FAILED_AUTH_COST);
      await spend(call, addressCharge(budgets.AUTH.address, call, FAILED_AUTH_COST));
    },

    assertAuthAllowed(call) {
      const charge = addressCharge(budgets.AUTH.address, call, FAILED_AUTH_COST);
      const decision = limiter.cachedDenial(charge.budget, charge.key, charge.cost);
      if (decision !== undefined) record(call, charge, decision);
    },
  };
}

/** Returns the units that a call costs. An anonymous caller's may be more. */
function costOf({ principal }: ActiveCall, { rateLimit }: MethodPolicy): number {
  const { cost = 0, anonymousCost = 0 } = rateLimit ?? {};
  return principal.kind === "anonymous" ? Math.max(cost, anonymousCost) : cost;
}

const isSignedIn = ({ principal }: ActiveCall): boolean =>
  principal.kind === "account" || principal.kind === "service";

/** Returns the charge to the account or service account, or to an anonymous caller's address or /64 network. */
function callerCharge(budgets: ScopeBudgets, call: ActiveCall, cost: number): Charge {
  const { principal } = call;
  switch (principal.kind) {
    case "account":
      return { budget: budgets.account, key: principal.accountId, cost };
    case "service":
      return { budget: budgets.service, key: principal.keyId, cost };
    case "anonymous":
    case "system":
      return addressCharge(budgets.address, call, cost);
  }
}

/** Returns the charge to a budget of the caller's IPv4 address or IPv6 /64 network. */
function addressCharge(budget: Budget, { clientAddress }: ActiveCall, cost: number): Charge {
  return { budget, key: networkPrefix(clientAddress), cost };
}

/** Returns the charge to a budget of the /48 of an IPv6 caller; none for IPv4. */
function siteCharge(budget: Budget, { clientAddress }: ActiveCall, cost: number): Charge[] {
  const key = sitePrefix(clientAddress);
  return key === undefined ? [] : [{ budget, key, cost }];
}

/**
 * Returns the charges to the budgets that a caller shares. Services and staff share none: they do not register, and the
 * customers behind the address of an office must not keep its staff from working.
 */
function sharedCharges(budgets: ScopeBudgets, call: ActiveCall, cost: number): Charge[] {
  const { principal } = call;
  if (principal.kind === "service") return [];
  if (principal.kind !== "account") return siteCharge(budgets.site, call, cost);
  if (principal.role !== "CUSTOMER") return [];
  const { addressAccounts, siteAccounts } = budgets;
  return [addressCharge(addressAccounts, call, cost), ...siteCharge(siteAccounts, call, cost)];
}

/**
 * Records the decision to report when several budgets apply: the rejection, or the one with the smallest remainder.
 * @throws AppError resource_exhausted for a rejection
 */
function record({ responseMetadata }: ActiveCall, { budget }: Charge, decision: Decision): void {
  const { rateLimit } = responseMetadata;
  if (rateLimit === undefined || !decision.allowed || decision.remaining <= rateLimit.remaining) {
    responseMetadata.rateLimit = decision;
  }
  if (!decision.allowed) throw rateLimitExceeded(budget, decision);
}
