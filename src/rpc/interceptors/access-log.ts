import type { Interceptor } from "@connectrpc/connect";
import type { AccessLog } from "../call/access-log-writer.ts";
import { callKey } from "../call/call-context.ts";

/** Creates the interceptor that logs each call when it ends. */
export function createAccessLogInterceptor(logCall: AccessLog): Interceptor {
  return (next) => async (request) => {
    const { method } = request;
    const call = request.contextValues.get(callKey);
    try {
      const response = await next(request);
      if (!response.stream) {
        logCall(method, call);
        return response;
      }
      const message = logged(response.message, (error) => logCall(method, call, error));
      return { ...response, message };
    } catch (error) {
      logCall(method, call, error);
      throw error;
    }
  };
}

async function* logged<T>(messages: AsyncIterable<T>, onEnd: (error?: unknown) => void): AsyncGenerator<T> {
  let failure: unknown;
  try {
    yield* messages;
  } catch (error) {
    failure = error;
    throw error;
  } finally {
    onEnd(failure);
  }
}
