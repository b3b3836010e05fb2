import { setImmediate as nextTurn } from "node:timers/promises";
import type { PoolClient } from "pg";
import { isTransactionFailed } from "../postgres-errors.ts";
import type { Statement } from "../statement.ts";
import { queryClient, RESPONSE_SLACK_MS, setPipelining } from "./pool-client.ts";

/** Runs the statements of a transaction on its connection. */
export interface StatementRunner {
  query<Row>(statement: Statement<Row>): Promise<Row[]>;
  /** See `Tx.pipelined`. */
  pipelined<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Creates a runner that sends a statement when the one before has its response, except in `pipelined`.
 * @param statementTimeoutMs the server's upper bound of each statement, in milliseconds
 */
export function createStatementRunner(client: PoolClient, statementTimeoutMs: number): StatementRunner {
  let sent: Promise<unknown>[] | undefined;
  return {
    query(statement) {
      if (sent === undefined) return queryClient(client, statement);
      // The driver's timeout begins when a statement is sent, and the server runs those before it first.
      const responseTimeoutMs = (sent.length + 1) * statementTimeoutMs + RESPONSE_SLACK_MS;
      const response = queryClient(client, statement, responseTimeoutMs).catch(rethrowAfterCause);
      sent.push(response);
      return response;
    },

    async pipelined(work) {
      // The driver's option concerns all statements of a connection. Here it is on only while the statements of `work`
      // run: in pipeline mode a connection cannot be closed before their responses.
      setPipelining(client, true);
      const responses: Promise<unknown>[] = [];
      sent = responses;
      try {
        return await work();
      } finally {
        await Promise.allSettled(responses);
        sent = undefined;
        setPipelining(client, false);
      }
    },
  };
}

/** Statements behind a failed one fail too. Their errors are thrown later, so that the cause is the first one. */
async function rethrowAfterCause(error: unknown): Promise<never> {
  if (isTransactionFailed(error)) await nextTurn();
  throw error;
}
