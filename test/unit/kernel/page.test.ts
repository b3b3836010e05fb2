import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AppError } from "../../../src/kernel/errors.ts";
import { type Cursor, createPageTokens, resolvePageSize } from "../../../src/kernel/page.ts";

let nowMs = Date.UTC(2026, 0, 1);
const clock = { now: () => new Date(nowMs) };
const tokens = createPageTokens(Buffer.alloc(32, 7), clock);
const query = { list: "things", color: "red", minPrice: 5n };

/** The token that follows a page whose last row has this cursor. */
function tokenOf(cursor: Cursor, of: unknown = query, by = tokens): string {
  return by.createPage(
    [1, 2],
    1,
    of,
    () => cursor,
    (row) => row,
  ).nextPageToken;
}

function rejection(token: string, of: unknown = query, by = tokens): unknown {
  try {
    return by.readCursor(token, of);
  } catch (error) {
    return error instanceof AppError ? [error.code, error.details.reason] : error;
  }
}

const REJECTED = ["invalid_argument", "PAGE_TOKEN_INVALID"];
const cursors = fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.constant(null)), {
  maxLength: 3,
});

test("a token decodes to the cursor that it encodes", () => {
  fc.assert(
    fc.property(cursors, (cursor) => {
      expect(tokens.readCursor(tokenOf(cursor), query)).toEqual(cursor);
    }),
  );
});

test("an empty token means the first page", () => {
  expect(tokens.readCursor("", query)).toBeUndefined();
});

describe("a token is rejected", () => {
  test("a token is rejected when any bit is flipped", () => {
    fc.assert(
      fc.property(cursors, fc.nat(), (cursor, at) => {
        const bytes = Buffer.from(tokenOf(cursor), "base64url");
        const bit = at % (bytes.length * 8);
        bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(rejection(bytes.toString("base64url"))).toEqual(REJECTED);
      }),
    );
  });

  test("a token is rejected when any character is removed, added or replaced", () => {
    const character = fc.constantFrom(..."AZaz09-_+/= \n!é");
    fc.assert(
      fc.property(cursors, fc.nat(), character, fc.nat(2), (cursor, place, inserted, kind) => {
        const token = tokenOf(cursor);
        const at = place % token.length;
        const middle = [inserted, "", inserted + token.charAt(at)][kind] ?? "";
        const altered = token.slice(0, at) + middle + token.slice(at + 1);
        fc.pre(altered !== token);
        expect(rejection(altered)).toEqual(REJECTED);
      }),
    );
  });

  test("a token is rejected when it is cut anywhere", () => {
    const token = tokenOf(["Hammer", "01890000-0000-7000-8000-000000000000"]);
    for (let length = 1; length < token.length; length += 1) {
      expect(rejection(token.slice(0, length))).toEqual(REJECTED);
    }
  });

  test.each(["x", "not a token", "%%%", "AAAA", "A".repeat(1_000), "null", "W10", "\u{1f600}"])(
    "a token is rejected when it is %j",
    (garbage) => {
      expect(rejection(garbage)).toEqual(REJECTED);
    },
  );

  test("a token is rejected for another query, and with another key", () => {
    const token = tokenOf(["a"]);
    expect(rejection(token, { ...query, color: "blue" })).toEqual(REJECTED);
    expect(rejection(token, { ...query, minPrice: "5" })).toEqual(REJECTED);
    expect(rejection(token, query, createPageTokens(randomBytes(32), clock))).toEqual(REJECTED);
  });
});

test("a token is accepted for 3 days, and rejected as expired afterwards", () => {
  const token = tokenOf(["a"]);
  const madeMs = nowMs;
  nowMs = madeMs + 3 * 24 * 3_600_000;
  expect(tokens.readCursor(token, query)).toEqual(["a"]);
  nowMs += 1_000;
  expect(rejection(token)).toEqual(["invalid_argument", "PAGE_TOKEN_EXPIRED"]);
  // A token with a wrong signature is invalid, however old.
  expect(rejection(token, { ...query, color: "blue" })).toEqual(REJECTED);
  expect(tokens.readCursor(tokenOf(["b"]), query)).toEqual(["b"]);
  nowMs = madeMs;
});

test("the token of the longest cursor fits into a request", () => {
  const name = "\u0001".repeat(200);
  const note = Array.from({ length: 3 }, (_, at) => [at, "w".repeat(32), "w".repeat(32)].join(" ")).join(";");
  const cursor = [name, "01890000-0000-7000-8000-000000000000", note, "name"];
  expect(tokenOf(cursor).length).toBeLessThanOrEqual(2_048);
});

test("the last page has no token, and no page contains the extra row", () => {
  const page = (rows: number[]) =>
    tokens.createPage(
      rows,
      3,
      query,
      (row) => [row],
      (row) => row * 10,
    );
  expect(page([1, 2, 3])).toEqual({ items: [10, 20, 30], nextPageToken: "" });
  const { items, nextPageToken } = page([1, 2, 3, 4]);
  expect(items).toEqual([10, 20, 30]);
  expect(tokens.readCursor(nextPageToken, query)).toEqual([3]);
});

test.each([
  [0, 20],
  [1, 1],
  [100, 100],
  [101, 100],
])("a request for %i rows gets at most %i", (requested, size) => {
  expect(resolvePageSize(requested)).toBe(size);
});
