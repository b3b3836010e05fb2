import type { Interceptor } from "@connectrpc/connect";
import { callKey } from "../call/call-context.ts";
import type { CallLifetime } from "../call/call-lifetime.ts";

/**
 * Creates the interceptor that enforces the deadline of calls and stops them when their caller has disconnected. The
 * signal stops the handler, which has a little time to settle; a response in that time counts, for it may have
 * committed.
 */
export function createDeadlineInterceptor(): Interceptor {
  return (next) => async (request) => {
    const lifetime = request.contextValues.get(callKey)?.lifetime;
    if (lifetime === undefined) return next(request);
    lifetime.begin();
    let isStream = false;
    try {
      const response = await lifetime.settle(next(request));
      if (!response.stream) return response;
      isStream = true;
      return { ...response, message: untilStopped(lifetime, response.message) };
    } finally {
      if (!isStream) lifetime.finish();
    }
  };
}

async function* untilStopped<T>(lifetime: CallLifetime, source: AsyncIterable<T>): AsyncGenerator<T> {
  const messages = source[Symbol.asyncIterator]();
  let isComplete = false;
  try {
    for (;;) {
      const message = await lifetime.settle(messages.next());
      if (message.done === true) {
        isComplete = true;
        return;
      }
      yield message.value;
    }
  } finally {
    lifetime.finish();
    // Not awaited: a handler that ignores its signal would delay the response.
    if (!isComplete) messages.return?.().catch(() => {});
  }
}
