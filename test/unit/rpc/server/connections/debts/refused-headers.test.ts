import { describe, expect, test } from "vitest";
import { RefusedHeaders } from "../../../../../../src/rpc/server/connections/debts/refused-headers.ts";

/** The bytes of a request without a body, about. */
const REQUEST_BYTES = 100;
const BOMB_BYTES = 15_000;

describe("accepted streams cost nothing", () => {
  test.each([1, 3])("accepted streams with consecutive ids from %i cost nothing", (firstId) => {
    const headers = new RefusedHeaders();
    for (let index = 0; index < 100; index += 1) {
      const id = firstId + 2 * index;
      const bytesRead = (index + 1) * BOMB_BYTES;
      expect(headers.accept(id, { bytesRead })).toBe(0);
      expect(headers.countUpTo(id, bytesRead)).toBe(0);
    }
  });

  test("a connection without streams costs nothing", () => {
    expect(new RefusedHeaders().countUpTo(0, BOMB_BYTES)).toBe(0);
  });
});

describe("ids that a client skips", () => {
  test("ids that a client skips before its first stream cost little", () => {
    expect(new RefusedHeaders().accept(2_001, { bytesRead: REQUEST_BYTES })).toBeLessThan(1);
  });

  test("ids that a client skips after it has sent large bodies cost little", () => {
    const headers = new RefusedHeaders();
    headers.accept(1, { bytesRead: REQUEST_BYTES });
    headers.countUpTo(1, 100_000_000);
    expect(headers.accept(2_001, { bytesRead: 100_000_000 + REQUEST_BYTES })).toBeLessThan(1);
    expect(headers.countUpTo(2_001, 200_000_000)).toBe(0);
  });

  test("a client that skips every second id may send 1,000 requests for 100 units", () => {
    const headers = new RefusedHeaders();
    let units = 0;
    for (let index = 0; index < 1_000; index += 1) {
      units += headers.accept(4 * index + 1, { bytesRead: (index + 1) * REQUEST_BYTES });
    }
    expect(units).toBeLessThan(100);
  });
});

describe("refused blocks", () => {
  test("refused blocks of 15 kB cost five units each, and a twentieth", () => {
    const headers = new RefusedHeaders();
    expect(headers.countUpTo(1, BOMB_BYTES)).toBeCloseTo(5.05);
    expect(headers.countUpTo(201, 101 * BOMB_BYTES)).toBeCloseTo(505);
    expect(headers.countUpTo(201, 101 * BOMB_BYTES)).toBe(0);
  });

  test("refused blocks between accepted streams cost the same", () => {
    const headers = new RefusedHeaders();
    headers.accept(1, { bytesRead: 0 });
    expect(headers.accept(5, { bytesRead: BOMB_BYTES })).toBeCloseTo(5.05);
    expect(headers.accept(9, { bytesRead: 2 * BOMB_BYTES })).toBeCloseTo(5.05);
  });

  test("a refused block that arrives in parts costs the same", () => {
    const headers = new RefusedHeaders();
    headers.accept(1, { bytesRead: 0 });
    const units = [100, 7_500, BOMB_BYTES, BOMB_BYTES].map((bytesRead) => headers.countUpTo(3, bytesRead));
    expect(units.reduce((sum, one) => sum + one)).toBeCloseTo(5.05);
  });

  test("a refused block whose last part arrives with another request costs the same", () => {
    const headers = new RefusedHeaders();
    const units = headers.countUpTo(1, 100) + headers.accept(3, { bytesRead: BOMB_BYTES });
    expect(units).toBeCloseTo(5.05);
    expect(headers.accept(5, { bytesRead: 2 * BOMB_BYTES })).toBe(0);
  });

  test("many small refused blocks cost a twentieth each", () => {
    const headers = new RefusedHeaders();
    expect(headers.countUpTo(1_999, 1_000 * 20)).toBeCloseTo(50 + 20 / 3);
  });
});
