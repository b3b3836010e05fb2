import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { expect, inject, onTestFinished, test, vi } from "vitest";
import { entities } from "../../../src/entities.ts";
import { startEmbeddedPostgres } from "../../../src/infra/embedded/postgres/embedded-postgres.ts";
import { migrate } from "../../../src/infra/postgres/migrate.ts";
import { readPostmasterPid, removeLinked } from "../../support/embedded/embedded-fixtures.ts";
import { silentLog } from "../../support/log.ts";
import { startOrderLoad } from "../../support/orders/order-load.ts";
import { startReplica } from "../../support/orders/service-replicas.ts";
import { makeProduct } from "../../support/shop-fixtures.ts";

// Hundreds of calls to processes of their own take long on a busy machine.
vi.setConfig({ testTimeout: 600_000 });

test("when PostgreSQL is killed and started again, every acknowledged order is stored and the others are completed", async () => {
  const dataDir = await mkdtemp(join(tmpdir(), "cartwright-killed-postgres-"));
  onTestFinished(async () => {
    await removeLinked(dataDir);
    await rm(dataDir, { recursive: true, force: true });
  });
  const options = { dataDir, database: "shop" };
  let postgres = await startEmbeddedPostgres(options);
  onTestFinished(() => postgres.stop());
  await migrate(postgres.url, entities, silentLog);
  const replica = await startReplica(postgres.url, { REDIS_URL: inject("redisUrl") });
  onTestFinished(() => replica.close());
  const clients = await replica.clients();
  const productIds = await Promise.all([1, 2, 3].map(() => makeProduct(clients, { stock: 100_000n })));
  const load = startOrderLoad({ buyers: 16, productIds, clients: () => replica.clients() });
  for (let count = 0; count < 2; count += 1) {
    await load.progress(25);
    const killed = postgres;
    process.kill(await readPostmasterPid(dataDir), "SIGKILL");
    await killed.exited;
    await killed.stop();
    postgres = await startEmbeddedPostgres(options);
    replica.proxy.redirect(Number(new URL(postgres.url).port));
  }
  await load.progress(25);
  await load.stop();
  expect([...load.failures].filter((failure) => failure !== "Unavailable DATABASE_AWAY")).toEqual([]);
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  await load.expectStored(
    {
      url: postgres.url,
      query: async <Row>(text: string, values: unknown[] = []) =>
        (await client.query(text, values)).rows as Row[],
    },
    clients,
  );
  await client.end();
});
