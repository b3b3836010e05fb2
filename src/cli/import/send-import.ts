import { setTimeout as sleep } from "node:timers/promises";
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
import type { FileRow } from "./read-rows.ts";

/** An import to be sent. */
export interface Sending {
  catalog: ShopClient["catalog"];
  requestId: string;
  mode: ImportMode;
  /** Reads the rows from their beginning. */
  rows(): AsyncIterable<FileRow>;
  /** Told of each row that has been sent. */
  onSent(count: number): void;
  /** Told of a break, and in how many milliseconds the stream is sent again. */
  onBreak(why: string, pauseMs: number): void;
}

type Request = MessageInitShape<typeof ImportProductsRequestSchema>;

const MESSAGE_ROWS = 500;
const MESSAGE_BYTES = 1_000_000;
/** Breaks in a row without progress before it gives up, and the pause after the first; then twice as long each. */
const BREAKS = 6;
const FIRST_PAUSE_MS = 200;

/** After these the shop goes on where it was: it was not there, another stream was still at it, or time was up. */
const BROKEN = new Set([Code.Unavailable, Code.Aborted, Code.DeadlineExceeded, Code.Canceled]);

/**
 * Sends an import, and after a break goes on by itself where the shop says that it is.
 * @throws what reading the rows throws, or what the shop said last
 */
export async function sendImport(sending: Sending): Promise<ImportProductsResponse> {
  const { catalog } = sending;
  let [start, breaks] = [0, 0];
  for (;;) {
    const stream = new Stream(sending, start);
    try {
      return await catalog.importProducts(stream.messages());
    } catch (error) {
      if (stream.failure !== undefined) throw stream.failure;
      const { code, reason, metadata, message } = errorDetails(error);
      const gap = reason === "IMPORT_OFFSET";
      // The shop gives a reason with what is its own fault; without one it was the connection that broke.
      const isBroken =
        BROKEN.has(code) || (reason === "" && (code === Code.Internal || code === Code.Unknown));
      if (!gap && !isBroken) throw error;
      const reached = gap ? Number(metadata.next_offset) : undefined;
      if (reached !== undefined && reached !== start) breaks = 0;
      else breaks += 1;
      if (breaks > BREAKS) throw error;
      // What was sent may not have been written: if so, the shop says where to go on.
      start = reached ?? stream.next;
      if (gap) continue;
      const pauseMs = FIRST_PAUSE_MS * 2 ** (breaks - 1);
      sending.onBreak(message, pauseMs);
      await sleep(pauseMs);
    }
  }
}

/** One stream of an import. */
class Stream {
  /** The rows that come before the next message. */
  next: number;
  /** Why the rows cannot be read to their end. */
  failure: unknown;
  readonly #sending: Sending;

  constructor(sending: Sending, start: number) {
    this.#sending = sending;
    this.next = start;
  }

  /** A transport whose connection breaks throws that in here, too: only what reading the rows throws is a failure. */
  async *#rows(): AsyncGenerator<FileRow> {
    try {
      yield* this.#sending.rows();
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  async *messages(): AsyncGenerator<Request> {
    const start = this.next;
    let [rows, size, count] = [[] as ImportRow[], 0, 0];
    for await (const one of this.#rows()) {
      count += 1;
      if (count <= start) continue;
      if (rows.length > 0 && size + one.size > MESSAGE_BYTES) {
        yield this.#message(rows);
        [rows, size] = [[], 0];
      }
      rows.push(one.row);
      size += one.size;
      if (rows.length < MESSAGE_ROWS) continue;
      yield this.#message(rows);
      [rows, size] = [[], 0];
    }
    // Without rows too: the shop must hear of the import, and where it is to go on.
    yield this.#message(rows);
  }

  #message(rows: ImportRow[]): Request {
    const { requestId, mode, onSent } = this.#sending;
    const offset = BigInt(this.next);
    this.next += rows.length;
    onSent(this.next);
    return { requestId, mode, offset, rows };
  }
}
