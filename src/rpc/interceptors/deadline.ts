import type { Interceptor } from "@connectrpc/connect";
import { callKey } from "../call/call-context.ts";
import type { CallLifetime } from "../call/call-lifetime.ts";

/**
 * Creates the interceptor that enforces the deadline of calls and stops them when their caller has disconnected. The
 * signal stops the handler, which has a little time to settle; a response in that time counts, for it may have
 * committed. A watch, which has no deadline of its own, fails with the reason of the stop even if its handler returns.
 */
export function createDeadlineInterceptor(): Interceptor {
  return (next) => async (request) => {
    const call = request.contextValues.get(callKey);
    if (call === undefined) return next(request);
    const { lifetime } = call;
    lifetime.begin();
    let isStream = false;
    try {
      const response = await lifetime.settle(next(request));
      if (!response.stream) return response;
      isStream = true;
      const isWatch = call.setup.policy?.deadline?.unlimited === true;
      return { ...response, message: untilStopped(lifetime, response.message, isWatch) };
    } finally {
      if (!isStream) lifetime.finish();
    }
  };
}

/** @param isWatch whether the messages are incomplete if the call was stopped before their end */
async function* untilStopped<T>(
  lifetime: CallLifetime,
  source: AsyncIterable<T>,
  isWatch: boolean,
): AsyncGenerator<T> {
  const messages = source[Symbol.asyncIterator]();
  let hasEnded = false;
  try {
    for (;;) {
      const message = await lifetime.settle(messages.next());
      if (message.done === true) {
        hasEnded = true;
        if (isWatch) lifetime.assertNotStopped();
        return;
      }
      lifetime.deliveringSinceMs = performance.now();
      yield message.value;
      lifetime.deliveringSinceMs = undefined;
    }
  } finally {
    lifetime.finish();
    // Not awaited: a handler that ignores its signal would delay the response.
    if (!hasEnded) messages.return?.().catch(() => {});
  }
}
