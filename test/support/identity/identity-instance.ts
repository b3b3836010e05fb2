import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, inject, onTestFinished, vi } from "vitest";
import { type Customers, createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import {
  type Account,
  createIdentity,
  type Identity,
  type TokenPair,
} from "../../../src/identity/identity.ts";
import { InvalidationBus } from "../../../src/infra/cache/invalidation-bus.ts";
import { withInvalidationOutbox } from "../../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { compileStatement } from "../../../src/infra/postgres/statement.ts";
import { openRedis } from "../../../src/infra/redis/redis.ts";
import { type Call, internalCall } from "../../../src/kernel/call.ts";
import { type Clock, systemClock } from "../../../src/kernel/clock.ts";
import { AppError } from "../../../src/kernel/errors.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { anonymous, type Principal } from "../../../src/kernel/principal.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";
import { createTestClock } from "./test-clock.ts";

/** The stores that the instances of one deployment share. */
export interface SharedStores {
  database: TestDatabase;
  /** The folder of their key files. */
  folder: string;
  /** The namespace of their keys in Redis. */
  namespace: string;
}

/** Creates a database and a folder, which are removed when the test is over. */
export async function createSharedStores(): Promise<SharedStores> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), "cartwright-identity-"));
  onTestFinished(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });
  return { database, folder, namespace: randomUUID() };
}

/** The identity feature of one replica. */
export interface IdentityInstance {
  identity: Identity;
  customers: Customers;
  db: Database;
  database: TestDatabase;
  keysFile: string;
  /** Texts of the statements that were run outside of transactions. */
  reads: string[];
}

export interface IdentityInstanceOptions {
  /** Stores of another instance. Defaults to new ones. */
  stores?: SharedStores;
  /** Defaults to a clock that tests advance. */
  clock?: Clock;
  issuer?: string;
  /** Path of the key file in the folder of the stores. Instances with the same one share their key. */
  keysFile?: string;
}

/** Opens an instance, which is closed when the test is over. */
export async function openIdentity(options: IdentityInstanceOptions = {}): Promise<IdentityInstance> {
  const { clock = createTestClock(), issuer = "cartwright" } = options;
  const stores = options.stores ?? (await createSharedStores());
  const keysFile = join(stores.folder, options.keysFile ?? "signing-keys.json");
  const postgres = await openPostgres({
    url: stores.database.url,
    entities,
    log: silentLog,
    poolMax: 10,
    poolWaitMs: 30_000,
    statementTimeoutMs: 30_000,
  });
  const redis = openRedis(inject("redisUrl"), silentLog);
  const bus = new InvalidationBus({ redis: redis.client, namespace: stores.namespace, log: silentLog });
  const reads: string[] = [];
  const db = withInvalidationOutbox(recordReads(postgres, reads), bus);
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const ids = createIds();
  const customers = createCustomers({ db, tokens, clock, ids });
  const close = async () => {
    await bus.close();
    await redis.close();
    await postgres.close();
  };
  try {
    const identity = await createIdentity({
      db,
      tokens,
      clock,
      ids,
      customers,
      bus,
      log: silentLog,
      signingKeysFile: keysFile,
      tokenIssuer: issuer,
    });
    onTestFinished(async () => {
      await identity.close();
      await close();
    });
    return { identity, customers, db, database: stores.database, keysFile, reads };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Adds the text of each statement outside of a transaction to `reads`. */
function recordReads(db: Database, reads: string[]): Database {
  return {
    ...db,
    read: (call, statement) => {
      reads.push(compileStatement(statement).text);
      return db.read(call, statement);
    },
  };
}

/** Returns a call by a principal. The address defaults to a new one. */
export function callAs(principal: Principal = anonymous, clientAddress = newAddress()): Call {
  return { ...internalCall(), principal, clientAddress, userAgent: "test" };
}

let addressCount = 0;

/** Returns an IPv4 address that no other call comes from. */
export function newAddress(): string {
  addressCount += 1;
  return `10.${addressCount >> 16}.${(addressCount >> 8) & 255}.${addressCount & 255}`;
}

export const newEmail = (): string => `${randomUUID()}@example.com`;

/** An account with its password and its first session. */
export interface RegisteredAccount {
  email: string;
  password: string;
  account: Account;
  tokens: TokenPair;
  principal: Principal;
}

/** Registers a customer account. */
export async function registerAccount(
  { identity }: IdentityInstance,
  password = "correct horse",
): Promise<RegisteredAccount> {
  const email = newEmail();
  const { account, tokens } = await identity.register(callAs(), { email, name: "Ada", password });
  const principal = await identity.authenticate(tokens.accessToken);
  return { email, password, account, tokens, principal };
}

/** Returns the reason of the AppError that a rejected call throws. */
export async function rejectionReason(work: () => unknown): Promise<string> {
  return (await rejectedAppError(work)).details.reason;
}

/** Returns the AppError that a rejected call throws. */
export async function rejectedAppError(work: () => unknown): Promise<AppError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error("the call was not rejected");
}

/** Returns `VALID` for an accepted credential, otherwise the reason of its rejection. */
export async function credentialStatus({ identity }: IdentityInstance, credential: string): Promise<string> {
  try {
    await identity.authenticate(credential);
    return "VALID";
  } catch (error) {
    if (error instanceof AppError) return error.details.reason;
    throw error;
  }
}

/** Waits until instances have cached the owner of a credential, which starts shortly after they connect to Redis. */
export async function waitUntilCached(
  instances: readonly IdentityInstance[],
  credential: string,
): Promise<void> {
  for (const { identity } of instances) {
    await vi.waitFor(
      async () => {
        const result = identity.authenticate(credential);
        await result;
        expect(result).not.toBeInstanceOf(Promise);
      },
      { timeout: 30_000, interval: 10 },
    );
  }
}

/** Returns the number of valid refresh tokens of all sessions. */
export async function countValidRefreshTokens({ database }: IdentityInstance): Promise<number> {
  const rows = await database.query("select from session where refresh_hash is not null");
  return rows.length;
}

/** Returns the id of the key that signed an access token. */
export function signingKeyId(token: string): string {
  const header: unknown = JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString());
  const kid = typeof header === "object" && header !== null && "kid" in header ? header.kid : undefined;
  if (typeof kid !== "string") throw new Error("the token names no signing key");
  return kid;
}

/** Returns a copy of an access token whose header names another signing key. */
export function withSigningKeyId(token: string, kid: string): string {
  const [, ...rest] = token.split(".");
  const header = Buffer.from(JSON.stringify({ alg: "EdDSA", typ: "at+jwt", kid })).toString("base64url");
  return [header, ...rest].join(".");
}
