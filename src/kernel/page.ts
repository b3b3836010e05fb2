import { createHmac, timingSafeEqual } from "node:crypto";
import { hashJson } from "./canonical-json.ts";
import type { Clock } from "./clock.ts";
import { invalidField } from "./errors.ts";

/** Keyset cursor: the values of the last row's sort columns. The next page begins after them. */
export type Cursor = readonly (string | number | null)[];

/** The paging fields of a list request. */
export interface PageRequest {
  /** Number of rows; 0 for the default. */
  pageSize: number;
  /** Empty for the first page. */
  pageToken: string;
}

/** A page of a list. */
export interface Page<T> {
  items: T[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/**
 * Encodes cursors as page tokens and back.
 *
 * A token is base64url of an HMAC-SHA-256 (its first 16 bytes), the time of its creation and the cursor as JSON. The
 * signature covers the query as well, so that a token is valid for its own query only. It expires after 3 days.
 */
export interface PageTokens {
  /**
   * Returns a page, with a token when there are more rows.
   * @param rows result of a query for `size` + 1 rows
   * @param query filters and sort of the list, which the token is bound to
   * @param cursor returns the sort columns of a row
   * @param item converts a row to an item
   */
  createPage<Row, T>(
    rows: Row[],
    size: number,
    query: unknown,
    cursor: (row: Row) => Cursor,
    item: (row: Row) => T,
  ): Page<T>;
  /**
   * Returns the cursor of a token; undefined for an empty token, which is the first page.
   * @throws AppError invalid_argument for a token that is expired, forged, or from another query
   */
  readCursor(token: string, query: unknown): Cursor | undefined;
}

const SIGNATURE_BYTES = 16;
/** Seconds since 1970 as an unsigned 32-bit number, which lasts until 2106. */
const TIME_BYTES = 4;
const LIFETIME_SECONDS = 3 * 24 * 60 * 60;
const DEFAULT_PAGE_SIZE = 20;
const MAX_PAGE_SIZE = 100;

/** Returns the number of rows of a page: 20 by default, 100 at most. */
export function resolvePageSize(requested: number): number {
  return requested === 0 ? DEFAULT_PAGE_SIZE : Math.min(requested, MAX_PAGE_SIZE);
}

/**
 * Creates page tokens.
 * @param key secret that all replicas share
 * @param clock dates the tokens
 */
export function createPageTokens(key: Buffer, clock: Clock): PageTokens {
  const nowSeconds = (): number => Math.floor(clock.now().getTime() / 1_000);
  const sign = (body: Buffer, query: unknown): Buffer =>
    createHmac("sha256", key).update(hashJson(query)).update(body).digest().subarray(0, SIGNATURE_BYTES);
  const encode = (cursor: Cursor, query: unknown): string => {
    const time = Buffer.alloc(TIME_BYTES);
    time.writeUInt32BE(nowSeconds());
    const body = Buffer.concat([time, Buffer.from(JSON.stringify(cursor))]);
    return Buffer.concat([sign(body, query), body]).toString("base64url");
  };

  return {
    createPage(rows, size, query, cursor, item) {
      const last = rows.length > size ? rows[size - 1] : undefined;
      return {
        items: rows.slice(0, size).map(item),
        nextPageToken: last === undefined ? "" : encode(cursor(last), query),
      };
    },
    readCursor(token, query) {
      if (token === "") return undefined;
      const bytes = Buffer.from(token, "base64url");
      const signature = bytes.subarray(0, SIGNATURE_BYTES);
      const body = bytes.subarray(SIGNATURE_BYTES);
      const isSigned = signature.length === SIGNATURE_BYTES && timingSafeEqual(signature, sign(body, query));
      // Node skips characters that are not base64url, so the text is compared too: each token has one valid text.
      if (!isSigned || bytes.toString("base64url") !== token) {
        throw invalidField(
          "page_token",
          "is not a token of this query. Send next_page_token unchanged with the same filters and order, or start again without a token.",
          "PAGE_TOKEN_INVALID",
        );
      }
      if (nowSeconds() - body.readUInt32BE() > LIFETIME_SECONDS) {
        throw invalidField(
          "page_token",
          "has expired after 3 days. Start again without a token.",
          "PAGE_TOKEN_EXPIRED",
        );
      }
      return JSON.parse(body.toString("utf8", TIME_BYTES));
    },
  };
}
