import { expect, inject, test } from "vitest";
import type { InvalidationBus } from "../../../../src/infra/cache/invalidation-bus.ts";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import { skipEvents } from "../../../../src/infra/outbox/consumer/skip-events.ts";
import { createInvalidationConsumer } from "../../../../src/infra/outbox/invalidation/invalidation-consumer.ts";
import { withInvalidationOutbox } from "../../../../src/infra/outbox/invalidation/invalidation-outbox.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { createRequest, openReplica, waitUntilUsed } from "../../../support/cache/replica.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { type OutboxFixture, openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";

const call = internalCall();

/** Commits a change of a tag as a process does that dies before it invalidates the tag. */
async function changeWithoutInvalidation({ db, database }: OutboxFixture, tag: string): Promise<void> {
  const dead = withInvalidationOutbox(db, {
    invalidate: async () => {},
    invalidateThrottled: () => {},
    ensureInvalidated: async () => {},
  });
  await dead.transact(call, async (tx) => tx.invalidate(tag));
  // A younger row may still be invalidated by its writer.
  await database.query("update outbox_1 set created_at = created_at - interval '1 minute'");
  await waitForHorizon(database);
}

const apply = ({ db }: OutboxFixture, bus: InvalidationBus) =>
  applyBatch(db, call, createInvalidationConsumer(bus));

const skip = ({ db }: OutboxFixture, bus: InvalidationBus) =>
  skipEvents(withInvalidationOutbox(db, bus), call, createInvalidationConsumer(bus));

test.each([
  ["by its event", apply],
  ["with all others if the consumer is too far behind", skip],
])("a change whose writer died is invalidated %s", async (_name, run) => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("cache-invalidation");
  const replica = openReplica(inject("redisUrl"));
  await waitUntilUsed(replica);
  const read = async (value: string) => {
    const request = { ...createRequest("key", async () => value), tags: ["product:1"] };
    const { entry } = await replica.cache.getOrLoad(request);
    return "value" in entry.outcome ? entry.outcome.value : undefined;
  };
  await read("old");
  await changeWithoutInvalidation(fixture, "product:1");
  expect(await read("new")).toBe("old");
  await run(fixture, replica.bus);
  expect(await read("new")).toBe("new");
});

test("an invalidation that Redis does not accept stays unread", async () => {
  const fixture = await openOutboxFixture();
  await fixture.addCursor("cache-invalidation");
  await changeWithoutInvalidation(fixture, "product:1");
  const away = createInvalidationConsumer({
    ensureAllInvalidated: async () => false,
  });
  await expect(applyBatch(fixture.db, call, away)).rejects.toThrow("Redis did not accept");
  const received: string[] = [];
  const back = createInvalidationConsumer({
    async ensureAllInvalidated(invalidations) {
      received.push(...invalidations.flatMap(({ tags }) => tags));
      return true;
    },
  });
  await applyBatch(fixture.db, call, back);
  expect(received).toEqual(["product:1"]);
});
