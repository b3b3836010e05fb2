import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { describe, expect, test } from "vitest";
import { variableNames } from "../../src/config/variables.ts";
import { type Config, readConfig } from "../../src/config.ts";
import { StartupError } from "../../src/kernel/errors.ts";

/** Returns the error message for an environment; undefined when the environment is valid. */
function errorOf(env: Record<string, string>): string | undefined {
  try {
    readConfig(env);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(StartupError);
    return error instanceof Error ? error.message : "";
  }
}

test("an empty environment gives the documented defaults", () => {
  const { trustedProxies, ...config } = readConfig({});
  expect(config).toEqual({
    host: "127.0.0.1",
    port: 8080,
    adminPort: undefined,
    dataDir: ".data",
    databaseUrl: undefined,
    redisUrl: undefined,
    dbPoolMax: 20,
    dbPoolWaitMs: 2_000,
    dbStatementTimeoutMs: 5_000,
    stockStrategy: "combined",
    reservationSeconds: 1_800,
    stockLock: "off",
    quoteService: undefined,
    payments: { gateway: "sandbox", capture: "AT_SHIPMENT", timeoutMs: 8_000, stripe: undefined },
    cache: true,
    cacheMemoryBytes: 268_435_456,
    workers: 1,
    access: true,
    limits: true,
    sharedMultiplier: 4,
    accountMultiplier: 10,
    serviceMultiplier: 100,
    maxCalls: 256,
    maxWatchers: 10_000,
    guestCheckout: false,
    budgets: {
      READ: { units: 100, windowMs: 60_000, failClosed: false },
      WRITE: { units: 30, windowMs: 60_000, failClosed: false },
      INGEST: { units: 600, windowMs: 60_000, failClosed: false },
      AUTH: { units: 10, windowMs: 60_000, failClosed: false },
      REGISTER: { units: 10, windowMs: 3_600_000, failClosed: false },
    },
    signingKeysFile: ".data/signing-keys.json",
    tokenIssuer: "cartwright",
    corsOrigins: [],
    corsHeaders: [],
    tls: undefined,
    logLevel: "info",
    seedDemo: true,
  });
  expect(trustedProxies.rules).toEqual([]);
});

test.each<[string, string, Partial<Config>]>([
  ["HOST", "0.0.0.0", { host: "0.0.0.0" }],
  ["PORT", "0", { port: 0 }],
  ["PORT", "65535", { port: 65_535 }],
  ["ADMIN_PORT", "9090", { adminPort: 9_090 }],
  ["DATA_DIR", "/var/lib/shop", { dataDir: "/var/lib/shop" }],
  [
    "DATABASE_URL",
    "postgres://a:b@db:5432/shop",
    { databaseUrl: "postgres://a:b@db:5432/shop", seedDemo: false },
  ],
  [
    "DATABASE_URL",
    "postgresql://db/shop?sslmode=require",
    { databaseUrl: "postgresql://db/shop?sslmode=require" },
  ],
  ["REDIS_URL", "redis://cache:6379", { redisUrl: "redis://cache:6379", seedDemo: true }],
  ["REDIS_URL", "rediss://:secret@cache", { redisUrl: "rediss://:secret@cache" }],
  ["DB_POOL_MAX", "1", { dbPoolMax: 1 }],
  ["DB_POOL_WAIT_MS", "30000", { dbPoolWaitMs: 30_000 }],
  ["DB_STATEMENT_TIMEOUT_MS", "100", { dbStatementTimeoutMs: 100 }],
  ["STOCK_STRATEGY", "optimistic", { stockStrategy: "optimistic" }],
  ["ORDER_EXPIRY_MINUTES", "0", { reservationSeconds: 0 }],
  ["ORDER_EXPIRY_MINUTES", "1440", { reservationSeconds: 86_400 }],
  ["STOCK_LOCK", "redis", { stockLock: "redis" }],
  ["CACHE", "off", { cache: false }],
  ["CACHE", "on", { cache: true }],
  ["CACHE_MEMORY_MB", "1", { cacheMemoryBytes: 1_048_576 }],
  ["CACHE_MEMORY_MB", "65536", { cacheMemoryBytes: 68_719_476_736 }],
  ["ACCESS", "off", { access: false }],
  ["LIMITS", "off", { limits: false }],
  ["LIMIT_TIMES_SIGNED_IN", "1", { accountMultiplier: 1 }],
  ["LIMIT_TIMES_SHARED", "2", { sharedMultiplier: 2 }],
  ["LIMIT_TIMES_SERVICE", "7", { serviceMultiplier: 7 }],
  ["MAX_CALLS", "50", { maxCalls: 50 }],
  ["MAX_WATCHERS", "1", { maxWatchers: 1 }],
  ["GUEST_CHECKOUT", "on", { guestCheckout: true }],
  ["DATA_DIR", "/var/lib/shop", { signingKeysFile: "/var/lib/shop/signing-keys.json" }],
  ["SIGNING_KEYS_FILE", "/run/secrets/keys.json", { signingKeysFile: "/run/secrets/keys.json" }],
  ["TOKEN_ISSUER", "https://shop.example", { tokenIssuer: "https://shop.example" }],
  ["CORS_ORIGINS", "*", { corsOrigins: ["*"] }],
  ["CORS_HEADERS", "x-shop-id, X-Page", { corsHeaders: ["x-shop-id", "X-Page"] }],
  [
    "CORS_ORIGINS",
    "https://a.example, http://localhost:3000,",
    { corsOrigins: ["https://a.example", "http://localhost:3000"] },
  ],
  ["WORKERS", "0", { workers: 0 }],
  ["WORKERS", "500", { workers: 500 }],
  ["LOG_LEVEL", "debug", { logLevel: "debug" }],
  ["SEED_DEMO", "off", { seedDemo: false }],
  ["SEED_DEMO", "on", { seedDemo: true }],
])("%s accepts %s", (name, value, expected) => {
  expect(readConfig({ [name]: value })).toMatchObject(expected);
});

test.each([
  ["HOST", ""],
  ["PORT", ""],
  ["DATABASE_URL", ""],
  ["TRUSTED_PROXIES", ""],
  ["SEED_DEMO", ""],
])("an empty %s counts as absent", (name, value) => {
  expect(readConfig({ [name]: value })).toEqual(readConfig({}));
});

test("ADMIN_PORT must differ from PORT, unless any free port is to be used", () => {
  const mistake = /^The configuration is invalid:\n {2}ADMIN_PORT: must differ from PORT$/;
  expect(() => readConfig({ ADMIN_PORT: "8080" })).toThrow(mistake);
  expect(() => readConfig({ PORT: "9090", ADMIN_PORT: "9090" })).toThrow(mistake);
  expect(readConfig({ PORT: "0", ADMIN_PORT: "0" })).toMatchObject({ port: 0, adminPort: 0 });
});

test("a budget is units per seconds, and fails closed only when it says so", () => {
  const { READ, AUTH } = readConfig({ LIMIT_READ: "1000/1", LIMIT_AUTH: "5/60/closed" }).budgets;
  expect(READ).toEqual({ units: 1_000, windowMs: 1_000, failClosed: false });
  expect(AUTH).toEqual({ units: 5, windowMs: 60_000, failClosed: true });
});

test("SEED_DEMO is on by default for an embedded database and off for a given one", () => {
  const DATABASE_URL = "postgres://db/shop";
  expect(readConfig({ REDIS_URL: "redis://cache" }).seedDemo).toBe(true);
  expect(readConfig({ DATABASE_URL }).seedDemo).toBe(false);
  expect(readConfig({ DATABASE_URL, SEED_DEMO: "on" }).seedDemo).toBe(true);
});

test("WORKERS defaults to one for each core in production and to one elsewhere", () => {
  expect(readConfig({ NODE_ENV: "production" }).workers).toBe(availableParallelism());
  expect(readConfig({ NODE_ENV: "test" }).workers).toBe(1);
  expect(readConfig({ NODE_ENV: "production", WORKERS: "3" }).workers).toBe(3);
});

test("TRUSTED_PROXIES accepts IPv4 and IPv6 addresses and ranges", () => {
  const { trustedProxies } = readConfig({ TRUSTED_PROXIES: "10.0.0.0/8, 192.168.1.7,fd00::/8, ::1" });
  const trusts = (address: string) => trustedProxies.check(address, address.includes(":") ? "ipv6" : "ipv4");
  const all = ["10.200.3.4", "192.168.1.7", "fd12::1", "::1", "11.0.0.1", "192.168.1.8", "fe00::1", "::2"];
  expect(all.map(trusts)).toEqual([true, true, true, true, false, false, false, false]);
});

test("TLS needs both a certificate and a key", () => {
  const TLS_CERT_FILE = "cert.pem";
  const TLS_KEY_FILE = "key.pem";
  expect(readConfig({ TLS_CERT_FILE, TLS_KEY_FILE }).tls).toEqual({
    certFile: "cert.pem",
    keyFile: "key.pem",
  });
  for (const name of ["TLS_CERT_FILE", "TLS_KEY_FILE"]) {
    expect(errorOf({ [name]: "file.pem" })).toContain("TLS_CERT_FILE and TLS_KEY_FILE together");
  }
});

describe("an invalid value is reported by its variable name", () => {
  test.each([
    ["PORT", "http"],
    ["PORT", "65536"],
    ["PORT", "-1"],
    ["PORT", "80.5"],
    ["PORT", " "],
    ["DATABASE_URL", "mysql://db/shop"],
    ["DATABASE_URL", "db:5432"],
    ["REDIS_URL", "http://cache"],
    ["DB_POOL_MAX", "0"],
    ["DB_POOL_MAX", "1e9"],
    ["DB_POOL_WAIT_MS", "0"],
    ["DB_POOL_WAIT_MS", "30001"],
    ["DB_STATEMENT_TIMEOUT_MS", "5s"],
    ["STOCK_STRATEGY", "none"],
    ["ORDER_EXPIRY_MINUTES", "-1"],
    ["ORDER_EXPIRY_MINUTES", "525601"],
    ["STOCK_LOCK", "on"],
    ["QUOTE_URL", "ftp://tax.example"],
    ["QUOTE_URL", "https://user:hunter2@tax.example"],
    ["QUOTE_TOKEN", "a b"],
    ["QUOTE_TOKEN", "without-a-url"],
    ["QUOTE_TIMEOUT_MS", "10001"],
    ["PAYMENT_GATEWAY", "paypal"],
    ["PAYMENT_CAPTURE", "later"],
    ["PAYMENT_TIMEOUT_MS", "30001"],
    ["STRIPE_SECRET_KEY", "sk_without_the_gateway"],
    ["STRIPE_WEBHOOK_SECRET", "a,b,c,d,e"],
    ["STRIPE_API_URL", "ftp://stripe.example"],
    ["DB_STATEMENT_TIMEOUT_MS", "Infinity"],
    ["CACHE", "true"],
    ["CACHE_MEMORY_MB", "0"],
    ["CACHE_MEMORY_MB", "65537"],
    ["ACCESS", "no"],
    ["LIMIT_READ", "100"],
    ["LIMIT_READ", "0/60"],
    ["LIMIT_READ", "100/0"],
    ["LIMIT_WRITE", "100/60/maybe"],
    ["LIMIT_AUTH", "-1/60"],
    ["LIMIT_INGEST", "1/100000"],
    ["LIMIT_TIMES_SERVICE", "0"],
    ["MAX_CALLS", "0"],
    ["WORKERS", "501"],
    ["WORKERS", "-1"],
    ["TRUSTED_PROXIES", "10.0.0.0/33"],
    ["TRUSTED_PROXIES", "10.0.0.0/"],
    ["TRUSTED_PROXIES", "10.0.0.0/8/8"],
    ["TRUSTED_PROXIES", "proxy.example"],
    ["TRUSTED_PROXIES", "fd00::/129"],
    ["CORS_ORIGINS", "shop.example"],
    ["CORS_HEADERS", "x shop"],
    ["CORS_HEADERS", "*"],
    ["CORS_HEADERS", "x-shop: 1"],
    ["CORS_ORIGINS", "https://shop.example/path"],
    ["CORS_ORIGINS", "https://shop.example, nonsense"],
    ["LOG_LEVEL", "loud"],
    ["SEED_DEMO", "true"],
  ])("an invalid value is reported by its variable name: %s=%j", (name, value) => {
    expect(errorOf({ [name]: value })).toMatch(new RegExp(`^ {2}${name}: .+`, "m"));
  });

  test("all mistakes are reported together, without secrets", () => {
    const message = errorOf({
      PORT: "x",
      DB_POOL_MAX: "0",
      LOG_LEVEL: "loud",
      TLS_KEY_FILE: "key.pem",
      DATABASE_URL: "mysql://user:hunter2@db",
      CORS_ORIGINS: "nonsense",
    });
    for (const name of [
      "PORT",
      "DB_POOL_MAX",
      "LOG_LEVEL",
      "DATABASE_URL",
      "CORS_ORIGINS",
      "TLS_CERT_FILE",
    ]) {
      expect(message).toContain(`  ${name}: `);
    }
    expect(message).not.toContain("hunter2");
  });
});

test("the lock of hot products is refused with a strategy that does not use it", () => {
  expect(() => readConfig({ STOCK_LOCK: "redis", STOCK_STRATEGY: "pessimistic" })).toThrow(
    "  STOCK_LOCK: redis needs STOCK_STRATEGY=combined",
  );
});

test("the configuration is frozen", () => {
  const config = readConfig({});
  expect(Object.isFrozen(config)).toBe(true);
});

test("every variable name is one of the public names", () => {
  const publicNames =
    /^(HOST|PORT|ADMIN_PORT|DATA_DIR|DATABASE_URL|DATABASE_REPLICA_URLS|REDIS_URL|DB_POOL_MAX|DB_POOL_WAIT_MS|DB_STATEMENT_TIMEOUT_MS|STOCK_STRATEGY|ORDER_EXPIRY_MINUTES|STOCK_LOCK|QUOTE_URL|QUOTE_TOKEN|QUOTE_TIMEOUT_MS|CACHE|CACHE_MEMORY_MB|LIMITS|ACCESS|LIMIT_[A-Z_]+|MAX_CALLS|MAX_WATCHERS|GUEST_CHECKOUT|SIGNING_KEYS_FILE|TOKEN_ISSUER|TRUSTED_PROXIES|CORS_ORIGINS|CORS_HEADERS|TLS_CERT_FILE|TLS_KEY_FILE|SMTP_URL|PAYMENT_GATEWAY|PAYMENT_CAPTURE|PAYMENT_TIMEOUT_MS|STRIPE_SECRET_KEY|STRIPE_PUBLISHABLE_KEY|STRIPE_WEBHOOK_SECRET|STRIPE_API_URL|STRIPE_MULTICAPTURE|WORKERS|LOG_LEVEL|SEED_DEMO)$/;
  expect(variableNames).toEqual(expect.arrayContaining(["HOST", "PORT", "DATABASE_URL", "SEED_DEMO"]));
  expect(variableNames.filter((name) => !publicNames.test(name))).toEqual([]);
});

test(".env.example lists every variable of the service and of docker-compose.yml, and no other", () => {
  const example = readFileSync(".env.example", "utf8");
  const listed = [...example.matchAll(/^(?:#\s*)?([A-Z][A-Z0-9_]+)=/gm)].map(([, name = ""]) => name);
  const compose = readFileSync("docker-compose.yml", "utf8");
  const composed = [...compose.matchAll(/\$\{([A-Z0-9_]+)/g)].map(([, name = ""]) => name);
  expect(variableNames.filter((name) => !listed.includes(name))).toEqual([]);
  expect(listed.filter((name) => ![...variableNames, ...composed].includes(name))).toEqual([]);
});
