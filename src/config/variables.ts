import { BlockList } from "node:net";
import { z } from "zod";
import { HOUR_MS, MINUTE_MS } from "../kernel/durations.ts";
import type { ClassBudget } from "../rpc/rate-limit/class-budgets.ts";
import {
  budget,
  credential,
  headerNames,
  integer,
  oneOf,
  onOff,
  origins,
  proxies,
  secrets,
  url,
} from "./parsers.ts";

const defaultBudget = (units: number): ClassBudget => ({ units, windowMs: MINUTE_MS, failClosed: false });

/** The environment variables of the service with their defaults; `.env.example` lists the same. */
export const environment = z.object({
  HOST: z.string().min(1).default("127.0.0.1"),
  PORT: integer(0, 65_535).default(8080),
  ADMIN_PORT: integer(0, 65_535).optional(),
  DATA_DIR: z.string().min(1).default(".data"),
  DATABASE_URL: url("postgres:", "postgresql:").optional(),
  REDIS_URL: url("redis:", "rediss:").optional(),
  DB_POOL_MAX: integer(1, 500).default(20),
  DB_POOL_WAIT_MS: integer(1, 30_000).default(2_000),
  DB_STATEMENT_TIMEOUT_MS: integer(10, 600_000).default(5_000),
  STOCK_STRATEGY: oneOf("combined", "pessimistic", "optimistic").default("combined"),
  ORDER_EXPIRY_MINUTES: integer(0, 525_600).default(30),
  STOCK_LOCK: oneOf("off", "redis").default("off"),
  QUOTE_URL: url("http:", "https:").optional(),
  QUOTE_TOKEN: credential.optional(),
  QUOTE_TIMEOUT_MS: integer(10, 10_000).default(1_000),
  PAYMENT_GATEWAY: oneOf("none", "sandbox", "stripe").optional(),
  PAYMENT_CAPTURE: oneOf("shipment", "order").default("shipment"),
  PAYMENT_TIMEOUT_MS: integer(10, 30_000).default(8_000),
  STRIPE_SECRET_KEY: credential.optional(),
  STRIPE_PUBLISHABLE_KEY: credential.optional(),
  STRIPE_WEBHOOK_SECRET: secrets(4).optional(),
  STRIPE_API_URL: url("http:", "https:").optional(),
  STRIPE_MULTICAPTURE: onOff.default(false),
  CACHE: onOff.default(true),
  CACHE_MEMORY_MB: integer(1, 65_536).default(256),
  ACCESS: onOff.default(true),
  LIMITS: onOff.default(true),
  LIMIT_READ: budget.default(defaultBudget(100)),
  LIMIT_WRITE: budget.default(defaultBudget(30)),
  LIMIT_INGEST: budget.default(defaultBudget(600)),
  LIMIT_AUTH: budget.default(defaultBudget(10)),
  LIMIT_REGISTER: budget.default({ units: 10, windowMs: HOUR_MS, failClosed: false }),
  LIMIT_TIMES_SHARED: integer(1, 1_000_000).default(4),
  LIMIT_TIMES_SIGNED_IN: integer(1, 1_000_000).default(10),
  LIMIT_TIMES_SERVICE: integer(1, 1_000_000).default(100),
  MAX_CALLS: integer(1, 100_000).default(256),
  MAX_WATCHERS: integer(1, 1_000_000).default(10_000),
  GUEST_CHECKOUT: onOff.default(false),
  SIGNING_KEYS_FILE: z.string().min(1).optional(),
  TOKEN_ISSUER: z.string().min(1).max(200).default("cartwright"),
  TRUSTED_PROXIES: proxies.default(new BlockList()),
  CORS_ORIGINS: origins.default([]),
  CORS_HEADERS: headerNames.default([]),
  TLS_CERT_FILE: z.string().min(1).optional(),
  TLS_KEY_FILE: z.string().min(1).optional(),
  WORKERS: integer(0, 500).optional(),
  LOG_LEVEL: oneOf("fatal", "error", "warn", "info", "debug", "trace").default("info"),
  SEED_DEMO: onOff.optional(),
});

/** The names of all environment variables that the service reads. */
export const variableNames: readonly string[] = Object.keys(environment.shape);
