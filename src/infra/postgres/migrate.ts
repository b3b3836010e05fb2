import type { MigrationObject } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import { type EntitySchema, MikroORM } from "@mikro-orm/postgresql";
import { Client, DatabaseError } from "pg";
import { MINUTE_MS } from "../../kernel/durations.ts";
import { errorMessage, StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { installJobs } from "../jobs/install-jobs.ts";
import { ensureOutboxEpoch } from "../outbox/outbox-epoch.ts";
import { Migration20261120000000 } from "./migrations/migration-20261120000000-shop.ts";
import { Migration20261121000000 } from "./migrations/migration-20261121000000-catalogue.ts";
import { Migration20261121120000 } from "./migrations/migration-20261121120000-access.ts";
import { Migration20261121180000 } from "./migrations/migration-20261121180000-search.ts";
import { Migration20261121210000 } from "./migrations/migration-20261121210000-words.ts";
import { Migration20261128000000 } from "./migrations/migration-20261128000000-import-deletes.ts";
import { Migration20261128012404 } from "./migrations/migration-20261128012404-idempotent-invalidation.ts";
import { Migration20261129000000 } from "./migrations/migration-20261129000000-inventory.ts";
import { Migration20261129010000 } from "./migrations/migration-20261129010000-outbox.ts";
import { Migration20261129020000 } from "./migrations/migration-20261129020000-order-requests.ts";
import { Migration20261129030000 } from "./migrations/migration-20261129030000-search.ts";
import { Migration20261129050000 } from "./migrations/online/migration-20261129050000-stock-movement-list.ts";

/** All migrations, oldest first. */
export const migrations: MigrationObject[] = [
  { name: "migration-20261120000000-shop", class: Migration20261120000000 },
  { name: "migration-20261121000000-catalogue", class: Migration20261121000000 },
  { name: "migration-20261121120000-access", class: Migration20261121120000 },
  { name: "migration-20261121180000-search", class: Migration20261121180000 },
  { name: "migration-20261121210000-words", class: Migration20261121210000 },
  { name: "migration-20261128000000-import-deletes", class: Migration20261128000000 },
  { name: "migration-20261128012404-idempotent-invalidation", class: Migration20261128012404 },
  { name: "migration-20261129000000-inventory", class: Migration20261129000000 },
  { name: "migration-20261129010000-outbox", class: Migration20261129010000 },
  { name: "migration-20261129020000-order-requests", class: Migration20261129020000 },
  { name: "migration-20261129030000-search", class: Migration20261129030000 },
  { name: "migration-20261129050000-stock-movement-list", class: Migration20261129050000 },
];

/** Key of the advisory lock: an arbitrary number, here "cart" in ASCII. */
const LOCK_KEY = 0x63617274;
/** Time limit for another replica that migrates, in milliseconds. */
const LOCK_WAIT_MS = 30 * MINUTE_MS;

/**
 * Migrates the schema and that of the job queue. Of several replicas that start together one migrates while the
 * others wait for its advisory lock, which PostgreSQL releases when the session ends, even by a crash.
 * @returns the number of migrations that ran
 * @throws StartupError when PostgreSQL is unreachable or another replica holds the lock for too long
 */
export async function migrate(url: string, entities: EntitySchema[], log: Log): Promise<number> {
  const client = new Client({ connectionString: url, lock_timeout: LOCK_WAIT_MS });
  try {
    await client.connect();
  } catch (error) {
    const { host } = new URL(url);
    throw new StartupError(
      `Cannot connect to PostgreSQL at ${host}: ${errorMessage(error)}. Check DATABASE_URL.`,
    );
  }
  try {
    await client.query(`select pg_advisory_lock(${LOCK_KEY})`).catch((error: unknown) => {
      const minutes = LOCK_WAIT_MS / MINUTE_MS;
      if (!(error instanceof DatabaseError) || error.code !== "55P03") throw error;
      throw new StartupError(
        `Another process has been migrating the database for ${minutes} minutes. Start again when it has finished.`,
      );
    });
    const orm = await openForMigration(entities, url);
    try {
      const startMs = performance.now();
      const done = await orm.migrator.up();
      for (const { name } of done) log.debug({ migration: name }, "Migration applied");
      await installJobs(client, log);
      await ensureOutboxEpoch(client, log);
      if (done.length > 0) {
        const durationMs = Math.round(performance.now() - startMs);
        log.info({ migrations: done.length, latest: done.at(-1)?.name, durationMs }, "Database migrated");
      }
      return done.length;
    } finally {
      await orm.close();
    }
  } finally {
    await client.end();
  }
}

/** Opens the ORM for migrations. Without a URL it only compares the entities with the snapshot. */
export function openForMigration(entities: EntitySchema[], url?: string): Promise<MikroORM> {
  return MikroORM.init({
    ...(url === undefined ? { dbName: "cartwright", connect: false } : { clientUrl: url }),
    entities,
    extensions: [Migrator],
    pool: { max: 2 },
    migrations: {
      path: `${import.meta.dirname}/migrations`,
      tableName: "migration",
      emit: "ts",
      snapshotName: "snapshot",
      snapshotOnMigrate: false,
      silent: true,
      fileName: (timestamp, name) => `migration-${timestamp}${name === undefined ? "" : `-${name}`}`,
      ...(url === undefined ? {} : { migrationsList: migrations }),
    },
  });
}
