import { onTestFinished } from "vitest";
import { entities } from "../../../src/entities.ts";
import type { OutboxConsumer } from "../../../src/infra/outbox/consumer/consumer.ts";
import {
  type RunConsumersOptions,
  type RunningConsumers,
  runConsumers,
} from "../../../src/infra/outbox/consumer/run-consumers.ts";
import { withOutbox } from "../../../src/infra/outbox/outbox.ts";
import type { Topic } from "../../../src/infra/outbox/topic.ts";
import { createWakeUp, type WakeUp } from "../../../src/infra/outbox/wake-up.ts";
import { type Database, openPostgres } from "../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../src/kernel/call.ts";
import { silentLog } from "../log.ts";
import { createTestDatabase, type TestDatabase } from "../stores/database.ts";

export const numbers: Topic<number> = { name: "numbers" };

/** So long that no test waits for it. */
export const NEVER_MS = 3_600_000;

/** A database with an empty outbox, and the table `applied` for the effects of consumers. */
export interface OutboxFixture {
  database: TestDatabase;
  db: Database;
  wakeUp: WakeUp;
  /** Sets the cursor of a consumer to the start of the outbox. */
  addCursor(consumer: string): Promise<void>;
  /** Publishes numbers in one transaction. */
  publish(...values: number[]): Promise<void>;
  /** Returns the numbers that were inserted into `applied`, in their order. */
  applied(): Promise<number[]>;
  /** Runs consumers as one more process, until the test is finished. */
  run(
    consumers: readonly OutboxConsumer<number>[],
    options?: Partial<RunConsumersOptions>,
  ): Promise<RunningConsumers>;
}

/** Opens a fixture, which is closed when the test is finished. */
export async function openOutboxFixture(): Promise<OutboxFixture> {
  const database = await createTestDatabase();
  onTestFinished(() => database.drop());
  await database.query("create table applied (position bigint generated always as identity, value bigint)");
  // The cursors of consumers that do not run here.
  await database.query("delete from outbox_cursor");
  const limits = { poolMax: 8, poolWaitMs: 30_000, statementTimeoutMs: 30_000 };
  const postgres = await openPostgres({ url: database.url, entities, log: silentLog, ...limits });
  onTestFinished(() => postgres.close());
  const wakeUp = createWakeUp();
  const db = withOutbox(postgres, wakeUp);
  return {
    database,
    db,
    wakeUp,
    async addCursor(consumer) {
      await database.query("insert into outbox_cursor (consumer, epoch, xid, id) values ($1, 1, '0', 0)", [
        consumer,
      ]);
    },
    publish: (...values) =>
      db.transact(internalCall(), async (tx) => {
        for (const value of values) tx.publish(numbers, value);
      }),
    async applied() {
      const rows = await database.query<{ value: string }>("select value from applied order by position");
      return rows.map(({ value }) => Number(value));
    },
    async run(consumers, options = {}) {
      const running = await runConsumers({ db, wakeUp, consumers, log: silentLog, ...options });
      onTestFinished(() => running.close());
      return running;
    },
  };
}
