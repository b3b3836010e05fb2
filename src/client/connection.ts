import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** Longer than any deadline of the contract: a shop that is silent for so long is not there. */
export const maxSilenceMs = 40_000;

/**
 * Says in the codes of the contract what became of a try that the shop did not answer, whatever the
 * transport: UNAVAILABLE for a lost connection, DEADLINE_EXCEEDED for silence. This is the innermost
 * interceptor: here a TypeError can only be that of fetch, further out it would be somebody's mistake.
 */
export const connection: Interceptor = (next) => async (request) => {
  const silence = new AbortController();
  const timer = request.stream ? undefined : setTimeout(() => silence.abort(tooSilent()), maxSilenceMs);
  try {
    return await next({ ...request, signal: AbortSignal.any([request.signal, silence.signal]) });
  } catch (error) {
    throw !request.signal.aborted && isLoss(error) ? unavailable(error, request.url) : error;
  } finally {
    clearTimeout(timer);
  }
};

/**
 * What the transports make of a connection that breaks: fetch a TypeError; those of Node CANCELED, which a
 * shop says only to callers who left, or ABORTED with a cause, which no error of the shop has here.
 */
function isLoss(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return error instanceof TypeError;
  return error.code === Code.Canceled || (error.code === Code.Aborted && error.cause !== undefined);
}

function unavailable(error: unknown, url: string): ConnectError {
  const { rawMessage, cause } = ConnectError.from(error);
  // In Node the TypeError says only "fetch failed", and its own cause why.
  const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : rawMessage;
  return new ConnectError(
    `No answer from ${url}: ${why}. Check that the shop runs there and, in a browser, allows the page's origin.`,
    Code.Unavailable,
    undefined,
    undefined,
    error,
  );
}

function tooSilent(): ConnectError {
  return new ConnectError(`No answer within ${maxSilenceMs / 1_000} s.`, Code.DeadlineExceeded);
}
