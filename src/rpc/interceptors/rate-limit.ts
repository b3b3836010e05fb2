import type { Interceptor } from "@connectrpc/connect";
import { type MethodPolicy, RateLimitClass } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { Budget, Decision, Limiter } from "../../infra/rate-limit/limiter.ts";
import { AppError, StartupError } from "../../kernel/errors.ts";
import { networkPrefix } from "../../kernel/network-prefix.ts";
import {
  API_KEY_ENDED,
  REFRESH_TOKEN_REUSED,
  SESSION_ENDED,
  SIGN_IN_REQUIRED,
  TOKEN_EXPIRED,
} from "../../kernel/principal.ts";
import { type ActiveCall, callKey, type QuotaNote } from "../call/active-call.ts";

/** Holds calls to budgets. */
export interface CallLimits {
  /**
   * Takes what a call costs from its caller's budget, and notes in the call what is left. What checks or sets a password
   * costs the caller's address as well, whoever they are.
   * @throws AppError exhausted, with the time to wait, when that is too little
   */
  spend(call: ActiveCall, policy: MethodPolicy): Promise<void>;
  /**
   * Takes what showing a wrong credential costs from the address.
   * @throws AppError exhausted when too many were shown from there
   */
  punish(call: ActiveCall): Promise<void>;
  /**
   * Turns an address away, at no cost to anybody, from which too many wrong credentials were shown.
   * @throws AppError exhausted
   */
  assertTrusted(call: ActiveCall): void;
}

/** The reasons of who has shown what was good once, and so has guessed nothing. */
const ENDED: ReadonlySet<string> = new Set([
  ...[TOKEN_EXPIRED, SESSION_ENDED, REFRESH_TOKEN_REUSED, API_KEY_ENDED],
]);

/** Whether an error says that a password, token or key was wrong. Who has shown none has guessed nothing either. */
export function isWrongCredential(error: unknown): boolean {
  if (!(error instanceof AppError) || error.code !== "unauthenticated") return false;
  return error.details.reason !== SIGN_IN_REQUIRED && !isEndedCredential(error);
}

/** Whether an error says that a token or key was good once, and is no longer. */
export function isEndedCredential(error: unknown): boolean {
  return error instanceof AppError && error.code === "unauthenticated" && ENDED.has(error.details.reason);
}

/** The size of a budget, for who is not signed in. */
export interface ClassBudget {
  /** Units of cost in any `windowMs` milliseconds, which are whole seconds. */
  readonly units: number;
  readonly windowMs: number;
  /** While Redis is away: refuse. */
  readonly failClosed: boolean;
}

/** The classes of the contract. */
export type RateLimitClassName = "READ" | "WRITE" | "INGEST" | "AUTH";
/** Whose budget a call is paid from. */
type Tier = "address" | "account" | "service";

export interface CallLimitsOptions {
  limiter: Pick<Limiter, "spend" | "cachedDenial">;
  budgets: Readonly<Record<RateLimitClassName, ClassBudget>>;
  /** How many times a budget is what accounts and other services have of it; but for AUTH. */
  signedInTimes: number;
  serviceTimes: number;
  /** What is held to the budgets. */
  policies: Iterable<MethodPolicy>;
}

/** @throws StartError for budgets from which a call could never be paid */
export function createCallLimits({ limiter, policies, ...sizes }: CallLimitsOptions): CallLimits {
  checkCosts(policies, sizes);
  const budgets = {
    READ: budgetsOf("READ", sizes),
    WRITE: budgetsOf("WRITE", sizes),
    INGEST: budgetsOf("INGEST", sizes),
    AUTH: budgetsOf("AUTH", sizes),
  };
  const take = async (call: ActiveCall, budget: Budget, key: string, cost: number): Promise<void> => {
    // Who could never pay gives all they have, and is then told whether they may call it at all.
    const decided = limiter.spend(budget, key, Math.min(cost, budget.units));
    const verdict = decided instanceof Promise ? await decided : decided;
    call.quota = tighter(call.quota, verdict);
    if (!verdict.allowed) throw tooMany(budget, verdict);
  };
  return {
    async spend(call, { rateLimit }) {
      const name = classNames.get(rateLimit?.class);
      if (rateLimit === undefined || name === undefined) return;
      const { tier, key } = payerOf(call);
      const { [tier]: own, address } = budgets[name];
      await take(call, own, key, rateLimit.cost);
      // Whoever guesses passwords may have made as many accounts as they like.
      if (name === "AUTH" && own !== address) {
        await take(call, address, networkPrefix(call.clientAddress), rateLimit.cost);
      }
    },
    punish: (call) =>
      take(call, budgets.AUTH.address, networkPrefix(call.clientAddress), WRONG_CREDENTIAL_COST),
    assertTrusted(call) {
      const budget = budgets.AUTH.address;
      const verdict = limiter.cachedDenial(budget, networkPrefix(call.clientAddress), WRONG_CREDENTIAL_COST);
      if (verdict === undefined) return;
      call.quota = verdict;
      throw tooMany(budget, verdict);
    },
  };
}

/**
 * Makes a credential that a handler finds to be wrong cost what it costs elsewhere. One that was good once costs no more
 * than the call has already.
 */
export function createLimitsInterceptor(limits: CallLimits): Interceptor {
  return (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      const call = request.contextValues.get(callKey);
      if (call !== undefined && isWrongCredential(error)) await limits.punish(call);
      throw error;
    }
  };
}

const WRONG_CREDENTIAL_COST = 1;

const classNames: ReadonlyMap<RateLimitClass | undefined, RateLimitClassName> = new Map([
  [RateLimitClass.READ, "READ"],
  [RateLimitClass.WRITE, "WRITE"],
  [RateLimitClass.INGEST, "INGEST"],
  [RateLimitClass.AUTH, "AUTH"],
]);

type Sizes = Pick<CallLimitsOptions, "budgets" | "signedInTimes" | "serviceTimes">;

function budgetsOf(name: RateLimitClassName, sizes: Sizes): Readonly<Record<Tier, Budget>> {
  const { units, windowMs, failClosed } = sizes.budgets[name];
  // Whoever guesses passwords may have an account too.
  const times = (factor: number) => (name === "AUTH" ? units : units * factor);
  return {
    address: { name: `${name}:address`, units, windowMs, failClosed },
    account: { name: `${name}:account`, units: times(sizes.signedInTimes), windowMs, failClosed },
    service: { name: `${name}:service`, units: times(sizes.serviceTimes), windowMs, failClosed },
  };
}

function checkCosts(policies: Iterable<MethodPolicy>, sizes: Sizes): void {
  const highest: Partial<Record<RateLimitClassName, number>> = {};
  for (const { rateLimit } of policies) {
    const name = classNames.get(rateLimit?.class);
    if (rateLimit !== undefined && name !== undefined) {
      highest[name] = Math.max(highest[name] ?? 0, rateLimit.cost);
    }
  }
  const faults = [...classNames.values()].flatMap((name) => {
    const largest = Math.max(...Object.values(budgetsOf(name, sizes)).map(({ units }) => units));
    const cost = highest[name] ?? 0;
    return cost > largest
      ? [`LIMIT_${name}: a call may cost ${cost}, and the largest budget is ${largest}`]
      : [];
  });
  if (faults.length > 0) throw new StartupError(`Some calls could never be made:\n  ${faults.join("\n  ")}`);
}

function payerOf({ principal, clientAddress }: ActiveCall): { tier: Tier; key: string } {
  switch (principal.kind) {
    case "account":
      return { tier: "account", key: principal.accountId };
    case "service":
      return { tier: "service", key: principal.keyId };
    case "anonymous":
    case "system":
      return { tier: "address", key: networkPrefix(clientAddress) };
  }
}

/** What a caller is told who is held to several budgets: why they are refused, or which is the first to be spent. */
function tighter(noted: QuotaNote | undefined, verdict: Decision): QuotaNote {
  return noted === undefined || !verdict.allowed || verdict.remaining <= noted.remaining ? verdict : noted;
}

function tooMany({ name, units, windowMs }: Budget, { retryAfterMs = 0 }: Decision): AppError {
  const [className = ""] = name.split(":");
  const seconds = Math.ceil(retryAfterMs / 1_000);
  return new AppError(
    "exhausted",
    `Too many calls: ${units} units of ${className} may be spent in ${windowMs / 1_000} s. Try again in ${seconds} s.`,
    {
      reason: "RATE_LIMITED",
      quota: name.replace(":", "/"),
      metadata: { class: className, limit: String(units), window_ms: String(windowMs) },
      retryAfterMs,
    },
  );
}
