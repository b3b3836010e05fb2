import type { EncodedRequest, EncodedResponse, GrpcClient } from "./grpc-client.ts";

/** The number of concurrent calls, and of the connections that they share. */
export const CONCURRENCY = 16;
export const CONNECTIONS = 4;

/** Describes the load, for the notes of a table. */
export const LOAD = `${CONCURRENCY} concurrent calls over ${CONNECTIONS} connections in a closed loop: each call starts when the one before it has ended, so queues outside the service do not show`;

/**
 * Sends requests in a closed loop of `concurrency` workers. The first failure ends it.
 * @param onResponse receives each response and its latency up to the last byte, in milliseconds
 * @returns the total time in seconds
 */
export async function runClosedLoop<Request extends EncodedRequest>(
  client: GrpcClient,
  requests: Iterable<Request>,
  onResponse: (request: Request, ms: number, response: EncodedResponse) => void = () => {},
  concurrency = CONCURRENCY,
): Promise<number> {
  const source = Iterator.from(requests);
  const startMs = performance.now();
  const worker = async () => {
    for (const request of source) {
      const sentMs = performance.now();
      const response = await client.call(request);
      onResponse(request, performance.now() - sentMs, response);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return (performance.now() - startMs) / 1_000;
}

/** Yields `count` values of `next`. */
export function* repeat<T>(count: number, next: () => T): Generator<T, void> {
  for (let index = 0; index < count; index += 1) yield next();
}

/** Yields values of `next` for a number of seconds. */
export function* repeatFor<T>(seconds: number, next: () => T): Generator<T, void> {
  for (const endMs = performance.now() + seconds * 1_000; performance.now() < endMs; ) yield next();
}
