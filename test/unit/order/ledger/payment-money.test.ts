import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LEDGER_ENTRY_TYPES } from "../../../../src/infra/payment/payment-gateway.ts";
import {
  countedEntries,
  deriveOrderMoney,
  derivePaymentMoney,
  type LedgerAmount,
  paymentStateOf,
  refundableOf,
} from "../../../../src/order/ledger/payment-money.ts";
import { permutations } from "../../../support/permutations.ts";

const entry = (type: LedgerAmount["type"], minorUnits: bigint, reference = "1"): LedgerAmount => ({
  type,
  reference,
  minorUnits,
});
const orderOf = (...entries: LedgerAmount[]) => deriveOrderMoney([derivePaymentMoney(entries)]);
const stateOf = (...entries: LedgerAmount[]) => paymentStateOf(derivePaymentMoney(entries), "PENDING");

const authorized = entry("AUTHORIZED", 100n);
const captured = entry("CAPTURED", 100n);
const voided = entry("VOIDED", 100n);
const failed = entry("AUTHORIZATION_FAILED", 100n);

describe("the payment state of an order", () => {
  test.each([
    ["UNPAID", "PENDING", []],
    ["FAILED", "FAILED", [failed]],
    ["AUTHORIZED", "AUTHORIZED", [authorized]],
    ["AUTHORIZED", "AUTHORIZED", [failed, authorized]],
    ["FAILED", "CANCELLED", [authorized, voided]],
    ["UNPAID", "CANCELLED", [voided]],
    ["PAID", "CAPTURED", [authorized, captured]],
    ["PAID", "CAPTURED", [captured]],
    ["AUTHORIZED", "CAPTURED", [authorized, entry("CAPTURED", 40n)]],
    ["PAID", "CAPTURED", [authorized, entry("CAPTURED", 40n), entry("VOIDED", 60n)]],
    ["PAID", "CAPTURED", [voided, captured]],
    ["PARTIALLY_REFUNDED", "CAPTURED", [captured, entry("REFUNDED", 1n)]],
    ["REFUNDED", "CAPTURED", [captured, entry("REFUNDED", 60n, "a"), entry("REFUNDED", 40n, "b")]],
    ["PAID", "CAPTURED", [captured, entry("REFUNDED", 60n), entry("REFUND_FAILED", 60n)]],
    ["PAID", "CAPTURED", [captured, entry("REFUND_FAILED", 60n)]],
    ["PAID", "CAPTURED", [captured, entry("DISPUTED", 100n)]],
    ["PAID", "CAPTURED", [captured, entry("DISPUTED", 100n), entry("DISPUTE_WON", 100n)]],
    ["REFUNDED", "CAPTURED", [captured, entry("DISPUTED", 100n), entry("DISPUTE_LOST", 100n)]],
    ["REFUNDED", "PENDING", [entry("REFUNDED", 100n)]],
  ] as const)("is %s, and that of the payment %s", (ofOrder, ofPayment, entries) => {
    expect(orderOf(...entries).paymentState).toBe(ofOrder);
    expect(stateOf(...entries)).toBe(ofPayment);
  });

  test("is that of all payments together", () => {
    const payments = [[failed], [authorized, voided], [captured, entry("REFUNDED", 30n)]].map(
      derivePaymentMoney,
    );
    expect(deriveOrderMoney(payments)).toEqual({
      paid: 100n,
      refunded: 30n,
      paymentState: "PARTIALLY_REFUNDED",
    });
  });
});

test("each order of the six events of a payment gives the same amounts and states", () => {
  const events = [
    authorized,
    captured,
    entry("REFUNDED", 30n, "refund"),
    entry("REFUND_FAILED", 30n, "refund"),
    entry("DISPUTED", 100n, "dispute"),
    entry("DISPUTE_WON", 100n, "dispute"),
  ];
  const results = permutations(events).map((entries) => ({
    money: derivePaymentMoney(entries),
    order: orderOf(...entries),
    state: stateOf(...entries),
  }));
  expect(results).toHaveLength(720);
  for (const result of results) expect(result).toEqual(results[0]);
  expect(results[0]?.order).toEqual({ paid: 100n, refunded: 0n, paymentState: "PAID" });
});

const entries = fc.array(
  fc.record({
    type: fc.constantFrom(...LEDGER_ENTRY_TYPES),
    reference: fc.constantFrom("a", "b", "c"),
    minorUnits: fc.bigInt({ min: 0n, max: 10n ** 15n }),
  }),
  { maxLength: 20 },
);

test("any order of any entries, repeats included, gives the same amounts", () => {
  fc.assert(
    fc.property(entries, fc.array(fc.nat(), { maxLength: 10 }), (all, repeated) => {
      const repeats = repeated.flatMap((index) => all[index % Math.max(all.length, 1)] ?? []);
      const shuffled = [...repeats, ...all].sort((a, b) =>
        a.minorUnits === b.minorUnits ? a.type.localeCompare(b.type) : a.minorUnits < b.minorUnits ? -1 : 1,
      );
      expect(derivePaymentMoney(shuffled)).toEqual(derivePaymentMoney(all));
    }),
  );
});

test("further entries never lower what was captured", () => {
  fc.assert(
    fc.property(entries, entries, (some, further) => {
      const before = derivePaymentMoney(some).captured;
      expect(derivePaymentMoney([...some, ...further]).captured >= before).toBe(true);
    }),
  );
});

test("of a fact that is repeated with another amount, the greatest amount counts", () => {
  const conflict = [entry("CAPTURED", 90n), entry("CAPTURED", 100n), entry("CAPTURED", 95n)];
  expect(countedEntries(conflict)).toEqual([entry("CAPTURED", 100n)]);
  expect(derivePaymentMoney(conflict).captured).toBe(100n);
});

test("what can be refunded is what was captured and is neither disputed, lost nor requested back", () => {
  const money = { captured: 100n, disputed: 10n, lost: 5n };
  expect(refundableOf(money, 20n, 1n)).toBe(64n);
  expect(refundableOf(money, 100n, 0n)).toBe(0n);
});
