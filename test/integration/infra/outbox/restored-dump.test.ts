import { expect, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { applyBatch } from "../../../../src/infra/outbox/consumer/apply-batch.ts";
import { migrate } from "../../../../src/infra/postgres/migrate.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { silentLog } from "../../../support/log.ts";
import { waitForHorizon } from "../../../support/outbox/horizon.ts";
import { openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";
import { createRecordingConsumer } from "../../../support/outbox/recording-consumer.ts";

/** Opens a database as if it was restored from a server with larger transaction ids. 1 is published, but not read. */
async function openRestored() {
  const fixture = await openOutboxFixture();
  const { database } = fixture;
  await fixture.addCursor("recorder");
  await fixture.publish(1);
  await database.query("update outbox_cursor set xid = '9000000000000000000', id = 1");
  await database.query("update outbox_1 set xid = '9000000000000000001'");
  await database.query("update outbox_state set system_identifier = 1");
  return fixture;
}

test("after a restore to another server, events of the dump come first and new ones are not skipped", async () => {
  const fixture = await openRestored();
  const { database, publish, applied, run } = fixture;
  await migrate(database.url, entities, silentLog);
  await migrate(database.url, entities, silentLog);
  expect(await database.query("select epoch from outbox_state")).toEqual([{ epoch: 2 }]);
  await publish(2);
  await run([createRecordingConsumer()], { pollMs: 10 });
  await expect.poll(applied).toEqual([1, 2]);
});

test("after a restore to another server, all cached responses are invalidated", async () => {
  const { database } = await openRestored();
  await migrate(database.url, entities, silentLog);
  const rows = await database.query("select events #> '{0,data,tags}' as tags from outbox_1 where epoch = 2");
  expect(rows).toEqual([{ tags: ["*"] }]);
});

test("without a new epoch, the consumer would skip events that are published after the restore", async () => {
  const { database, db, publish } = await openRestored();
  await publish(2);
  await database.query("delete from outbox_1 where xid = '9000000000000000001'");
  await waitForHorizon(database);
  expect(await applyBatch(db, internalCall(), createRecordingConsumer())).toMatchObject({ rows: 0 });
});
