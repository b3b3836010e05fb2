import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Code,
  errorDetails,
  type ImportMode,
  type ImportProductsRequestSchema,
  type ImportProductsResponse,
  type ImportRow,
  type ShopClient,
} from "../../client/client.ts";
import { withRetries } from "../../kernel/async/with-retries.ts";
import type { FileRow } from "./read-rows.ts";

/** The source and the target of an import. */
export interface ImportSource {
  catalog: Pick<ShopClient["catalog"], "importProducts">;
  requestId: string;
  mode: ImportMode;
  /** Maximum number of products that mode FULL deletes; undefined for the default of the service. */
  maxDeletes: bigint | undefined;
  /** Reads the rows from the first one on. */
  rows(): AsyncIterable<FileRow>;
  /** Receives the number of rows that have been sent. */
  onSent(count: number): void;
  /** Receives the reason of an interruption and the delay until the next attempt, in milliseconds. */
  onRetry(reason: string, delayMs: number): void;
}

type Request = MessageInitShape<typeof ImportProductsRequestSchema>;

/** Limits of a message. */
const MAX_MESSAGE_ROWS = 500;
const MAX_MESSAGE_BYTES = 1_000_000;
/** Maximum number of attempts without progress. The delay doubles with each. */
const ATTEMPTS = 7;
const FIRST_DELAY_MS = 200;

/** The file cannot be read after a number of rows, all of which are imported. The cause is the error of reading. */
export class IncompleteFileError extends Error {
  override readonly name = "IncompleteFileError";
  readonly rowCount: number;

  constructor(rowCount: number, cause: unknown) {
    super(`the file cannot be read after row ${rowCount}`, { cause });
    this.rowCount = rowCount;
  }
}

/** The service was unavailable, another stream was still running, or the deadline passed: the import can be resumed. */
const RESUMABLE = new Set([Code.Unavailable, Code.Aborted, Code.DeadlineExceeded, Code.Canceled]);

/**
 * Sends an import, and resumes it after an interruption at the offset that the service returns.
 * @throws IncompleteFileError when the rows before an error of reading are imported; the error itself when there are
 *   none; otherwise the last error of the service
 */
export async function sendImport(source: ImportSource): Promise<ImportProductsResponse> {
  let offset = 0;
  let readFailure: unknown;
  const attempt = async () => {
    const stream = new ImportStream(source, offset);
    try {
      return await source.catalog.importProducts(stream.messages());
    } catch (error) {
      const { reason, metadata } = errorDetails(error);
      const nextOffset = reason === "IMPORT_OFFSET" ? Number(metadata.next_offset) : stream.offset;
      const isWritten = reason === "IMPORT_OFFSET" && nextOffset === stream.offset;
      readFailure = stream.failure(isWritten);
      if (readFailure !== undefined) throw readFailure;
      const isProgress = reason === "IMPORT_OFFSET" && nextOffset !== offset;
      // Rows that were sent may not have been written. The service then returns the offset to resume at.
      offset = nextOffset;
      if (isProgress) return undefined;
      throw error;
    }
  };
  for (;;) {
    const response = await withRetries(attempt, {
      attempts: ATTEMPTS,
      firstDelayMs: FIRST_DELAY_MS,
      isRetryable: (error) => readFailure === undefined && isResumable(error),
      onRetry: (error, { delayMs }) => source.onRetry(errorDetails(error).message, delayMs),
    });
    if (response !== undefined) return response;
  }
}

/** Returns whether the import can be resumed. An internal or unknown error without a reason is a broken connection. */
function isResumable(error: unknown): boolean {
  const { code, reason } = errorDetails(error);
  const isConnectionError = reason === "" && (code === Code.Internal || code === Code.Unknown);
  return isConnectionError || RESUMABLE.has(code) || reason === "IMPORT_OFFSET";
}

/** One stream of an import. */
class ImportStream {
  /** Number of rows before the next message. */
  offset: number;
  /** Error that reading the rows has thrown. */
  #readFailure: unknown;
  readonly #source: ImportSource;

  constructor(source: ImportSource, offset: number) {
    this.#source = source;
    this.offset = offset;
  }

  /**
   * Returns the error of reading the rows, once the service needs no more of them.
   * @param isWritten whether the service has written all rows that were sent
   */
  failure(isWritten: boolean): unknown {
    if (this.#readFailure === undefined || this.offset === 0) return this.#readFailure;
    return isWritten ? new IncompleteFileError(this.offset, this.#readFailure) : undefined;
  }

  async *messages(): AsyncGenerator<Request> {
    const skipped = this.offset;
    let rows: ImportRow[] = [];
    let [bytes, count] = [0, 0];
    for await (const row of this.#readRows()) {
      count += 1;
      if (count <= skipped) continue;
      if (rows.length === MAX_MESSAGE_ROWS || (rows.length > 0 && bytes + row.bytes > MAX_MESSAGE_BYTES)) {
        yield this.#createMessage(rows);
        rows = [];
        bytes = 0;
      }
      rows.push(row.message);
      bytes += row.bytes;
    }
    if (this.#readFailure !== undefined && this.offset + rows.length === 0) throw this.#readFailure;
    // Sent without rows too: it starts the import, or fails with the offset to resume at.
    yield this.#createMessage(rows);
    // The gap makes the service write the rows before it, without finishing the import.
    if (this.#readFailure !== undefined)
      yield { ...this.#header(), offset: BigInt(this.offset + 1), rows: [] };
  }

  /**
   * Ends with the first error of the rows, which becomes the read failure. Transports throw a connection error into
   * `messages` too, which is none.
   */
  async *#readRows(): AsyncGenerator<FileRow> {
    try {
      yield* this.#source.rows();
    } catch (error) {
      this.#readFailure = error;
    }
  }

  #createMessage(rows: ImportRow[]): Request {
    const offset = BigInt(this.offset);
    this.offset += rows.length;
    this.#source.onSent(this.offset);
    return { ...this.#header(), offset, rows };
  }

  #header(): Pick<Request, "requestId" | "mode" | "maxDeletes"> {
    const { requestId, mode, maxDeletes } = this.#source;
    return { requestId, mode, maxDeletes };
  }
}
