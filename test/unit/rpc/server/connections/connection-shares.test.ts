import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ConnectionShares } from "../../../../../src/rpc/server/connections/connection-shares.ts";
import {
  type FakeConnection,
  fakeConnection,
  TRUSTED_PROXY,
} from "../../../../support/rpc/fake-connection.ts";

const CAPACITY = 120;

function createShares(capacity = CAPACITY, minShare = 2) {
  const shares = new ConnectionShares({ capacity, minShare });
  /** Adds connections from an address until one is not admitted, or `count`. */
  const open = (address: string, count = capacity): FakeConnection[] => {
    const admitted: FakeConnection[] = [];
    for (let index = 0; index < count; index += 1) {
      const connection = fakeConnection(address);
      if (shares.add(connection) !== "admitted") break;
      admitted.push(connection);
    }
    return admitted;
  };
  return { shares, open };
}

describe("the share of a holder", () => {
  test("the share of a holder is half of the capacity while it is alone", () => {
    const { shares, open } = createShares();
    expect(open("192.0.2.1")).toHaveLength(60);
    expect(shares.add(fakeConnection("192.0.2.1"))).toBe("over-share");
    expect(shares.add(fakeConnection("192.0.2.2"))).toBe("admitted");
  });

  test("the share of a holder binds only when more than half of all connections are in use", () => {
    const { open } = createShares();
    for (let host = 1; host <= 20; host += 1) expect(open(`192.0.2.${host}`, 1)).toHaveLength(1);
    expect(open("198.51.100.1")).toHaveLength(50);
  });

  test.each([1, 2, 3, 5, 11])("the share of each of %i holders leaves as much to others", (count) => {
    const { open } = createShares();
    const held = new Map<string, number>();
    // In turns, as when they connect at the same time.
    for (let turn = 0; turn < CAPACITY; turn += 1) {
      for (let host = 1; host <= count; host += 1) {
        const address = `192.0.2.${host}`;
        held.set(address, (held.get(address) ?? 0) + open(address, 1).length);
      }
    }
    for (const size of held.values()) expect(Math.abs(size - CAPACITY / (count + 1))).toBeLessThanOrEqual(1);
  });

  test("the share of a /64 prefix is that of one address, and that of its /48 twice as large", () => {
    const { open } = createShares();
    expect(open("2001:db8:1:1::1", 40)).toHaveLength(40);
    expect(open("2001:db8:1:1::2")).toHaveLength(20);
    // 80 of the /48 and 40 free.
    expect([2, 3, 4, 5].flatMap((prefix) => open(`2001:db8:1:${prefix}::1`, 8))).toHaveLength(20);
    expect(open("2001:db8:2:1::1")).toHaveLength(20);
  });

  test("the share of a holder is at least the minimum while there are places", () => {
    const { shares, open } = createShares(10);
    for (const host of [1, 2, 3, 4]) open(`192.0.2.${host}`, 2);
    const [busy] = open("192.0.2.5", 1);
    if (busy !== undefined) busy.isIdle = false;
    expect(open("192.0.2.5")).toHaveLength(1);
    expect(shares.size).toBe(10);
    expect(shares.add(fakeConnection("192.0.2.5"))).toBe("over-share");
  });

  test("the share of a holder does not apply to trusted proxies, the capacity does", () => {
    const { shares, open } = createShares();
    const proxied = open(TRUSTED_PROXY);
    expect(proxied).toHaveLength(CAPACITY);
    expect(shares.add(fakeConnection("192.0.2.1"))).toBe("full");
    for (const connection of proxied) shares.remove(connection);
    expect(shares.size).toBe(0);
  });
});

describe("when no place is free", () => {
  /** Fills the places: 6 connections of one address and 4 of two others. */
  function fill() {
    const { shares, open } = createShares(10);
    const large = open("192.0.2.1", 5);
    const small = [...open("192.0.2.2", 2), ...open("192.0.2.3", 2)];
    const proxied = open(TRUSTED_PROXY, 1);
    expect([large, small, proxied].map(({ length }) => length)).toEqual([5, 4, 1]);
    return { shares, open, large, small, proxied };
  }
  const closed = (connections: FakeConnection[]) => connections.map(({ isClosed }) => isClosed);

  test("when no place is free, the oldest idle connection of the largest network is closed", () => {
    const { shares, large, small } = fill();
    expect(shares.add(fakeConnection("192.0.2.4"))).toBe("admitted");
    expect(closed(large)).toEqual([true, false, false, false, false]);
    expect(closed(small)).toEqual([false, false, false, false]);
    expect(shares.size).toBe(10);
  });

  test("when no place is free, connections in use stay open", () => {
    const { shares, large, small } = fill();
    for (const connection of large.slice(0, 3)) connection.isIdle = false;
    expect(shares.add(fakeConnection("192.0.2.4"))).toBe("admitted");
    expect(closed(large)).toEqual([false, false, false, true, false]);
    for (const connection of large) connection.isIdle = false;
    expect(shares.add(fakeConnection("192.0.2.5"))).toBe("admitted");
    expect(closed(small).filter(Boolean)).toHaveLength(1);
  });

  test("when no place is free and no connection is idle, the newcomer is rejected", () => {
    const { shares, large, small } = fill();
    for (const connection of [...large, ...small]) connection.isIdle = false;
    expect(shares.add(fakeConnection("192.0.2.4"))).toBe("full");
    expect(shares.size).toBe(10);
  });

  test("when no place is free, a network is not reduced for one of about its size", () => {
    const { shares, open } = createShares(10);
    for (const host of [1, 2, 3, 4, 5]) open(`192.0.2.${host}`, 2);
    expect(shares.add(fakeConnection("192.0.2.6"))).toBe("admitted");
    expect(shares.add(fakeConnection("192.0.2.6"))).toBe("full");
  });

  test("when no place is free, hundreds of networks without an idle connection cost few examinations", () => {
    const { shares, open } = createShares(400);
    let examined = 0;
    for (let host = 1; host <= 200; host += 1) {
      for (const connection of open(`192.0.2.${host}`, 2)) {
        Object.defineProperty(connection, "isIdle", {
          get() {
            examined += 1;
            return false;
          },
        });
      }
    }
    expect(shares.size).toBe(400);
    expect(shares.add(fakeConnection("198.51.100.1"))).toBe("full");
    expect(examined).toBeLessThanOrEqual(64);
  });

  test("when no place is free, an address with thousands of busy connections before an idle one costs few examinations", () => {
    const { shares, open } = createShares(4_000);
    const all = [...open("192.0.2.1"), ...open(TRUSTED_PROXY)];
    let examined = 0;
    for (const connection of all) {
      Object.defineProperty(connection, "isIdle", {
        get() {
          examined += 1;
          return false;
        },
      });
    }
    expect(shares.add(fakeConnection("192.0.2.2"))).toBe("full");
    expect(examined).toBeLessThanOrEqual(64);
  });
});

test("any sequence of connections keeps within the capacity, and leaves nothing behind", () => {
  const address = fc.constantFrom(
    "192.0.2.1",
    "192.0.2.2",
    "2001:db8:1:1::1",
    "2001:db8:1:2::1",
    TRUSTED_PROXY,
  );
  const step = fc.record({ address, isIdle: fc.boolean(), closes: fc.option(fc.nat(50)) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { shares } = createShares(20);
      const opened: FakeConnection[] = [];
      for (const { address, isIdle, closes } of steps) {
        const connection = fakeConnection(address);
        connection.isIdle = isIdle;
        if (shares.add(connection) === "admitted") opened.push(connection);
        const [removed] = closes === null ? [] : opened.splice(closes % Math.max(1, opened.length), 1);
        if (removed !== undefined) shares.remove(removed);
        expect(shares.size).toBe(opened.filter(({ isClosed }) => !isClosed).length);
        expect(shares.size).toBeLessThanOrEqual(20);
      }
      for (const connection of opened) shares.remove(connection);
      expect(shares.size).toBe(0);
      // Half of the capacity is free for one address again.
      expect(createdBy(shares, "192.0.2.9")).toBe(10);
    }),
  );
});

function createdBy(shares: ConnectionShares, address: string): number {
  let count = 0;
  while (shares.add(fakeConnection(address)) === "admitted") count += 1;
  return count;
}
