import { sql } from "kysely";
import { expect, onTestFinished, test } from "vitest";
import { entities } from "../../../../src/entities.ts";
import { runConsumers } from "../../../../src/infra/outbox/consumer/run-consumers.ts";
import { createWakeUp } from "../../../../src/infra/outbox/wake-up.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { silentLog } from "../../../support/log.ts";
import { connectOutboxClient } from "../../../support/outbox/outbox-client.ts";
import { openOutboxFixture } from "../../../support/outbox/outbox-fixture.ts";
import { createRecordingConsumer, insertNumbers } from "../../../support/outbox/recording-consumer.ts";

const WRITERS = 6;
/** Minimum of each writer. Writers continue until the last kill. */
const TRANSACTIONS = 40;
/** Statements of a long transaction: later ones are committed before it. */
const LONG = 30;
const KILLS = 5;
/** Key of the advisory lock that the test holds until it has killed a consumer. */
const LOCK_KEY = 1;

test("two processes whose connections are killed apply each event of concurrent transactions once", async () => {
  const fixture = await openOutboxFixture();
  const { database } = fixture;
  await fixture.addCursor("recorder");
  const consumer = createRecordingConsumer({
    async apply(tx, events) {
      await insertNumbers(
        tx,
        events.map(({ data }) => data),
      );
      // Waits after the effect while the test kills consumers.
      await tx.query(sql`select pg_advisory_xact_lock_shared(${LOCK_KEY})`);
    },
  });
  const processes = await Promise.all([1, 2].map(() => startProcess(database.url, consumer)));
  const committed: number[] = [];
  let kills = 0;
  const write = async (writer: number) => {
    const client = await connectOutboxClient(database.url);
    for (let index = 0; index < TRANSACTIONS || kills < KILLS; index += 1) {
      const value = writer * 1_000_000 + index;
      await client.query("begin");
      await client.query("select pg_current_xact_id()");
      const statements = index % 7 === writer ? LONG : 1;
      for (let count = 0; count < statements; count += 1) await client.query("select 1");
      await client.append(value);
      const isCommitted = index % 5 !== 0;
      await client.query(isCommitted ? "commit" : "rollback");
      if (isCommitted) committed.push(value);
    }
  };
  const writing = Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  const kill = async () =>
    (
      await database.query(`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'cartwright' and wait_event = 'advisory'`)
    ).length;
  for (; kills < KILLS; kills += 1) {
    await database.query("select pg_advisory_lock($1)", [LOCK_KEY]);
    await expect.poll(kill).toBe(1);
    await database.query("select pg_advisory_unlock($1)", [LOCK_KEY]);
  }
  await writing;
  const sorted = async () => (await fixture.applied()).toSorted((a, b) => a - b);
  await expect.poll(sorted).toEqual(committed.toSorted((a, b) => a - b));
  expect(processes.reduce((sum, { stats }) => sum + stats().rotations, 0)).toBeGreaterThan(0);
});

/** Runs a consumer with a pool of its own, as another process does, and rotates the tables all the time. */
async function startProcess(url: string, consumer: ReturnType<typeof createRecordingConsumer>) {
  const limits = { poolMax: 4, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const db = await openPostgres({ url, entities, log: silentLog, ...limits });
  onTestFinished(() => db.close());
  const intervals = { pollMs: 10, maintenanceMs: 10, rotationBytes: 0 };
  const running = await runConsumers({
    db,
    wakeUp: createWakeUp(),
    consumers: [consumer],
    log: silentLog,
    ...intervals,
  });
  onTestFinished(() => running.close());
  return running;
}
