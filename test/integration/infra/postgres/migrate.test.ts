import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { expect, inject, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { migrate, migrations } from "../../../../src/infra/postgres/migrate.ts";
import { StartupError } from "../../../../src/kernel/errors.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase } from "../../../support/stores/database.ts";

test("of 10 instances that start together on an empty database, exactly one migrates and all succeed", async () => {
  const url = new URL(inject("templateUrl"));
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  url.pathname = "/postgres";
  const admin = new Client({ connectionString: url.href });
  await admin.connect();
  await admin.query(`create database ${name}`);
  url.pathname = `/${name}`;
  try {
    const done = await Promise.all(Array.from({ length: 10 }, () => migrate(url.href, entities, silentLog)));
    expect(done.toSorted()).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, migrations.length]);
    expect(await migrate(url.href, entities, silentLog)).toBe(0);
  } finally {
    await admin.query(`drop database ${name} with (force)`);
    await admin.end();
  }
});

/** The key of the lock of versions without online migrations, which a migration waits for after it has connected. */
const FORMER_LOCK_KEY = 0x63617274;

test("a migration whose connections are killed fails with a message that says what to do", async () => {
  const database = await createTestDatabase();
  await database.query("select pg_advisory_lock($1)", [FORMER_LOCK_KEY]);
  const migrated = migrate(database.url, entities, silentLog);
  const failed = expect(migrated).rejects.toThrow(
    "The connection to PostgreSQL was lost during the migration. Start again: the migration continues.",
  );
  const kill = () =>
    database.query(`
      select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'cartwright-migration'
        and pid in (select pid from pg_locks where locktype = 'advisory' and granted)`);
  await expect.poll(kill).toHaveLength(1);
  await failed;
  await expect(migrated).rejects.toBeInstanceOf(StartupError);
  await database.query("select pg_advisory_unlock($1)", [FORMER_LOCK_KEY]);
  expect(await migrate(database.url, entities, silentLog)).toBe(0);
  await database.drop();
});
