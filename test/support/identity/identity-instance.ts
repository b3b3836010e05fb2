import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject, onTestFinished } from "vitest";
import { createCustomers } from "../../../src/customer/customer.ts";
import { entities } from "../../../src/entities.ts";
import { createIdentity, type Identity } from "../../../src/identity/identity.ts";
import { InvalidationBus } from "../../../src/infra/cache/invalidation-bus.ts";
import { withInvalidationOutbox } from "../../../src/infra/outbox/invalidation-outbox.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { compileStatement } from "../../../src/infra/postgres/statement.ts";
import { openRedis } from "../../../src/infra/redis/redis.ts";
import { type Call, internalCall } from "../../../src/kernel/call.ts";
import { type Clock, systemClock } from "../../../src/kernel/clock.ts";
import { AppError } from "../../../src/kernel/errors.ts";
import { createIds } from "../../../src/kernel/ids.ts";
import { createPageTokens } from "../../../src/kernel/page.ts";
import { anonymous, type Principal } from "../../../src/kernel/principal.ts";
import { createTestDatabase, type TestDatabase } from "../database.ts";
import { silentLog } from "../log.ts";

/** A clock that a test sets. */
export interface TestClock extends Clock {
  advance(ms: number): void;
}

export function createTestClock(): TestClock {
  let aheadMs = 0;
  return {
    now: () => new Date(Date.now() + aheadMs),
    advance: (ms) => {
      aheadMs += ms;
    },
  };
}

/** Where the instances of a shop meet. */
export interface SharedStores {
  database: TestDatabase;
  folder: string;
  namespace: string;
}

/** A database and a folder of a test's own. They are gone when it is over. */
export async function createSharedStores(): Promise<SharedStores> {
  const database = await createTestDatabase();
  const folder = await mkdtemp(join(tmpdir(), "cartwright-identity-"));
  onTestFinished(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });
  return { database, folder, namespace: randomUUID() };
}

/** The identity of one process of a shop. */
export interface IdentityInstance {
  identity: Identity;
  customers: ReturnType<typeof createCustomers>;
  db: Database;
  database: TestDatabase;
  keysFile: string;
  /** Which statements were read outside transactions, by their text. */
  reads: string[];
}

export interface IdentityInstanceOptions {
  site?: SharedStores;
  clock?: Clock;
  issuer?: string;
  /** Instances of one site have the same keys unless this differs. */
  keysFile?: string;
}

/** Opens it, until the test is over. */
export async function openIdentity(options: IdentityInstanceOptions = {}): Promise<IdentityInstance> {
  const { clock = systemClock, issuer = "cartwright" } = options;
  const site = options.site ?? (await createSharedStores());
  const keysFile = join(site.folder, options.keysFile ?? "signing-keys.json");
  const limits = { poolMax: 10, poolWaitMs: 10_000, statementTimeoutMs: 10_000 };
  const plain = await openPostgres({ url: site.database.url, entities, log: silentLog, ...limits });
  const redis = openRedis(inject("redisUrl"), silentLog);
  const bus = new InvalidationBus({ redis: redis.client, namespace: site.namespace, log: silentLog });
  const reads: string[] = [];
  const db = withInvalidationOutbox(
    {
      ...plain,
      read: (call, statement, values) => {
        reads.push("text" in statement ? statement.text : compileStatement(statement).text);
        return plain.read(call, statement, values);
      },
    },
    { enqueue: async () => {}, invalidate: (tags, generation) => bus.invalidate(tags, generation) },
  );
  const tokens = createPageTokens(Buffer.alloc(32), systemClock);
  const room = { db, tokens, clock, ids: createIds() };
  const customers = createCustomers(room);
  const close = async () => {
    bus.close();
    await redis.close();
    await plain.close();
  };
  try {
    const identity = await createIdentity({
      ...{ ...room, customers, bus, log: silentLog },
      ...{ signingKeysFile: keysFile, tokenIssuer: issuer },
    });
    onTestFinished(async () => {
      await identity.close();
      await close();
    });
    return { identity, customers, db, database: site.database, keysFile, reads };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A call by whoever, from an address of its own unless one is named. */
export function callAs(principal: Principal = anonymous, clientAddress = newAddress()): Call {
  return { ...internalCall(), principal, clientAddress, userAgent: "test" };
}

let addresses = 0;
/** An address that no other call comes from. */
export function newAddress(): string {
  addresses += 1;
  return `10.${addresses >> 16}.${(addresses >> 8) & 255}.${addresses & 255}`;
}

export const newEmail = (): string => `${randomUUID()}@example.com`;

/** Registers somebody. */
export async function registerAccount({ identity }: IdentityInstance, password = "correct horse") {
  const email = newEmail();
  const { account, tokens } = await identity.register(callAs(), { email, name: "Ada", password });
  const principal = await identity.authenticate(tokens.accessToken);
  return { email, password, account, tokens, principal };
}

/** What somebody is told who must be refused: the reason. */
export async function rejectionReason(work: () => unknown): Promise<string> {
  return (await rejectedAppError(work)).details.reason;
}

export async function rejectedAppError(work: () => unknown): Promise<AppError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error("it was not refused");
}
