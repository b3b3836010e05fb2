import type { MigrationObject } from "@mikro-orm/core";
import { Migrator } from "@mikro-orm/migrations";
import { type EntitySchema, MikroORM } from "@mikro-orm/postgresql";
import { Client, DatabaseError } from "pg";
import { StartupError } from "../../kernel/errors.ts";
import type { Log } from "../../kernel/log.ts";
import { installJobs } from "../jobs/jobs.ts";
import { Migration20261120000000 } from "./migrations/migration-20261120000000-shop.ts";
import { Migration20261121000000 } from "./migrations/migration-20261121000000-catalogue.ts";
import { Migration20261121120000 } from "./migrations/migration-20261121120000-access.ts";
import { Migration20261121180000 } from "./migrations/migration-20261121180000-search.ts";
import { Migration20261121210000 } from "./migrations/migration-20261121210000-words.ts";

/** All migrations, oldest first. */
export const migrations: MigrationObject[] = [
  { name: "migration-20261120000000-shop", class: Migration20261120000000 },
  { name: "migration-20261121000000-catalogue", class: Migration20261121000000 },
  { name: "migration-20261121120000-access", class: Migration20261121120000 },
  { name: "migration-20261121180000-search", class: Migration20261121180000 },
  { name: "migration-20261121210000-words", class: Migration20261121210000 },
];

// Any number will do, as long as nobody else locks the same one: "cart" in ASCII.
const LOCK_KEY = 0x63617274;
// How long a start waits for another one that migrates.
const LOCK_WAIT_MS = 30 * 60_000;

/**
 * Brings the schema and the job queue's up to date. Of several instances that start at once one migrates,
 * under an advisory lock of its session (which ends with the session, however that ends), and the others wait.
 * @returns how many migrations ran here
 */
export async function migrate(url: string, entities: EntitySchema[], log: Log): Promise<number> {
  const client = new Client({ connectionString: url, lock_timeout: LOCK_WAIT_MS });
  try {
    await client.connect();
  } catch (error) {
    const { host } = new URL(url);
    const why = error instanceof Error ? error.message : String(error);
    throw new StartupError(`PostgreSQL at ${host} cannot be used: ${why}. Check DATABASE_URL.`);
  }
  try {
    await client.query("select pg_advisory_lock($1)", [LOCK_KEY]).catch((error: unknown) => {
      const minutes = LOCK_WAIT_MS / 60_000;
      if (!(error instanceof DatabaseError) || error.code !== "55P03") throw error;
      throw new StartupError(
        `Another instance has been migrating for ${minutes} minutes. Start again once it is done.`,
      );
    });
    const orm = await openForMigration(entities, url);
    try {
      const done = await orm.migrator.up();
      for (const { name } of done) log.info({ migration: name }, "migrated");
      await installJobs(client, log);
      return done.length;
    } finally {
      await orm.close();
    }
  } finally {
    await client.end();
  }
}

/** The ORM with what migrations need; without a url it only compares entities with the snapshot. */
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
