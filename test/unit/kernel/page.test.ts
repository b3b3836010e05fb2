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

function refusal(token: string, of: unknown = query, by = tokens): unknown {
  try {
    return by.readCursor(token, of);
  } catch (error) {
    return error instanceof AppError ? [error.code, error.details.reason] : error;
  }
}

const REFUSED = ["invalid", "PAGE_TOKEN_INVALID"];
const cursors = fc.array(fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.constant(null)), {
  maxLength: 3,
});

test("a token gives back the cursor that it was made of", () => {
  fc.assert(
    fc.property(cursors, (cursor) => {
      expect(tokens.readCursor(tokenOf(cursor), query)).toEqual(cursor);
    }),
  );
});

test("an empty token is the first page", () => {
  expect(tokens.readCursor("", query)).toBeUndefined();
});

describe("a token is refused", () => {
  test("with any bit flipped", () => {
    fc.assert(
      fc.property(cursors, fc.nat(), (cursor, at) => {
        const bytes = Buffer.from(tokenOf(cursor), "base64url");
        const bit = at % (bytes.length * 8);
        bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
        expect(refusal(bytes.toString("base64url"))).toEqual(REFUSED);
      }),
    );
  });

  test("with any character taken, added or replaced", () => {
    const character = fc.constantFrom(..."AZaz09-_+/= \n!é");
    fc.assert(
      fc.property(cursors, fc.nat(), character, fc.nat(2), (cursor, place, inserted, kind) => {
        const token = tokenOf(cursor);
        const at = place % token.length;
        const middle = [inserted, "", inserted + token.charAt(at)][kind] ?? "";
        const altered = token.slice(0, at) + middle + token.slice(at + 1);
        fc.pre(altered !== token);
        expect(refusal(altered)).toEqual(REFUSED);
      }),
    );
  });

  test("cut short at any place", () => {
    const token = tokenOf(["Hammer", "01890000-0000-7000-8000-000000000000"]);
    for (let length = 1; length < token.length; length += 1) {
      expect(refusal(token.slice(0, length))).toEqual(REFUSED);
    }
  });

  test.each(["x", "not a token", "%%%", "AAAA", "A".repeat(1_000), "null", "W10", "\u{1f600}"])(
    "when it is %j",
    (garbage) => {
      expect(refusal(garbage)).toEqual(REFUSED);
    },
  );

  test("for another query, and by a shop with another key", () => {
    const token = tokenOf(["a"]);
    expect(refusal(token, { ...query, color: "blue" })).toEqual(REFUSED);
    expect(refusal(token, { ...query, minPrice: "5" })).toEqual(REFUSED);
    expect(refusal(token, query, createPageTokens(randomBytes(32), clock))).toEqual(REFUSED);
  });
});

test("a token is good for 3 days, and says so afterwards", () => {
  const token = tokenOf(["a"]);
  const madeMs = nowMs;
  nowMs = madeMs + 3 * 24 * 3_600_000;
  expect(tokens.readCursor(token, query)).toEqual(["a"]);
  nowMs += 1_000;
  expect(refusal(token)).toEqual(["invalid", "PAGE_TOKEN_EXPIRED"]);
  // What is not ours is not old either.
  expect(refusal(token, { ...query, color: "blue" })).toEqual(REFUSED);
  expect(tokens.readCursor(tokenOf(["b"]), query)).toEqual(["b"]);
  nowMs = madeMs;
});

test("the longest cursor makes a token that a request may carry", () => {
  const name = "\u0001".repeat(200);
  const note = Array.from({ length: 3 }, (_, at) => [at, "w".repeat(32), "w".repeat(32)].join(" ")).join(";");
  const cursor = [name, "01890000-0000-7000-8000-000000000000", note, "name"];
  expect(tokenOf(cursor).length).toBeLessThanOrEqual(2_048);
});

test("the last page has no token, and no page has the row beyond it", () => {
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
])("a page of %i rows asked for has %i at most", (asked, size) => {
  expect(resolvePageSize(asked)).toBe(size);
});
