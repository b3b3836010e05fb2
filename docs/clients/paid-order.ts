// The money of an order by the typed client: quote, order, payment with a second step, shipment, two refunds and ledger.
import {
  createClient,
  LedgerEntryTypeSchema,
  type Money,
  type Order,
  OrderTotalType,
  type Payment,
  PaymentStateSchema,
  PaymentStatusSchema,
} from "cartwright-client";

const baseUrl = process.argv[2] ?? "http://localhost:8080";
const password = process.env.PASSWORD ?? "";
const customer = createClient({ baseUrl });
await customer.session.signIn({ email: "customer@example.com", password });
const staff = createClient({ baseUrl });
await staff.session.signIn({ email: "staff@example.com", password });

const text = (money: Money | undefined): string => `${money?.minorUnits} ${money?.currencyCode}`;
const stateOf = ({ state }: Payment): string => PaymentStatusSchema.value[state]?.localName ?? "";

const search = { query: "bike light", orderBy: "price", pageSize: 2, inStockOnly: true };
const { products } = await customer.catalog.listProducts(search);
const items = products.map((product) => ({ productId: product.id, quantity: 2n }));
const shippingAddress = {
  countryCode: "DE",
  postalCode: "53111",
  locality: "Bonn",
  addressLines: ["Am Markt 1"],
  recipient: "Charlie Customer",
};
const basket = { items, shippingAddress };
const { quote } = await customer.orders.quoteOrder({ ...basket, shippingOptionId: "express" });
const expectedTotal = quote?.totals.find(({ type }) => type === OrderTotalType.TOTAL)?.amount;
if (expectedTotal === undefined) throw new Error("The quote has no total.");
console.log(`Quoted: ${text(expectedTotal)}`);

const { order } = await customer.orders.createOrder({
  order: { ...basket, shippingOption: { id: "express" } },
  expectedTotal,
});
if (order === undefined) throw new Error("There is no order.");
const { id } = order;
console.log(`Placed: ${text(order.amountDue)} due`);

/** Waits for a change of the order: gateways confirm captures and refunds after the call that requests them. */
async function waitUntil(isDone: (order: Order) => boolean): Promise<Order> {
  const watching = new AbortController();
  try {
    for await (const { order: current } of customer.orders.watchOrder({ id }, { signal: watching.signal })) {
      if (current !== undefined && isDone(current)) return current;
    }
  } finally {
    watching.abort();
  }
  throw new Error("The order is closed.");
}

// This card needs a second step, such as a code of the buyer's bank. With Stripe, the buyer's page takes it by Stripe.js
// with nextAction.clientSecret. In the sandbox, another token is its result.
const paymentMethod = "sandbox_second_step";
const { payment } = await customer.payments.createPayment({ payment: { orderId: id }, paymentMethod });
if (payment === undefined) throw new Error("There is no payment.");
console.log(
  `Payment: ${stateOf(payment)}, with client secret: ${payment.nextAction?.clientSecret !== undefined}`,
);
const { payment: confirmed } = await customer.payments.confirmPayment({
  id: payment.id,
  paymentMethod: "sandbox_second_step_ok",
});
if (confirmed !== undefined)
  console.log(`Payment: ${stateOf(confirmed)} ${text(confirmed.authorizedAmount)}`);

// The shipment captures the payment.
await staff.orders.shipOrder({ id, carrier: "DHL", trackingNumber: "00340434161094000003" });
const paid = await waitUntil(({ paidAmount }) => (paidAmount?.minorUnits ?? 0n) > 0n);
console.log(`Captured: ${text(paid.paidAmount)}`);

// One unit of the first line is returned. validateOnly computes the amounts and changes nothing.
const units = { items: [{ itemId: "1", quantity: 1n }], includeShipping: true };
const oneUnit = { case: "items" as const, value: units };
const { refund: computed } = await staff.orders.refundOrder({ id, subject: oneUnit, validateOnly: true });
console.log(
  `One unit: ${text(computed?.amount)}, with ${computed?.shippingAmount?.minorUnits} of the shipping`,
);
await staff.orders.refundOrder({
  id,
  subject: oneUnit,
  returnItems: true,
  restock: true,
  reason: "too small",
});
const reduced = await waitUntil(
  ({ refundedAmount }) => refundedAmount?.minorUnits === computed?.amount?.minorUnits,
);
console.log(`Refunded: ${text(reduced.refundedAmount)} of ${text(reduced.paidAmount)}`);

// The rest, to the minor unit.
const rest = (reduced.paidAmount?.minorUnits ?? 0n) - (reduced.refundedAmount?.minorUnits ?? 0n);
const amount = { currencyCode: expectedTotal.currencyCode, minorUnits: rest };
await staff.orders.refundOrder({ id, subject: { case: "amount", value: amount }, reason: "goodwill" });
const refunded = await waitUntil(
  ({ refundedAmount }) => refundedAmount?.minorUnits === expectedTotal.minorUnits,
);
const { paymentState } = refunded;
console.log(
  `Refunded: ${text(refunded.refundedAmount)}, ${PaymentStateSchema.value[paymentState]?.localName}`,
);

const { entries } = await staff.payments.listLedgerEntries({ orderId: id });
for (const entry of entries) {
  console.log(`Ledger: ${LedgerEntryTypeSchema.value[entry.type]?.localName} ${text(entry.amount)}`);
}
