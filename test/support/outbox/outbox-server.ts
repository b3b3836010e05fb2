import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { entities } from "../../../src/entities.ts";
import { startEmbeddedPostgres } from "../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { migrate } from "../../../src/infra/postgres/migrate.ts";
import { silentLog } from "../log.ts";

/** A server of its own: transactions of other tests do not move its horizon. */
export interface OutboxServer {
  url: string;
  stop(): Promise<void>;
}

export async function startOutboxServer(): Promise<OutboxServer> {
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-outbox-"));
  const postgres = await startEmbeddedPostgres({ dataDir, database: "cartwright", durable: false });
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  // Its transactions would move the horizon, too.
  await client.query("alter system set autovacuum = off");
  await client.query("select pg_reload_conf()");
  await client.end();
  await migrate(postgres.url, entities, silentLog);
  return {
    url: postgres.url,
    async stop() {
      await postgres.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
