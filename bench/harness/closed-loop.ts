import type { EncodedRequest, EncodedResponse, GrpcClient } from "./grpc-client.ts";

/** Calls at once, and the connections that they share. */
export const CONCURRENCY = 16;
export const CONNECTIONS = 4;

/** How a load is made, for the notes of a table. */
export const LOAD = `${CONCURRENCY} calls at once over ${CONNECTIONS} connections, each followed by the next once it is answered (a closed loop: a slow service is asked less, and queues outside do not show)`;

/**
 * Sends requests, so many at once as `concurrency` says, and tells of each answer. One that fails ends it.
 * @param note told of each answer, with the milliseconds from the call to its last byte
 * @returns how long it took in all, seconds
 */
export async function drive<Request extends EncodedRequest>(
  client: GrpcClient,
  requests: Iterable<Request>,
  note: (request: Request, ms: number, answer: EncodedResponse) => void = () => {},
  concurrency = CONCURRENCY,
): Promise<number> {
  const source = Iterator.from(requests);
  const startMs = performance.now();
  const worker = async () => {
    for (const request of source) {
      const sentMs = performance.now();
      const answer = await client.call(request);
      note(request, performance.now() - sentMs, answer);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return (performance.now() - startMs) / 1_000;
}

/** So many values. */
export function* times<T>(count: number, next: () => T): Generator<T, void> {
  for (let index = 0; index < count; index += 1) yield next();
}

/** Values for so long. */
export function* during<T>(seconds: number, next: () => T): Generator<T, void> {
  for (const endMs = performance.now() + seconds * 1_000; performance.now() < endMs; ) yield next();
}
