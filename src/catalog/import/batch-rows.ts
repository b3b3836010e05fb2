import { AppError, invalidField } from "../../kernel/errors.ts";
import type { ImportKey, RowRange } from "./progress.ts";
import type { ImportChunk, ImportRow } from "./row.ts";
import type { ImportBatch } from "./write-batch.ts";

/** A batch is full with so many rows, or so many characters in them: a second's work at most. */
const BATCH_ROWS = 1_000;
const BATCH_CHARS = 2_000_000;

/**
 * Makes batches of the parts of a stream. Rows that are taken already are passed over.
 * @throws INVALID_ARGUMENT for a part of another import, FAILED_PRECONDITION when rows are missing between two
 */
export async function* batchRows(
  key: ImportKey,
  taken: readonly RowRange[],
  parts: AsyncGenerator<ImportChunk>,
): AsyncGenerator<ImportBatch> {
  let next = firstMissing(taken);
  let [items, size] = [[] as ImportRow[], 0];
  const batch = () => {
    const full = { offset: next - items.length, items };
    [items, size] = [[], 0];
    return full;
  };
  for await (const part of parts) {
    assertSame(key, part);
    if (part.offset > next) {
      // What has come in order is written first, so that the caller can go on at the gap.
      if (items.length > 0) yield batch();
      throw missingRowsError(part.offset, next);
    }
    for (const item of part.items.slice(next - part.offset)) {
      const known = taken.some(([from, to]) => next >= from && next < to);
      if (known && items.length > 0) yield batch();
      if (!known) {
        items.push(item);
        size += sizeOf(item);
      }
      next += 1;
    }
    if (items.length >= BATCH_ROWS || size >= BATCH_CHARS) yield batch();
  }
  if (items.length > 0) yield batch();
}

/** Where an import has its first hole, or ends. */
export function firstMissing([first]: readonly RowRange[]): number {
  return first?.[0] === 0 ? first[1] : 0;
}

/** FAILED_PRECONDITION that says where to go on. */
export function missingRowsError(offset: number, next: number): AppError {
  const description = `rows ${next + 1} to ${offset} have not come`;
  return new AppError("failed_precondition", `The import has a gap: ${description}. Go on with them.`, {
    reason: "IMPORT_OFFSET",
    metadata: { next_offset: String(next) },
    preconditions: [{ type: "OFFSET", subject: "offset", description }],
  });
}

/** A stream with its first part, which was read before, in front. */
export async function* prepend<T>(first: T, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

/**
 * Works on the items of a stream, on `width` of them at a time while the next is on its way. When one fails,
 * or the stream does, those at work are waited for.
 */
export async function mapConcurrent<T>(
  source: AsyncGenerator<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failing = Promise.withResolvers<never>();
  failing.promise.catch(() => {});
  try {
    for (;;) {
      const item = await Promise.race([source.next(), failing.promise]);
      if (item.done === true) break;
      while (running.size === width) await Promise.race([...running, failing.promise]);
      const run: Promise<void> = work(item.value)
        .catch(failing.reject)
        .finally(() => running.delete(run));
      running.add(run);
    }
    await Promise.race([Promise.all(running), failing.promise]);
  } finally {
    // Not awaited: it would wait behind a read that never ends.
    source.return(undefined).catch(() => {});
    await Promise.all(running);
  }
}

function sizeOf(item: ImportRow): number {
  if ("fault" in item) return 0;
  const { name, description, imageUri, attributes } = item.goods;
  const texts = [name, description, imageUri, ...Object.keys(attributes), ...Object.values(attributes)];
  return texts.reduce((sum, text) => sum + text.length, 0);
}

function assertSame({ requestId, mode }: ImportKey, part: ImportChunk): void {
  const field = part.requestId !== requestId ? "request_id" : part.mode !== mode ? "mode" : undefined;
  if (field === undefined) return;
  throw invalidField(field, "is not that of the first message. Send each import in a stream of its own.");
}
