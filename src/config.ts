import { existsSync, readFileSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { MINUTE_MS } from "./kernel/durations.ts";
import { StartupError } from "./kernel/errors.ts";
import type { ClassBudget, RateLimitClassName } from "./rpc/rate-limit/class-budgets.ts";

/** Parses a whole number in a range, written in digits only. */
const integer = (min: number, max: number) =>
  z.string().transform((text, context) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({ code: "custom", message: `must be a whole number from ${min} to ${max}` });
    return z.NEVER;
  });
const list = z.string().transform((value) =>
  value
    .split(",")
    .map((item) => item.trim())
    .filter(Boolean),
);
const oneOf = <const Value extends string>(...values: Value[]) =>
  z.enum(values, { error: `must be one of ${values.join(", ")}` });
const onOff = oneOf("on", "off").transform((value) => value === "on");
const url = (...protocols: string[]) =>
  z.string().refine((value) => URL.canParse(value) && protocols.includes(new URL(value).protocol), {
    error: `must be a URL that starts with ${protocols.map((name) => `${name}//`).join(" or ")}`,
  });

const origins = list.refine(
  (items) => items.every((item) => item === "*" || (URL.canParse(item) && new URL(item).origin === item)),
  { error: "must be origins such as https://shop.example, separated by commas, or *" },
);

const proxies = list.transform((items, context) => {
  const blocks = new BlockList();
  for (const item of items) {
    const [, address = "", bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(item) ?? [];
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    const maxPrefix = family === "ipv6" ? 128 : 32;
    const prefix = bits === undefined ? maxPrefix : Number(bits);
    if (isIP(address) === 0 || prefix > maxPrefix) {
      context.addIssue({ code: "custom", message: `${item} is not an address or CIDR such as 10.0.0.0/8` });
      return z.NEVER;
    }
    blocks.addSubnet(address, prefix, family);
  }
  return blocks;
});

/** Parses the budget of a rate limit class, such as `100/60`: units of cost, and the seconds of the window. */
const budget = z.string().transform((text, context): ClassBudget => {
  const [, units = "", seconds = "", mode = "open"] =
    /^(\d{1,9})\/(\d{1,5})(?:\/(open|closed))?$/.exec(text) ?? [];
  if (Number(units) >= 1 && Number(seconds) >= 1) {
    return { units: Number(units), windowMs: Number(seconds) * 1_000, failClosed: mode === "closed" };
  }
  const message =
    "must be units/seconds such as 100/60; add /closed to reject calls while Redis is unavailable";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
const defaultBudget = (units: number): ClassBudget => ({ units, windowMs: MINUTE_MS, failClosed: false });

/** The environment variables of the service with their defaults; `.env.example` lists the same. */
const environment = z.object({
  HOST: z.string().min(1).default("127.0.0.1"),
  PORT: integer(0, 65_535).default(8080),
  DATA_DIR: z.string().min(1).default(".data"),
  DATABASE_URL: url("postgres:", "postgresql:").optional(),
  REDIS_URL: url("redis:", "rediss:").optional(),
  DB_POOL_MAX: integer(1, 500).default(20),
  DB_POOL_WAIT_MS: integer(1, 30_000).default(2_000),
  DB_STATEMENT_TIMEOUT_MS: integer(10, 600_000).default(5_000),
  CACHE: onOff.default(true),
  CACHE_MEMORY_MB: integer(1, 65_536).default(256),
  ACCESS: onOff.default(true),
  LIMITS: onOff.default(true),
  LIMIT_READ: budget.default(defaultBudget(100)),
  LIMIT_WRITE: budget.default(defaultBudget(30)),
  LIMIT_INGEST: budget.default(defaultBudget(600)),
  LIMIT_AUTH: budget.default(defaultBudget(10)),
  LIMIT_TIMES_SIGNED_IN: integer(1, 1_000_000).default(10),
  LIMIT_TIMES_SERVICE: integer(1, 1_000_000).default(100),
  MAX_CALLS: integer(1, 100_000).default(256),
  SIGNING_KEYS_FILE: z.string().min(1).optional(),
  TOKEN_ISSUER: z.string().min(1).max(200).default("cartwright"),
  TRUSTED_PROXIES: proxies.default(new BlockList()),
  CORS_ORIGINS: origins.default([]),
  TLS_CERT_FILE: z.string().min(1).optional(),
  TLS_KEY_FILE: z.string().min(1).optional(),
  WORKERS: integer(0, 500).optional(),
  LOG_LEVEL: oneOf("fatal", "error", "warn", "info", "debug", "trace").default("info"),
  SEED_DEMO: onOff.optional(),
});

/** The names of all environment variables that the service reads. */
export const variableNames: readonly string[] = Object.keys(environment.shape);

/** The configuration of the service, read once and frozen. Times are in milliseconds. */
export type Config = Readonly<{
  host: string;
  /** 0 selects any free port. */
  port: number;
  dataDir: string;
  /** When absent, an embedded PostgreSQL is started under `dataDir`. */
  databaseUrl: string | undefined;
  /** When absent, an embedded Redis-protocol server is started. */
  redisUrl: string | undefined;
  dbPoolMax: number;
  dbPoolWaitMs: number;
  dbStatementTimeoutMs: number;
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
  /** The budgets of accounts and of services as multiples of the anonymous ones, except in the class AUTH. */
  accountMultiplier: number;
  serviceMultiplier: number;
  /** Maximum concurrent calls. Calls beyond it are rejected with UNAVAILABLE. */
  maxCalls: number;
  /**
   * The file of the private keys that sign access tokens. Defaults to a file in `dataDir`, generated at the first
   * start.
   */
  signingKeysFile: string;
  /** The issuer and audience of access tokens: `iss` and `aud`. */
  tokenIssuer: string;
  trustedProxies: BlockList;
  corsOrigins: readonly string[];
  tls: Readonly<{ certFile: string; keyFile: string }> | undefined;
  /** The number of jobs of one queue that run concurrently in this process. 0 leaves all jobs to other processes. */
  workers: number;
  logLevel: "fatal" | "error" | "warn" | "info" | "debug" | "trace";
  /** Whether an empty shop is filled with demo data. Defaults to true for an embedded database only. */
  seedDemo: boolean;
}>;

/** Reads the variables of the file `.env` in the working directory; returns none when there is no such file. */
export function readDotEnv(): Record<string, string | undefined> {
  return existsSync(".env") ? parseEnv(readFileSync(".env", "utf8")) : {};
}

/**
 * Reads the configuration from environment variables. An empty variable counts as absent.
 * @throws StartupError that names all mistakes
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const present = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ""),
  );
  const result = environment.safeParse(present);
  const mistakes = (result.error?.issues ?? []).map((issue) => `  ${issue.path.join(".")}: ${issue.message}`);
  if ("TLS_CERT_FILE" in present !== "TLS_KEY_FILE" in present) {
    mistakes.push("  TLS_CERT_FILE: set TLS_CERT_FILE and TLS_KEY_FILE together, or neither");
  }
  if (!result.success || mistakes.length > 0) {
    throw new StartupError(`The configuration is invalid:\n${mistakes.join("\n")}`);
  }
  const value = result.data;
  return Object.freeze({
    host: value.HOST,
    port: value.PORT,
    dataDir: value.DATA_DIR,
    databaseUrl: value.DATABASE_URL,
    redisUrl: value.REDIS_URL,
    dbPoolMax: value.DB_POOL_MAX,
    dbPoolWaitMs: value.DB_POOL_WAIT_MS,
    dbStatementTimeoutMs: value.DB_STATEMENT_TIMEOUT_MS,
    cache: value.CACHE,
    cacheMemoryBytes: value.CACHE_MEMORY_MB * 2 ** 20,
    access: value.ACCESS,
    limits: value.LIMITS,
    budgets: {
      READ: value.LIMIT_READ,
      WRITE: value.LIMIT_WRITE,
      INGEST: value.LIMIT_INGEST,
      AUTH: value.LIMIT_AUTH,
    },
    accountMultiplier: value.LIMIT_TIMES_SIGNED_IN,
    serviceMultiplier: value.LIMIT_TIMES_SERVICE,
    maxCalls: value.MAX_CALLS,
    signingKeysFile: value.SIGNING_KEYS_FILE ?? join(value.DATA_DIR, "signing-keys.json"),
    tokenIssuer: value.TOKEN_ISSUER,
    trustedProxies: value.TRUSTED_PROXIES,
    corsOrigins: value.CORS_ORIGINS,
    tls:
      value.TLS_CERT_FILE !== undefined && value.TLS_KEY_FILE !== undefined
        ? { certFile: value.TLS_CERT_FILE, keyFile: value.TLS_KEY_FILE }
        : undefined,
    workers: value.WORKERS ?? (env.NODE_ENV === "production" ? availableParallelism() : 1),
    logLevel: value.LOG_LEVEL,
    seedDemo: value.SEED_DEMO ?? value.DATABASE_URL === undefined,
  });
}
