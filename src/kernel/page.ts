import { createHmac, timingSafeEqual } from "node:crypto";
import { fingerprint } from "./canonical-json.ts";
import type { Clock } from "./clock.ts";
import { invalidField } from "./errors.ts";

/** The values of the last row's sort columns: where the next page begins. */
export type Cursor = readonly (string | number | null)[];

/** A page of a list, asked for. */
export interface PageRequest {
  pageSize: number;
  pageToken: string;
}

/** A page of a list, and the token of the next one; empty on the last. */
export interface Page<T> {
  items: T[];
  nextPageToken: string;
}

const SIGNATURE_BYTES = 16;
/** When a token was made, seconds since 1970: an unsigned 32-bit number, good until 2106. */
const TIME_BYTES = 4;
/** How long a token is good for, seconds: nobody walks one list for longer than that. */
const LIFETIME_SECONDS = 3 * 24 * 60 * 60;
const DEFAULT_SIZE = 20;
const MAX_SIZE = 100;

/** How many rows a page has: 20 when not said, 100 at most. */
export function resolvePageSize(asked: number): number {
  return asked === 0 ? DEFAULT_SIZE : Math.min(asked, MAX_SIZE);
}

/**
 * Page tokens: where the next page begins, signed, and bound to the query that they came from. A token is
 * base64url of an HMAC-SHA-256 (its first 16 bytes), the time and the cursor as JSON; the query is signed
 * along. It is good for 3 days.
 */
export interface PageTokens {
  /** The page of the rows that a query for one more than the page's size has found. */
  createPage<Row, T>(
    rows: Row[],
    size: number,
    query: unknown,
    cursor: (row: Row) => Cursor,
    item: (row: Row) => T,
  ): Page<T>;
  /** Where the page begins; undefined for the first. INVALID_ARGUMENT for an old token, or another query's. */
  readCursor(token: string, query: unknown): Cursor | undefined;
}

/**
 * @param key secret that all replicas share
 * @param clock what tokens are dated by
 */
export function createPageTokens(key: Buffer, clock: Clock): PageTokens {
  const nowSeconds = (): number => Math.floor(clock.now().getTime() / 1_000);
  const sign = (body: Buffer, query: unknown): Buffer =>
    createHmac("sha256", key).update(fingerprint(query)).update(body).digest().subarray(0, SIGNATURE_BYTES);
  const write = (cursor: Cursor, query: unknown): string => {
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
        nextPageToken: last === undefined ? "" : write(cursor(last), query),
      };
    },
    readCursor(token, query) {
      if (token === "") return undefined;
      const bytes = Buffer.from(token, "base64url");
      const body = bytes.subarray(SIGNATURE_BYTES);
      const expected = sign(body, query);
      const given = bytes.subarray(0, SIGNATURE_BYTES);
      // The text is compared too: base64url readers skip what they do not know, and a token has one form.
      const intact = given.length === SIGNATURE_BYTES && timingSafeEqual(given, expected);
      if (!intact || bytes.toString("base64url") !== token) {
        throw invalidField(
          "page_token",
          "is not a token of this query. Send the next_page_token as it came, with the same filters and order, or start over without one.",
          "PAGE_TOKEN_INVALID",
        );
      }
      if (nowSeconds() - body.readUInt32BE() > LIFETIME_SECONDS) {
        throw invalidField(
          "page_token",
          "is more than 3 days old. Start over without one.",
          "PAGE_TOKEN_EXPIRED",
        );
      }
      return JSON.parse(body.toString("utf8", TIME_BYTES)) as Cursor;
    },
  };
}
