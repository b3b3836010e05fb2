import type { EncodedRequest, GrpcClient } from "./grpc-client.ts";
import { median } from "./numbers.ts";

/** One side of a comparison: a client and its requests. */
export interface Side {
  client: GrpcClient;
  next(): EncodedRequest;
}

/**
 * Returns the median latencies of two sides, milliseconds. Calls alternate one at a time, so that both sides see the
 * same state of the machine. A warm-up of a fifth of the rounds does not count.
 */
export async function comparePaired(
  one: Side,
  other: Side,
  rounds: number,
): Promise<{ ms: number; otherMs: number }> {
  const [times, otherTimes]: [number[], number[]] = [[], []];
  const time = async ({ client, next }: Side): Promise<number> => {
    const request = next();
    const startMs = performance.now();
    await client.call(request);
    return performance.now() - startMs;
  };
  const warmUp = Math.ceil(rounds / 5);
  for (let round = 0; round < warmUp + rounds; round += 1) {
    // Alternates, because the second call finds the processor awake.
    const isFirst = round % 2 === 0;
    const early = await time(isFirst ? one : other);
    const late = await time(isFirst ? other : one);
    if (round < warmUp) continue;
    times.push(isFirst ? early : late);
    otherTimes.push(isFirst ? late : early);
  }
  return { ms: median(times), otherMs: median(otherTimes) };
}
