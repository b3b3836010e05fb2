import type { Pool, PoolClient } from "pg";
import type { Call } from "../../../kernel/call.ts";
import { AppError, errorMessage } from "../../../kernel/errors.ts";
import { isConnectionLost } from "../postgres-errors.ts";
import { compileStatement, type Statement } from "../statement.ts";

/** Time after the statement timeout in which a response must arrive, in milliseconds. */
export const RESPONSE_SLACK_MS = 1_000;

/**
 * Runs `work` on a connection of the pool, which is closed when the call is aborted.
 *
 * PostgreSQL notices the closed connection within client_connection_check_interval and rolls back. This needs a new
 * connection afterwards, but a cancel request that arrives late could cancel a later statement of another call.
 * @param work calls `discard` for a broken connection, which is then not returned to the pool, and `keepOpen` when an
 *   abort must not close the connection any more
 */
export async function withClient<T>(
  pool: Pool,
  call: Call,
  work: (client: PoolClient, discard: (reason: Error) => void, keepOpen: () => void) => Promise<T>,
): Promise<T> {
  const client = await acquireClient(pool, call);
  const close = () => {
    // In pipeline mode the driver would wait for the responses.
    setPipelining(client, false);
    void client.end();
  };
  let failure: Error | undefined;
  const discard = (reason: Error) => {
    failure = reason;
  };
  const keepOpen = () => call.signal.removeEventListener("abort", close);
  call.signal.addEventListener("abort", close, { once: true });
  try {
    assertNotAborted(call);
    return await work(client, discard, keepOpen);
  } catch (error) {
    if (isConnectionLost(error)) discard(error instanceof Error ? error : new Error(errorMessage(error)));
    throw error;
  } finally {
    keepOpen();
    client.release(failure);
  }
}

/**
 * Runs a statement on a connection and returns its rows.
 * @param responseTimeoutMs longest time from now until its response, in milliseconds. Defaults to the connection's
 */
export async function queryClient<Row>(
  client: PoolClient,
  statement: Statement<Row>,
  responseTimeoutMs?: number,
): Promise<Row[]> {
  const { text, values, name } = compileStatement(statement);
  // The option overrides the connection's own, which is missing in the types of the driver.
  const timeout = responseTimeoutMs === undefined ? {} : { query_timeout: responseTimeoutMs };
  const { rows } = await client.query<Row & object>({ text, name, values: [...values], ...timeout });
  return rows;
}

/** @throws AppError cancelled or deadline_exceeded when the call was aborted */
export function assertNotAborted(call: Call): void {
  if (call.signal.aborted) throw abortReason(call.signal);
}

/** Returns the error of a call whose signal has aborted. */
export function abortReason({ reason }: AbortSignal): AppError {
  if (reason instanceof AppError) return reason;
  return new AppError("cancelled", "The caller left before the change was committed. Nothing was changed.", {
    reason: "CALLER_GONE",
  });
}

/** Takes a connection from the pool; rejects when the call is aborted before there is one. */
async function acquireClient(pool: Pool, call: Call): Promise<PoolClient> {
  assertNotAborted(call);
  const { signal } = call;
  return new Promise<PoolClient>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    // The pool cannot cancel a request for a connection: one that arrives too late is returned.
    const accept = (client: PoolClient) => (signal.aborted ? client.release() : resolve(client));
    pool
      .connect()
      .then(accept, reject)
      .finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Sets whether the driver sends statements without waiting for the responses of the ones before. */
export function setPipelining(client: PoolClient, pipeline: boolean): void {
  Object.assign(client, { pipeline });
}
