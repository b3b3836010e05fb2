import type { DescMethod } from "@bufbuild/protobuf";
import type { Interceptor } from "@connectrpc/connect";
import type { ErrorTranslator } from "../errors/error-translator.ts";

/** Creates the interceptor that translates what handlers throw into the errors that callers get. */
export function createErrorInterceptor({ translate }: ErrorTranslator): Interceptor {
  async function* translated<T>(messages: AsyncIterable<T>, method: DescMethod): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (error) {
      throw translate(error, method);
    }
  }
  return (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: translated(response.message, request.method) };
    } catch (error) {
      throw translate(error, request.method);
    }
  };
}
