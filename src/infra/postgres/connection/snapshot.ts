import type { Pool, PoolClient } from "pg";
import type { Call } from "../../../kernel/call.ts";
import type { SnapshotQuery } from "../database.ts";
import { isConnectionLost, toAppError } from "../postgres-errors.ts";
import type { Statement } from "../statement.ts";
import { assertNotAborted, queryClient, RESPONSE_SLACK_MS, withClient } from "./pool-client.ts";

/**
 * Runs `work` in a REPEATABLE READ READ ONLY transaction, so that all its statements read one snapshot.
 * @param timeLimitMs upper bound of all statements together, in milliseconds. The call's deadline may lower it
 */
export async function readSnapshot<T>(
  pool: Pool,
  call: Call,
  timeLimitMs: number,
  work: (query: SnapshotQuery) => Promise<T>,
): Promise<T> {
  const deadlineAtMs = Math.min(call.deadlineAtMs, performance.now() + timeLimitMs);
  try {
    return await withClient(pool, call, async (client, discard) => {
      try {
        await client.query("begin transaction isolation level repeatable read read only");
        const result = await work((statement) => queryUntil(deadlineAtMs, client, statement));
        await client.query("commit");
        return result;
      } catch (error) {
        // A broken connection has no transaction left to roll back.
        if (!isConnectionLost(error)) await client.query("rollback").catch(discard);
        throw error;
      }
    });
  } catch (error) {
    assertNotAborted(call);
    throw toAppError(error);
  }
}

/** Runs a statement with the time that is left as its timeout, which may be longer than that of other statements. */
async function queryUntil<Row>(
  deadlineAtMs: number,
  client: PoolClient,
  statement: Statement<Row>,
): Promise<Row[]> {
  const timeoutMs = Math.max(1, Math.ceil(deadlineAtMs - performance.now()));
  await client.query(`set local statement_timeout = ${timeoutMs}`);
  return queryClient(client, statement, timeoutMs + RESPONSE_SLACK_MS);
}
