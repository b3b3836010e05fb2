import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { expect, inject, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { migrate, migrations } from "../../../../src/infra/postgres/migrate.ts";
import { silentLog } from "../../../support/log.ts";

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
