import type { Interceptor } from "@connectrpc/connect";
import { type ActiveCall, callKey } from "../call/active-call.ts";

/**
 * Holds handlers to the deadline of their call and to a caller who may leave. Each is told by the signal
 * and given a little time to settle; what it answers in that time is the answer, for it may have committed.
 */
export function createDeadlineInterceptor(): Interceptor {
  return (next) => async (request) => {
    const call = request.contextValues.get(callKey);
    if (call === undefined) return next(request);
    call.begin();
    let streams = false;
    try {
      const response = await call.settle(next(request));
      if (!response.stream) return response;
      streams = true;
      return { ...response, message: bounded(call, response.message) };
    } finally {
      if (!streams) call.end();
    }
  };
}

async function* bounded<T>(call: ActiveCall, source: AsyncIterable<T>): AsyncGenerator<T> {
  const messages = source[Symbol.asyncIterator]();
  let finished = false;
  try {
    for (;;) {
      const message = await call.settle(messages.next());
      if (message.done === true) {
        finished = true;
        return;
      }
      yield message.value;
    }
  } finally {
    call.end();
    // Not awaited: a handler that ignores its signal would hold the answer back.
    if (!finished) messages.return?.().catch(() => {});
  }
}
