import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import type { ThrottledTag } from "../../../../src/infra/cache/invalidation/messages.ts";
import type { Generation } from "../../../../src/infra/cache/redis-tier.ts";
import { withInvalidationOutbox } from "../../../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import type { PublishedInvalidation } from "../../../../src/infra/outbox/invalidation/invalidation-topic.ts";
import { withOutbox } from "../../../../src/infra/outbox/outbox.ts";
import { runMutation } from "../../../../src/infra/postgres/idempotency/run-mutation.ts";
import { type Database, openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { silentLog } from "../../../support/log.ts";
import { createTestDatabase } from "../../../support/stores/database.ts";

interface Published {
  invalidated: [tags: readonly string[], generation: Generation][];
  throttled: ThrottledTag[];
  ensured: [tags: readonly string[], generation: Generation][];
}

type StoredThrottled = () => Promise<PublishedInvalidation["throttled"]>;
type StoredInvalidations = () => Promise<[tags: readonly string[], generation: Generation][]>;

/** Runs a test on a database whose invalidations are recorded. */
async function withDatabase(
  work: (
    db: Database,
    published: Published,
    stored: StoredInvalidations,
    storedThrottled: StoredThrottled,
  ) => Promise<void>,
): Promise<void> {
  const database = await createTestDatabase();
  const limits = { poolMax: 2, poolWaitMs: 5_000, statementTimeoutMs: 5_000 };
  const plain = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  const published: Published = { invalidated: [], throttled: [], ensured: [] };
  const db = withInvalidationOutbox(withOutbox(plain, { notify: () => {} }), {
    invalidate: async (tags, generation) => void published.invalidated.push([tags, generation]),
    invalidateThrottled: (change) => void published.throttled.push(change),
    ensureInvalidated: async (tags, generation) => void published.ensured.push([tags, generation]),
  });
  const storedEvents = async () => {
    const rows = await database.query<{ events: { data: PublishedInvalidation }[] }>(
      "select events from outbox_1 order by id",
    );
    return rows.flatMap(({ events }) => events.map(({ data }) => data));
  };
  const stored: StoredInvalidations = async () =>
    (await storedEvents()).map(({ tags, generation }) => [tags, Buffer.from(generation, "base64")]);
  const storedThrottled: StoredThrottled = async () =>
    (await storedEvents()).flatMap(({ throttled }) => throttled);
  await work(db, published, stored, storedThrottled).finally(() => plain.close());
  await database.drop();
}

test("tags of a transaction are invalidated after its commit, with the generation that it has stored", () =>
  withDatabase(async (db, published, stored) => {
    await db.transact(internalCall(), async (tx) => {
      tx.invalidate("catalog", "product:1", "catalog");
      expect(published.invalidated).toEqual([]);
    });
    expect(published.invalidated.map(([tags]) => tags)).toEqual([["catalog", "product:1"]]);
    expect(await stored()).toEqual(published.invalidated);
  }));

test("throttled tags of a transaction are invalidated after its commit, and stored with their last versions", () =>
  withDatabase(async (db, published, stored, storedThrottled) => {
    await db.transact(internalCall(), async (tx) => {
      tx.invalidateThrottled("product:1", 8n);
      tx.invalidateThrottled("product:1", 9n);
      tx.invalidateThrottled("product:2", 2n ** 60n);
      tx.invalidateThrottled("product:3", 1n);
      tx.invalidate("product:3");
      expect(published.throttled).toEqual([]);
    });
    expect(published.throttled).toEqual([
      { tag: "product:1", version: 9n },
      { tag: "product:2", version: 2n ** 60n },
    ]);
    expect(await stored()).toEqual(published.invalidated);
    expect(published.invalidated.map(([tags]) => tags)).toEqual([["product:3"]]);
    expect(await storedThrottled()).toEqual([
      ["product:1", "9"],
      ["product:2", String(2n ** 60n)],
    ]);
  }));

test("throttled tags of a failed transaction are invalidated before it fails, and without their versions", () =>
  withDatabase(async (db, published) => {
    const controller = new AbortController();
    const failing = db.transact(internalCall(controller.signal), async (tx) => {
      tx.invalidateThrottled("product:1", 2n);
      controller.abort();
    });
    await expect(failing).rejects.toThrow();
    expect(published.invalidated.map(([tags]) => tags)).toEqual([["product:1"]]);
    expect(published.throttled).toEqual([]);
  }));

test("tags of a failed transaction are invalidated as well, since it may have committed, with another generation than it has stored", () =>
  withDatabase(async (db, published) => {
    const controller = new AbortController();
    // The caller leaves after the last statement: for the outbox this is the same as a commit whose response was lost.
    let generation: Generation | undefined;
    const failing = db.transact(internalCall(controller.signal), async (tx) => {
      tx.invalidate("catalog");
      generation = tx.invalidation().generation;
      controller.abort();
    });
    await expect(failing).rejects.toThrow();
    expect(published.invalidated.map(([tags]) => tags)).toEqual([["catalog"]]);
    expect(generation).toBeDefined();
    expect(published.invalidated[0]?.[1]).not.toEqual(generation);
  }));

test("a transaction that changes nothing, or a dry run, invalidates no tags", () =>
  withDatabase(async (db, published) => {
    await db.transact(internalCall(), async () => {});
    await db.dryRun(internalCall(), async (tx) => tx.invalidate("catalog"));
    expect(published).toEqual({ invalidated: [], throttled: [], ensured: [] });
  }));

test("a repeat of an idempotent request repeats the invalidation of the first one, with its generation", () =>
  withDatabase(async (db, published, stored) => {
    const call = internalCall();
    const requestId = randomUUID();
    const run = (tags: string[]) =>
      runMutation(db, call, { method: "Test", requestId }, {}, async (tx) => tx.invalidate(...tags));
    await run(["catalog", "product:1"]);
    expect(published.ensured).toEqual([]);
    expect((await run(["not run"])).replayed).toBe(true);
    expect(published.ensured).toEqual(await stored());
    expect(published.invalidated).toHaveLength(1);
  }));

test("a repeat of an idempotent request without tags invalidates nothing", () =>
  withDatabase(async (db, published) => {
    const requestId = randomUUID();
    const run = () => runMutation(db, internalCall(), { method: "Test", requestId }, {}, async () => {});
    await run();
    expect((await run()).replayed).toBe(true);
    expect(published).toEqual({ invalidated: [], throttled: [], ensured: [] });
  }));
