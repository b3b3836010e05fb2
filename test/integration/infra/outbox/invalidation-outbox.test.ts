import { expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import type { Generation } from "../../../../src/infra/cache/redis-tier.ts";
import { withInvalidationOutbox } from "../../../../src/infra/outbox/invalidation-outbox.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { createTestDatabase } from "../../../support/database.ts";
import { silentLog } from "../../../support/log.ts";

interface Told {
  enqueued: [tags: readonly string[], generation: Generation][];
  invalidated: [tags: readonly string[], generation: Generation][];
}

/** Runs a test on a database that notes what it announces. */
async function withDatabase(work: (db: Database, told: Told) => Promise<void>): Promise<void> {
  const database = await createTestDatabase();
  const limits = { poolMax: 2, poolWaitMs: 5_000, statementTimeoutMs: 5_000 };
  const plain = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const told: Told = { enqueued: [], invalidated: [] };
  const db = withInvalidationOutbox(plain, {
    enqueue: async (_tx, tags, generation) => void told.enqueued.push([tags, generation]),
    invalidate: async (tags, generation) => void told.invalidated.push([tags, generation]),
  });
  await work(db, told).finally(() => plain.close());
  await database.drop();
}

test("what a transaction changed is told after its commit, under the name that its job knows", () =>
  withDatabase(async (db, told) => {
    await db.transact(internalCall(), async (tx) => {
      tx.invalidate("catalog", "product:1", "catalog");
      expect(told.invalidated).toEqual([]);
    });
    expect(told.enqueued).toHaveLength(1);
    expect(told.enqueued[0]?.[0]).toEqual(["catalog", "product:1"]);
    expect(told.invalidated).toEqual(told.enqueued);
  }));

test("a transaction that fails is told too, for it may be committed; its job does not take that for done", () =>
  withDatabase(async (db, told) => {
    const controller = new AbortController();
    // The caller leaves once all is written: from here that looks like a commit whose answer is lost.
    const failing = db.transact(internalCall(controller.signal), async (tx) => {
      tx.invalidate("catalog");
      controller.abort();
    });
    await expect(failing).rejects.toThrow();
    expect(told.invalidated.map(([tags]) => tags)).toEqual([["catalog"]]);
    const [[, enqueued] = []] = told.enqueued;
    expect(told.invalidated[0]?.[1]).not.toEqual(enqueued);
  }));

test("a transaction that changes nothing, or is only tried, is not told", () =>
  withDatabase(async (db, told) => {
    await db.transact(internalCall(), async () => {});
    await db.dryRun(internalCall(), async (tx) => tx.invalidate("catalog"));
    expect(told).toEqual({ enqueued: [], invalidated: [] });
  }));
