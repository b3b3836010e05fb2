import { existsSync, readFileSync } from "node:fs";
import type { BlockList } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { findPaymentMistakes, type PaymentConfig, readPaymentConfig } from "./config/payment-config.ts";
import { findUnknownVariables, type UnknownVariable } from "./config/unknown-variables.ts";
import { environment } from "./config/variables.ts";
import { StartupError } from "./kernel/errors.ts";
import type { ClassBudget, RateLimitClassName } from "./rpc/rate-limit/class-budgets.ts";

/** Environment variables by their names. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The configuration of the service, read once and frozen. Times are in milliseconds. */
export type Config = Readonly<{
  host: string;
  /** 0 selects any free port. */
  port: number;
  /** The port for health checks alone. When absent, they are served on `port` only. */
  adminPort: number | undefined;
  dataDir: string;
  /** When absent, an embedded PostgreSQL is started under `dataDir`. */
  databaseUrl: string | undefined;
  /** When absent, an embedded Redis-protocol server is started. */
  redisUrl: string | undefined;
  dbPoolMax: number;
  dbPoolWaitMs: number;
  dbStatementTimeoutMs: number;
  /** How concurrent orders of the same products are kept from taking the same units. */
  stockStrategy: "combined" | "pessimistic" | "optimistic";
  /** Time in which a new order has to be paid, in seconds; 0: orders do not expire. */
  reservationSeconds: number;
  /** The lock of hot products that replicas share. */
  stockLock: "off" | "redis";
  /** The service that determines quotes; absent: they are computed with the zones. */
  quoteService: Readonly<{ url: string; token: string | undefined; timeoutMs: number }> | undefined;
  payments: PaymentConfig;
  /** Whether responses are cached. Off for benchmarks and conformance runs. */
  cache: boolean;
  /** The memory limit for cached responses in this process. */
  cacheMemoryBytes: number;
  /** Whether access control is enforced. Off for benchmarks and conformance runs. */
  access: boolean;
  /** Whether rate limits are enforced. Off for benchmarks and conformance runs. */
  limits: boolean;
  /** The budget of an anonymous caller in each rate limit class of the contract. */
  budgets: Readonly<Record<RateLimitClassName, ClassBudget>>;
  /** The budgets that the callers of one network share, as multiples of the budget of one of them. */
  sharedMultiplier: number;
  /** The budgets of accounts and of services as multiples of the anonymous ones, except in the class AUTH. */
  accountMultiplier: number;
  serviceMultiplier: number;
  /** Maximum concurrent calls. Calls beyond it are rejected with UNAVAILABLE. */
  maxCalls: number;
  /** Maximum concurrent calls without a deadline, such as watches of orders, apart from `maxCalls`. */
  maxWatchers: number;
  /** Whether anonymous callers may place orders. */
  guestCheckout: boolean;
  /**
   * The file of the private keys that sign access tokens. Defaults to a file in `dataDir`, generated at the first
   * start.
   */
  signingKeysFile: string;
  /** The issuer and audience of access tokens: `iss` and `aud`. */
  tokenIssuer: string;
  trustedProxies: BlockList;
  corsOrigins: readonly string[];
  /** The request headers of their own that pages of these origins may send. */
  corsHeaders: readonly string[];
  tls: Readonly<{ certFile: string; keyFile: string }> | undefined;
  /** The number of batches of one queue that run concurrently in this process. 0 leaves jobs and events to other processes. */
  workers: number;
  logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace";
  /** Whether an empty shop is filled with demo data. Defaults to true for an embedded database only. */
  seedDemo: boolean;
}>;

/** The configuration of this process, and what it was read from. */
export interface LoadedConfig {
  config: Config;
  env: Environment;
  unknownVariables: readonly UnknownVariable[];
}

/**
 * Reads the configuration of this process: the environment and, for variables that it does not set, the file `.env` in
 * the working directory.
 * @throws StartupError that names all mistakes
 */
export function loadConfig(): LoadedConfig {
  const dotEnv = existsSync(".env") ? parseEnv(readFileSync(".env", "utf8")) : {};
  const env = { ...dotEnv, ...process.env };
  return { config: readConfig(env), env, unknownVariables: findUnknownVariables(env) };
}

/**
 * Reads the configuration from environment variables. An empty variable counts as absent.
 * @throws StartupError that names all mistakes
 */
export function readConfig(env: Environment): Config {
  const present = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ""),
  );
  const result = environment.safeParse(present);
  const mistakes = (result.error?.issues ?? []).map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  if ("TLS_CERT_FILE" in present !== "TLS_KEY_FILE" in present) {
    mistakes.push("  TLS_CERT_FILE: set TLS_CERT_FILE and TLS_KEY_FILE together, or neither");
  }
  const { PORT, ADMIN_PORT } = result.data ?? {};
  if (PORT === ADMIN_PORT && PORT !== 0 && PORT !== undefined) {
    mistakes.push("  ADMIN_PORT: must differ from PORT");
  }
  if (result.data?.STOCK_LOCK === "redis" && result.data.STOCK_STRATEGY !== "combined") {
    mistakes.push("  STOCK_LOCK: redis needs STOCK_STRATEGY=combined");
  }
  if (result.data?.QUOTE_TOKEN !== undefined && result.data.QUOTE_URL === undefined) {
    mistakes.push("  QUOTE_TOKEN: needs QUOTE_URL");
  }
  if (result.data?.QUOTE_URL !== undefined && new URL(result.data.QUOTE_URL).username !== "") {
    mistakes.push("  QUOTE_URL: must not contain a user; set QUOTE_TOKEN instead");
  }
  if (result.success) mistakes.push(...findPaymentMistakes(result.data));
  if (!result.success || mistakes.length > 0) {
    // A mistake may be the consequence of a misspelled name.
    for (const { name, suggestions } of findUnknownVariables(env)) {
      mistakes.push(`  ${name}: is unknown; did you mean ${suggestions.join(", ")}?`);
    }
    throw new StartupError(`The configuration is invalid:\n${mistakes.join("\n")}`);
  }
  const value = result.data;
  return Object.freeze({
    host: value.HOST,
    port: value.PORT,
    adminPort: value.ADMIN_PORT,
    dataDir: value.DATA_DIR,
    databaseUrl: value.DATABASE_URL,
    redisUrl: value.REDIS_URL,
    dbPoolMax: value.DB_POOL_MAX,
    dbPoolWaitMs: value.DB_POOL_WAIT_MS,
    dbStatementTimeoutMs: value.DB_STATEMENT_TIMEOUT_MS,
    stockStrategy: value.STOCK_STRATEGY,
    reservationSeconds: value.ORDER_EXPIRY_MINUTES * 60,
    stockLock: value.STOCK_LOCK,
    quoteService:
      value.QUOTE_URL === undefined
        ? undefined
        : { url: value.QUOTE_URL, token: value.QUOTE_TOKEN, timeoutMs: value.QUOTE_TIMEOUT_MS },
    payments: readPaymentConfig(value),
    cache: value.CACHE,
    cacheMemoryBytes: value.CACHE_MEMORY_MB * 2 ** 20,
    access: value.ACCESS,
    limits: value.LIMITS,
    budgets: {
      READ: value.LIMIT_READ,
      WRITE: value.LIMIT_WRITE,
      INGEST: value.LIMIT_INGEST,
      AUTH: value.LIMIT_AUTH,
      REGISTER: value.LIMIT_REGISTER,
    },
    sharedMultiplier: value.LIMIT_TIMES_SHARED,
    accountMultiplier: value.LIMIT_TIMES_SIGNED_IN,
    serviceMultiplier: value.LIMIT_TIMES_SERVICE,
    maxCalls: value.MAX_CALLS,
    maxWatchers: value.MAX_WATCHERS,
    guestCheckout: value.GUEST_CHECKOUT,
    signingKeysFile: value.SIGNING_KEYS_FILE ?? join(value.DATA_DIR, "signing-keys.json"),
    tokenIssuer: value.TOKEN_ISSUER,
    trustedProxies: value.TRUSTED_PROXIES,
    corsOrigins: value.CORS_ORIGINS,
    corsHeaders: value.CORS_HEADERS,
    tls:
      value.TLS_CERT_FILE !== undefined && value.TLS_KEY_FILE !== undefined
        ? { certFile: value.TLS_CERT_FILE, keyFile: value.TLS_KEY_FILE }
        : undefined,
    workers: value.WORKERS ?? (env.NODE_ENV === "production" ? availableParallelism() : 1),
    logLevel: value.LOG_LEVEL,
    seedDemo: value.SEED_DEMO ?? value.DATABASE_URL === undefined,
  });
}
