import type { Timestamp } from "@bufbuild/protobuf/wkt";

/** Returns the bound of a time range, rounded up to milliseconds, the precision of stored times: it bounds the same rows. */
export function toTimeBound(time: Timestamp | undefined): Date | undefined {
  return time && new Date(Number(time.seconds) * 1_000 + Math.ceil(time.nanos / 1_000_000));
}
