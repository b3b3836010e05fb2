import { Client } from "pg";
import type { Topic } from "../../../src/infra/outbox/topic.ts";

/** A change of a resource, with the version that its row has afterwards. */
export interface Change {
  readonly number: number;
  readonly resource: number;
  readonly version: number;
}

export const changes: Topic<Change> = { name: "changes" };

/** Number of resources whose rows transactions lock and change. */
export const RESOURCES = 4;

interface OpenTransaction {
  xid: bigint;
  changes: Change[];
}

/** A connection whose transactions change resources and publish the changes. */
export interface ModelWriter {
  readonly transaction: OpenTransaction | undefined;
  begin(): Promise<void>;
  /** Changes a resource that no open transaction has changed, and writes the change to the outbox. */
  change(resource: number): Promise<void>;
  end(command: "commit" | "rollback"): Promise<void>;
}

/** Transactions on a database, and what a reader of the outbox may and must see of them. */
export interface OutboxModel {
  readonly writers: readonly ModelWriter[];
  /** Committed changes by number, with their transaction. */
  readonly committed: ReadonlyMap<number, Change & { xid: bigint }>;
  /** Returns the smallest id of the open transactions; undefined without one. */
  oldestXid(): bigint | undefined;
  /** Ends open transactions, and empties the tables. */
  reset(): Promise<void>;
  query<Row extends object>(text: string): Promise<Row[]>;
  close(): Promise<void>;
}

export async function createOutboxModel(url: string, writerCount: number): Promise<OutboxModel> {
  const clients = Array.from({ length: writerCount + 1 }, () => new Client({ connectionString: url }));
  await Promise.all(clients.map((client) => client.connect()));
  const [control, ...writing] = clients;
  if (control === undefined) throw new Error("no connection");
  await control.query(`
    create table resource (id integer primary key, version integer not null);
    create table counted (number integer not null);
    create table latest (resource integer primary key, version integer not null)`);
  const committed = new Map<number, Change & { xid: bigint }>();
  let lastNumber = 0;
  const writers = writing.map((client) => createWriter(client, committed, () => ++lastNumber));
  return {
    writers,
    committed,
    oldestXid: () =>
      writers
        .flatMap(({ transaction }) => transaction?.xid ?? [])
        .reduce<bigint | undefined>(
          (oldest, xid) => (oldest === undefined || xid < oldest ? xid : oldest),
          undefined,
        ),
    async reset() {
      for (const { transaction, end } of writers) if (transaction !== undefined) await end("rollback");
      committed.clear();
      await control.query(`
        truncate outbox_1, outbox_2, outbox_3, resource, counted, latest;
        delete from outbox_cursor;
        insert into outbox_cursor (consumer, epoch, xid, id) values ('counter', 1, '0', 0), ('follower', 1, '0', 0);
        insert into resource select id, 0 from generate_series(0, ${RESOURCES - 1}) as id`);
    },
    query: async <Row extends object>(text: string) => (await control.query<Row>(text)).rows,
    async close() {
      await Promise.all(clients.map((client) => client.end()));
    },
  };
}

function createWriter(
  client: Client,
  committed: Map<number, Change & { xid: bigint }>,
  nextNumber: () => number,
): ModelWriter {
  let transaction: OpenTransaction | undefined;
  return {
    get transaction() {
      return transaction;
    },
    async begin() {
      await client.query("begin");
      const { rows } = await client.query<{ xid: string }>("select pg_current_xact_id()::text as xid");
      transaction = { xid: BigInt(rows[0]?.xid ?? 0), changes: [] };
    },
    async change(resource) {
      const { rows } = await client.query<{ version: number }>(
        "update resource set version = version + 1 where id = $1 returning version",
        [resource],
      );
      const change = { number: nextNumber(), resource, version: rows[0]?.version ?? 0 };
      await client.query("select append_outbox($1)", [
        JSON.stringify([{ topic: changes.name, data: change }]),
      ]);
      transaction?.changes.push(change);
    },
    async end(command) {
      await client.query(command);
      if (command === "commit") {
        for (const change of transaction?.changes ?? []) {
          committed.set(change.number, { ...change, xid: transaction?.xid ?? 0n });
        }
      }
      transaction = undefined;
    },
  };
}
