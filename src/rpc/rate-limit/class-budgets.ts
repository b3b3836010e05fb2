import { type MethodPolicy, RateLimitClass } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Budget } from "../../infra/rate-limit/limiter.ts";
import { StartupError } from "../../kernel/errors.ts";

/** The rate limit classes of the contract. */
export type RateLimitClassName = "READ" | "WRITE" | "INGEST" | "AUTH";

/** The kind of caller whose budget a call is charged to. */
export type BudgetScope = "address" | "account" | "service";

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
  /** The budgets of accounts, as multiples of the anonymous ones; AUTH is the same for all. */
  readonly accountMultiplier: number;
  /** The budgets of service accounts, as multiples of the anonymous ones; AUTH is the same for all. */
  readonly serviceMultiplier: number;
}

/** The budgets of one class, by the kind of caller. */
export type ScopeBudgets = Readonly<Record<BudgetScope, Budget>>;

const CLASS_NAMES: ReadonlyMap<RateLimitClass | undefined, RateLimitClassName> = new Map([
  [RateLimitClass.READ, "READ"],
  [RateLimitClass.WRITE, "WRITE"],
  [RateLimitClass.INGEST, "INGEST"],
  [RateLimitClass.AUTH, "AUTH"],
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
  };
  const highest = highestCosts(policies);
  const errors = [...CLASS_NAMES.values()].flatMap((name) => {
    const largest = Math.max(...Object.values(budgets[name]).map(({ units }) => units));
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
  // A password guesser may be signed in, so an account does not raise AUTH.
  const times = (factor: number) => (name === "AUTH" ? units : units * factor);
  return {
    address: { name: `${name}:address`, units, windowMs, failClosed },
    account: { name: `${name}:account`, units: times(options.accountMultiplier), windowMs, failClosed },
    service: { name: `${name}:service`, units: times(options.serviceMultiplier), windowMs, failClosed },
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
