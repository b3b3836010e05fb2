import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** Response timeout of a unary call, in milliseconds: longer than every deadline of the contract. */
export const RESPONSE_TIMEOUT_MS = 40_000;

/**
 * Maps failures of the transport to codes of the contract: UNAVAILABLE for a lost connection, DEADLINE_EXCEEDED for a
 * missing response. The innermost interceptor: only here is a TypeError certain to come from fetch.
 */
export const connectionErrorInterceptor: Interceptor = (next) => async (request) => {
  const timeout = new AbortController();
  const timer = request.stream
    ? undefined
    : setTimeout(() => timeout.abort(responseTimeout()), RESPONSE_TIMEOUT_MS);
  try {
    return await next({ ...request, signal: AbortSignal.any([request.signal, timeout.signal]) });
  } catch (error) {
    throw !request.signal.aborted && isConnectionLost(error) ? unavailable(error, request.url) : error;
  } finally {
    clearTimeout(timer);
  }
};

/**
 * Returns whether an error means a lost connection. Fetch throws a TypeError. The transports of Node throw
 * CANCELED, which the service sends only to callers that have cancelled, or ABORTED with a cause, which no error from the
 * service has.
 */
function isConnectionLost(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return error instanceof TypeError;
  return error.code === Code.Canceled || (error.code === Code.Aborted && error.cause !== undefined);
}

function unavailable(error: unknown, url: string): ConnectError {
  const { rawMessage, cause } = ConnectError.from(error);
  // In Node the TypeError says only "fetch failed"; its cause says why.
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : rawMessage;
  return new ConnectError(
    `No response from ${url}: ${reason}. Check that the service is running and, in a browser, that it allows the page's origin.`,
    Code.Unavailable,
    undefined,
    undefined,
    error,
  );
}

function responseTimeout(): ConnectError {
  return new ConnectError(`No response within ${RESPONSE_TIMEOUT_MS / 1_000} s.`, Code.DeadlineExceeded);
}
