import { type MethodPolicy, RateLimitClass } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Budget } from "../../infra/rate-limit/limiter.ts";
import { StartupError } from "../../kernel/errors.ts";

/** The rate limit classes of the contract. */
export type RateLimitClassName = "READ" | "WRITE" | "INGEST" | "AUTH" | "REGISTER";

/** The kind of caller that has a budget of its own: an IPv4 address or IPv6 /64 network, an account, a service account. */
export type CallerScope = "address" | "account" | "service";

/**
 * The callers who share a budget: the /64 networks of an IPv6 /48 (`site`), and the accounts that call from one address
 * or site. Without these a caller multiplies its budget by networks or accounts of its own.
 */
export type SharedScope = "site" | "addressAccounts" | "siteAccounts";

/** The budget of a class for anonymous callers. */
export interface ClassBudget {
  /** Units of cost in any `windowMs` milliseconds, which are whole seconds. */
  readonly units: number;
  readonly windowMs: number;
  /** Whether calls are rejected while Redis is unavailable. */
  readonly failClosed: boolean;
}

/** The configured budgets of all classes. */
export interface BudgetOptions {
  readonly budgets: Readonly<Record<RateLimitClassName, ClassBudget>>;
  /**
   * The budgets of a site and of all accounts at one address, as multiples of those of one /64 network and of one
   * account. The budgets of all accounts of a site are as many times those of one address.
   */
  readonly sharedMultiplier: number;
  /** The budgets of accounts, as multiples of the anonymous ones; AUTH and REGISTER are the same for all. */
  readonly accountMultiplier: number;
  /** The budgets of service accounts, as multiples of the anonymous ones; AUTH and REGISTER are the same for all. */
  readonly serviceMultiplier: number;
}

/** The budgets of one class, by the kind of caller. */
export type ScopeBudgets = Readonly<Record<CallerScope | SharedScope, Budget>>;

const CLASS_NAMES: ReadonlyMap<RateLimitClass | undefined, RateLimitClassName> = new Map([
  [RateLimitClass.READ, "READ"],
  [RateLimitClass.WRITE, "WRITE"],
  [RateLimitClass.INGEST, "INGEST"],
  [RateLimitClass.AUTH, "AUTH"],
  [RateLimitClass.REGISTER, "REGISTER"],
]);

/** Returns the class of a method; undefined when its policy has no rate limit. */
export function classOf({ rateLimit }: MethodPolicy): RateLimitClassName | undefined {
  return CLASS_NAMES.get(rateLimit?.class);
}

/**
 * Creates the budgets of all classes.
 * @throws StartupError when a method costs more than the largest budget of its class
 */
export function createClassBudgets(
  options: BudgetOptions,
  policies: Iterable<MethodPolicy>,
): Readonly<Record<RateLimitClassName, ScopeBudgets>> {
  const budgets = {
    READ: scopeBudgets("READ", options),
    WRITE: scopeBudgets("WRITE", options),
    INGEST: scopeBudgets("INGEST", options),
    AUTH: scopeBudgets("AUTH", options),
    REGISTER: scopeBudgets("REGISTER", options),
  };
  const highest = highestCosts(policies);
  const errors = [...CLASS_NAMES.values()].flatMap((name) => {
    const { address, account, service } = budgets[name];
    const largest = Math.max(address.units, account.units, service.units);
    const cost = highest[name] ?? 0;
    return cost > largest
      ? [`LIMIT_${name}: a call may cost ${cost} units, and the largest budget is ${largest}`]
      : [];
  });
  if (errors.length > 0) {
    throw new StartupError(`Rate limits are too small for some methods:\n  ${errors.join("\n  ")}`);
  }
  return budgets;
}

function scopeBudgets(name: RateLimitClassName, options: BudgetOptions): ScopeBudgets {
  const { units, windowMs, failClosed } = options.budgets[name];
  const { sharedMultiplier, accountMultiplier, serviceMultiplier } = options;
  // A caller who guesses passwords or creates accounts may be signed in, so an account does not raise these budgets.
  const isPerNetwork = name === "AUTH" || name === "REGISTER";
  const accountUnits = isPerNetwork ? units : units * accountMultiplier;
  const serviceUnits = isPerNetwork ? units : units * serviceMultiplier;
  const budget = (scope: string, units: number): Budget => ({
    name: `${name}:${scope}`,
    units,
    windowMs,
    failClosed,
  });
  return {
    address: budget("address", units),
    site: budget("site", units * sharedMultiplier),
    account: budget("account", accountUnits),
    addressAccounts: budget("address-accounts", accountUnits * sharedMultiplier),
    siteAccounts: budget("site-accounts", accountUnits * sharedMultiplier ** 2),
    service: budget("service", serviceUnits),
  };
}

function highestCosts(policies: Iterable<MethodPolicy>): Partial<Record<RateLimitClassName, number>> {
  const highest: Partial<Record<RateLimitClassName, number>> = {};
  for (const policy of policies) {
    const name = classOf(policy);
    if (name !== undefined) highest[name] = Math.max(highest[name] ?? 0, policy.rateLimit?.cost ?? 0);
  }
  return highest;
}
