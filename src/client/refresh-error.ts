import { ConnectError } from "@connectrpc/connect";

/** Errors of refreshes. Not a subclass, because `instanceof` of ConnectError also matches other ConnectErrors by their shape. */
const refreshErrors = new WeakSet<object>();

/** Returns the error for a call whose session could not be refreshed. */
export function createRefreshError(thrown: unknown): ConnectError {
  const { rawMessage, code, metadata, details } = ConnectError.from(thrown);
  const error = new ConnectError(
    `Failed to refresh the session: ${rawMessage} The next call retries it. If the service has refreshed it and only the response was lost, the session ends: sign in again.`,
    code,
    metadata,
    undefined,
    thrown,
  );
  error.details = details;
  refreshErrors.add(error);
  return error;
}

/** Returns whether a call failed because its session could not be refreshed; a retry could revoke the session. */
export function isRefreshError(error: unknown): boolean {
  return error instanceof ConnectError && refreshErrors.has(error);
}
