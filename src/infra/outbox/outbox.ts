import { sql } from "kysely";
import type { Call } from "../../kernel/call.ts";
import type { Database, TransactionLimits, Tx } from "../postgres/postgres.ts";
import { prepare } from "../postgres/statement.ts";
import type { Topic } from "./topic.ts";
import type { WakeUp } from "./wake-up.ts";

/** An event as it is stored. */
interface StoredEvent {
  topic: string;
  data: unknown;
}

/** Maximum length of the JSON of a transaction's events, in UTF-16 code units. */
const MAX_LENGTH = 8 * 2 ** 20;

const APPEND = prepare<[events: string], object>((events) => sql`select append_outbox(${events}::jsonb)`);

/**
 * Wraps a database so that `tx.publish` takes effect: the events of a transaction are stored in one row of the outbox,
 * which is written before the commit. The consumers of this process are notified after the commit.
 */
export function withOutbox(db: Database, wakeUp: Pick<WakeUp, "notify">): Database {
  return {
    ...db,
    async transact<T>(call: Call, work: (tx: Tx) => Promise<T>, limits?: TransactionLimits): Promise<T> {
      let topics: ReadonlySet<string> = new Set();
      const result = await db.transact(
        call,
        async (tx) => {
          const events: StoredEvent[] = [];
          const publish = <Data>({ name }: Topic<Data>, data: Data) =>
            void events.push({ topic: name, data });
          const returned = await work({ ...tx, publish });
          topics = new Set(events.map(({ topic }) => topic));
          if (events.length > 0) await tx.query(APPEND(encode(events)));
          return returned;
        },
        limits,
      );
      if (topics.size > 0) wakeUp.notify(topics);
      return result;
    },
  };
}

function encode(events: readonly StoredEvent[]): string {
  const json = JSON.stringify(events);
  if (json.length > MAX_LENGTH) {
    throw new Error(
      `The events of a transaction have ${json.length} characters; at most ${MAX_LENGTH} are allowed`,
    );
  }
  return json;
}
