import { invalidField } from "../../../kernel/errors.ts";
import { missingRowsError } from "../import-errors.ts";
import type { RowRange } from "../progress.ts";
import type { ImportChunk, ImportRow } from "../row.ts";

/** Consecutive rows that are written in one transaction. */
export interface ImportBatch {
  /** Number of rows of the import before the first of these. */
  offset: number;
  rows: readonly ImportRow[];
}

/** Limits of a batch: rows, and characters in them. Writing a full batch takes at most a second. */
const BATCH_ROWS = 1_000;
const BATCH_CHARS = 2_000_000;

/**
 * Groups the rows of a stream into batches. Rows that are written already are skipped.
 * @param first the first of the chunks, whose header the others must have
 * @throws AppError invalid_argument for a chunk of another import, failed_precondition for missing rows
 */
export async function* batchRows(
  first: ImportChunk,
  written: readonly RowRange[],
  chunks: AsyncGenerator<ImportChunk>,
): AsyncGenerator<ImportBatch> {
  let next = firstMissingRow(written);
  let rows: ImportRow[] = [];
  let chars = 0;
  const completeBatch = () => {
    const batch = { offset: next - rows.length, rows };
    rows = [];
    chars = 0;
    return batch;
  };
  for await (const chunk of chunks) {
    assertSameImport(first, chunk);
    if (chunk.offset > next) {
      // The rows before the gap are written, so that the caller can resume at the gap.
      if (rows.length > 0) yield completeBatch();
      throw missingRowsError(chunk.offset, next);
    }
    for (const row of chunk.rows.slice(next - chunk.offset)) {
      const isWritten = written.some(([from, to]) => next >= from && next < to);
      if (isWritten && rows.length > 0) yield completeBatch();
      if (!isWritten) {
        rows.push(row);
        chars += countChars(row);
      }
      next += 1;
    }
    if (rows.length >= BATCH_ROWS || chars >= BATCH_CHARS) yield completeBatch();
  }
  if (rows.length > 0) yield completeBatch();
}

/** Returns the offset of the first row that is not written. */
export function firstMissingRow([first]: readonly RowRange[]): number {
  return first?.[0] === 0 ? first[1] : 0;
}

function countChars(row: ImportRow): number {
  if ("violation" in row) return 0;
  const { name, description, imageUri, attributes } = row.fields;
  const texts = [name, description, imageUri, ...Object.keys(attributes), ...Object.values(attributes)];
  return texts.reduce((sum, text) => sum + text.length, 0);
}

/** Fields of a chunk that are the same in the whole stream, by their names in the contract. */
const HEADER = { request_id: "requestId", mode: "mode", max_deletes: "maxDeletes" } as const;

function assertSameImport(first: ImportChunk, chunk: ImportChunk): void {
  for (const [field, key] of Object.entries(HEADER)) {
    if (chunk[key] === first[key]) continue;
    throw invalidField(field, "differs from the first message. Send each import in a stream of its own.");
  }
}
