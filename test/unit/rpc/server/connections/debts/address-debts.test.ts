import { describe, expect, test } from "vitest";
import { AddressDebts } from "../../../../../../src/rpc/server/connections/debts/address-debts.ts";
import { peerAt, TRUSTED_PROXY } from "../../../../../support/rpc/fake-connection.ts";

const limits = { resetBurst: 1_000, resetsPerSecond: 100, maxIndebtedAddresses: 4 };

function createDebts() {
  let nowMs = 0;
  return {
    debts: new AddressDebts(limits, () => nowMs),
    advance(ms: number) {
      nowMs += ms;
    },
  };
}

const peer = peerAt("192.0.2.1");

describe("an address", () => {
  test("an address may spend its burst, and is in debt beyond it", () => {
    const { debts } = createDebts();
    expect(debts.charge(peer, 1_000)).toBe(false);
    expect(debts.isInDebt(peer)).toBe(false);
    expect(debts.charge(peer, 1)).toBe(true);
    expect(debts.isInDebt(peer)).toBe(true);
    expect(debts.isInDebt(peerAt("192.0.2.2"))).toBe(false);
  });

  test("an address may spend its rate permanently", () => {
    const { debts, advance } = createDebts();
    debts.charge(peer, 900);
    for (let count = 0; count < 100; count += 1) {
      expect(debts.charge(peer, 100)).toBe(false);
      advance(1_000);
    }
  });

  test("an address leaves debt when it has regained it and one burst", () => {
    const { debts, advance } = createDebts();
    debts.charge(peer, 1_500);
    advance(14_990);
    expect(debts.isInDebt(peer)).toBe(true);
    advance(10);
    expect(debts.isInDebt(peer)).toBe(false);
    // The next unit puts it into debt again, for more than ten seconds.
    expect(debts.charge(peer, 1)).toBe(true);
    advance(10_000);
    expect(debts.isInDebt(peer)).toBe(true);
  });

  test("an address gets into debt once, and no deeper than ten bursts", () => {
    const { debts, advance } = createDebts();
    expect([1_001, 1_000_000, 1_000_000].map((units) => debts.charge(peer, units))).toEqual([
      true,
      false,
      false,
    ]);
    advance(100_000);
    expect(debts.isInDebt(peer)).toBe(false);
  });

  test("an address of a trusted proxy is never in debt", () => {
    const { debts } = createDebts();
    const proxy = peerAt(TRUSTED_PROXY);
    expect(debts.charge(proxy, 1_000_000)).toBe(false);
    expect(debts.isInDebt(proxy)).toBe(false);
    expect(debts.size).toBe(0);
  });
});

describe("IPv6 addresses", () => {
  test("IPv6 addresses of a /64 prefix share a burst", () => {
    const { debts } = createDebts();
    debts.charge(peerAt("2001:db8:1:1::1"), 1_000);
    expect(debts.charge(peerAt("2001:db8:1:1::2"), 1)).toBe(true);
    expect(debts.isInDebt(peerAt("2001:db8:1:1::3"))).toBe(true);
    expect(debts.isInDebt(peerAt("2001:db8:1:2::1"))).toBe(false);
  });

  test("IPv6 addresses of a /48 prefix share four bursts", () => {
    const { debts } = createDebts();
    for (const prefix of [1, 2, 3, 4]) {
      expect(debts.charge(peerAt(`2001:db8:1:${prefix}::1`), 1_000)).toBe(false);
    }
    expect(debts.charge(peerAt("2001:db8:1:5::1"), 1)).toBe(true);
    expect(debts.isInDebt(peerAt("2001:db8:1:6::1"))).toBe(true);
    expect(debts.isInDebt(peerAt("2001:db8:2:1::1"))).toBe(false);
  });
});

test("the number of remembered addresses is bounded, and those charged last are kept", () => {
  const { debts } = createDebts();
  debts.charge(peer, 2_000);
  for (let host = 2; host <= 100; host += 1) {
    debts.charge(peerAt(`192.0.2.${host}`), 1);
    expect(debts.isInDebt(peer)).toBe(true);
  }
  expect(debts.size).toBe(4);
});
