import { setTimeout as sleep } from "node:timers/promises";
import type { MigrationObject } from "@mikro-orm/core";
import { Migration, Migrator } from "@mikro-orm/migrations";
import { type EntitySchema, MikroORM } from "@mikro-orm/postgresql";
import { Client } from "pg";
import { withRetries } from "../../kernel/async/with-retries.ts";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { installJobs } from "../jobs/install-jobs.ts";
import { ensureOutboxEpoch } from "../outbox/outbox-epoch.ts";
import { Migration20261121000000 } from "./migrations/catalog/migration-20261121000000-catalogue.ts";
import { Migration20261121180000 } from "./migrations/catalog/migration-20261121180000-search.ts";
import { Migration20261121210000 } from "./migrations/catalog/migration-20261121210000-words.ts";
import { Migration20261128000000 } from "./migrations/catalog/migration-20261128000000-import-deletes.ts";
import { Migration20261129030000 } from "./migrations/catalog/migration-20261129030000-search.ts";
import { Migration20261120000000 } from "./migrations/migration-20261120000000-shop.ts";
import { Migration20261121120000 } from "./migrations/migration-20261121120000-access.ts";
import { Migration20261128012404 } from "./migrations/migration-20261128012404-idempotent-invalidation.ts";
import { Migration20261129100000 } from "./migrations/migration-20261129100000-stock-fence.ts";
import { Migration20261130050000 } from "./migrations/migration-20261130050000-zones.ts";
import { Migration20261201000000 } from "./migrations/migration-20261201000000-fulfillment-update.ts";
import { copyInventory } from "./migrations/online/migration-20261129000000-inventory.ts";
import { copyOrderRequests } from "./migrations/online/migration-20261129020000-order-requests.ts";
import { indexMovements } from "./migrations/online/migration-20261129050000-stock-movement-list.ts";
import { dropFormerSchema } from "./migrations/online/migration-20261129090000-former-schema.ts";
import { addOrderMovements } from "./migrations/online/migration-20261130020000-ledger.ts";
import { addPurchaseHolds } from "./migrations/online/migration-20261130030000-purchase-holds.ts";
import { addProductShipping } from "./migrations/online/migration-20261130040000-product-shipping.ts";
import { addOrderLife } from "./migrations/online/migration-20261130090000-order-life.ts";
import { addPayments } from "./migrations/online/migration-20261201010000-payments.ts";
import { Migration20261129010000 } from "./migrations/outbox/migration-20261129010000-outbox.ts";
import { Migration20261130070000 } from "./migrations/outbox/migration-20261130070000-outbox-truncation.ts";
import { Migration20261201020000 } from "./migrations/payment/migration-20261201020000-ledger-truncation.ts";
import type { OnlineMigration, OnlineSession } from "./online/online-session.ts";
import { LOCK_TIMEOUT_MS } from "./online/table-locks.ts";
import { isConnectionLost, isContention } from "./postgres-errors.ts";

/** All migrations, oldest first. Those that run online have a function in place of a class. */
export const migrations: (MigrationObject | { name: string; online: OnlineMigration })[] = [
  { name: "migration-20261120000000-shop", class: Migration20261120000000 },
  { name: "migration-20261121000000-catalogue", class: Migration20261121000000 },
  { name: "migration-20261121120000-access", class: Migration20261121120000 },
  { name: "migration-20261121180000-search", class: Migration20261121180000 },
  { name: "migration-20261121210000-words", class: Migration20261121210000 },
  { name: "migration-20261128000000-import-deletes", class: Migration20261128000000 },
  { name: "migration-20261128012404-idempotent-invalidation", class: Migration20261128012404 },
  { name: "migration-20261129000000-inventory", online: copyInventory },
  { name: "migration-20261129010000-outbox", class: Migration20261129010000 },
  { name: "migration-20261129020000-order-requests", online: copyOrderRequests },
  { name: "migration-20261129030000-search", class: Migration20261129030000 },
  { name: "migration-20261129050000-stock-movement-list", online: indexMovements },
  { name: "migration-20261129090000-former-schema", online: dropFormerSchema },
  { name: "migration-20261129100000-stock-fence", class: Migration20261129100000 },
  { name: "migration-20261130020000-ledger", online: addOrderMovements },
  { name: "migration-20261130030000-purchase-holds", online: addPurchaseHolds },
  { name: "migration-20261130040000-product-shipping", online: addProductShipping },
  { name: "migration-20261130050000-zones", class: Migration20261130050000 },
  { name: "migration-20261130070000-outbox-truncation", class: Migration20261130070000 },
  { name: "migration-20261130090000-order-life", online: addOrderLife },
  { name: "migration-20261201000000-fulfillment-update", class: Migration20261201000000 },
  { name: "migration-20261201010000-payments", online: addPayments },
  { name: "migration-20261201020000-ledger-truncation", class: Migration20261201020000 },
];

/** Key of the advisory lock: an arbitrary number, here "carx" in ASCII. */
const LOCK_KEY = 0x63617278;
/**
 * Key of the lock of versions without online migrations. Their replicas wait for it in a statement, whose snapshot an
 * index build would wait for.
 */
const FORMER_LOCK_KEY = 0x63617274;
/** The last migration of these versions. */
export const FORMER_LATEST = "migration-20261128012404-idempotent-invalidation";
/** Time limit for another replica that migrates, and for each lock, in milliseconds. */
const LOCK_WAIT_MS = 30 * MINUTE_MS;
const LOCK_POLL_MS = 200;
const LOCK_ATTEMPTS = 360;
const MAX_LOCK_DELAY_MS = 5_000;

/**
 * Migrates the schema and that of the job queue. Of several replicas that start together one migrates while the
 * others wait for its advisory lock, which PostgreSQL releases when the session ends, even by a crash.
 * @returns the number of migrations that ran
 * @throws StartupError when PostgreSQL is unreachable or ends a connection, another replica holds the lock for too long,
 *   or a table cannot be locked
 */
export async function migrate(url: string, entities: EntitySchema[], log: Log): Promise<number> {
  const client = new Client({
    connectionString: url,
    application_name: "cartwright-migration",
    lock_timeout: LOCK_WAIT_MS,
    // Ends the statement of a process that was killed, and with it the lock.
    options: "-c client_connection_check_interval=1000",
  });
  try {
    await client.connect();
  } catch (error) {
    const { host } = new URL(url);
    throw new StartupError(
      `Cannot connect to PostgreSQL at ${host}: ${errorMessage(error)}. Check DATABASE_URL.`,
    );
  }
  // Without a listener, the loss of an idle connection would end the process. The next statement fails instead.
  client.on("error", (error) => log.debug({ err: error }, "Connection of the migration was lost"));
  try {
    await acquireLock(client, LOCK_KEY);
    const orm = await openForMigration(entities, { url, session: { client, log } });
    try {
      const startMs = performance.now();
      await acquireLock(client, FORMER_LOCK_KEY);
      const done = await runMigrations(orm, log, { to: FORMER_LATEST });
      await client.query("select pg_advisory_unlock($1)", [FORMER_LOCK_KEY]);
      done.push(...(await runMigrations(orm, log)));
      await installJobs(client, log);
      await ensureOutboxEpoch(client, log);
      if (done.length > 0) {
        const durationMs = Math.round(performance.now() - startMs);
        log.info({ migrations: done.length, latest: done.at(-1), durationMs }, "Database migrated");
      }
      return done.length;
    } finally {
      await orm.close();
    }
  } catch (error) {
    if (!isConnectionLost(error)) throw error;
    log.debug({ err: error }, "Connection of the migration was lost");
    throw new StartupError(
      "The connection to PostgreSQL was lost during the migration. Start again: the migration continues.",
    );
  } finally {
    await client.end();
  }
}

/**
 * Runs the pending migrations. One that cannot lock a table in time is repeated with backoff, so that other statements
 * do not wait behind its request.
 * @returns the names of the migrations that ran
 */
async function runMigrations(orm: MikroORM, log: Log, options: { to?: string } = {}): Promise<string[]> {
  const done: string[] = [];
  const record = ({ name }: { name: string }) => {
    done.push(name);
    log.debug({ migration: name }, "Migration applied");
  };
  orm.migrator.on("migrated", record);
  try {
    await withRetries(() => orm.migrator.up(options), {
      attempts: LOCK_ATTEMPTS,
      firstDelayMs: LOCK_POLL_MS,
      maxDelayMs: MAX_LOCK_DELAY_MS,
      isRetryable: isContention,
      onRetry: (error, retry) => log.warn({ err: error, ...retry }, "Migration repeated"),
    });
  } finally {
    orm.migrator.off("migrated", record);
  }
  return done;
}

/** Polls for an advisory lock. A statement that waits for it would hold a snapshot. */
async function acquireLock(client: Client, key: number): Promise<void> {
  const deadlineMs = performance.now() + LOCK_WAIT_MS;
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>("select pg_try_advisory_lock($1) as locked", [
      key,
    ]);
    if (rows[0]?.locked === true) return;
    if (performance.now() >= deadlineMs) {
      const minutes = LOCK_WAIT_MS / MINUTE_MS;
      throw new StartupError(
        `Another process has been migrating the database for ${minutes} minutes. Start again when it has finished.`,
      );
    }
    await sleep(LOCK_POLL_MS);
  }
}

/** Opens the ORM for migrations. Without a connection it only compares the entities with the snapshot. */
export function openForMigration(
  entities: EntitySchema[],
  connection?: { url: string; session: OnlineSession },
): Promise<MikroORM> {
  return MikroORM.init({
    ...(connection === undefined ? { dbName: "cartwright", connect: false } : { clientUrl: connection.url }),
    entities,
    extensions: [Migrator],
    pool: { max: 2 },
    driverOptions: { lock_timeout: LOCK_TIMEOUT_MS },
    migrations: {
      path: `${import.meta.dirname}/migrations`,
      tableName: "migration",
      emit: "ts",
      snapshotName: "snapshot",
      snapshotOnMigrate: false,
      silent: true,
      // Each migration is recorded when it has finished.
      allOrNothing: false,
      fileName: (timestamp, name) => `migration-${timestamp}${name === undefined ? "" : `-${name}`}`,
      ...(connection === undefined ? {} : { migrationsList: migrationList(connection.session) }),
    },
  });
}

function migrationList(session: OnlineSession): MigrationObject[] {
  return migrations.map((migration) => {
    if (!("online" in migration)) return migration;
    const { name, online } = migration;
    return {
      name,
      class: class extends Migration {
        override isTransactional(): boolean {
          return false;
        }

        override async up(): Promise<void> {
          await online(session);
        }
      },
    };
  });
}
