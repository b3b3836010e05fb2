import { Client } from "pg";
import { onTestFinished } from "vitest";

/** A connection of another application, which writes to the outbox in transactions of its own. */
export interface OutboxClient {
  query<Row extends object>(text: string, values?: unknown[]): Promise<Row[]>;
  /** Writes numbers to the outbox in the open transaction, or in one of its own. */
  append(...values: number[]): Promise<void>;
}

/** Connects until the test is finished. */
export async function connectOutboxClient(url: string, applicationName = "test"): Promise<OutboxClient> {
  const client = new Client({ connectionString: url, application_name: applicationName });
  await client.connect();
  onTestFinished(() => client.end());
  return {
    query: async <Row extends object>(text: string, values: unknown[] = []) =>
      (await client.query<Row>(text, values)).rows,
    async append(...values) {
      const events = values.map((data) => ({ topic: "numbers", data }));
      await client.query("select append_outbox($1)", [JSON.stringify(events)]);
    },
  };
}
