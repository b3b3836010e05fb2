// The life of an order by the typed client: quote, order, payment, shipment in two parts, delivery and return.
import {
  createClient,
  type OrderEvent,
  OrderEventTypeSchema,
  OrderStateSchema,
  OrderTotalType,
  PaymentMethod,
  pages,
} from "cartwright-client";

const baseUrl = process.argv[2] ?? "http://localhost:8080";
const password = process.env.PASSWORD ?? "";
const customer = createClient({ baseUrl });
await customer.session.signIn({ email: "customer@example.com", password });
const staff = createClient({ baseUrl });
await staff.session.signIn({ email: "staff@example.com", password });

const search = { query: "bike light", orderBy: "price", pageSize: 2, inStockOnly: true };
const { products } = await customer.catalog.listProducts(search);
const items = products.map((product) => ({ productId: product.id, quantity: 2n }));
const shippingAddress = {
  countryCode: "GR",
  postalCode: "105 63",
  locality: "Αθήνα",
  addressLines: ["Πλατεία Συντάγματος 1"],
  recipient: "Νίκη Καλλιγά",
};

// A quote lists the shipping options. A quote with one of them has the total.
const { quote: offer } = await customer.orders.quoteOrder({ items, shippingAddress });
const option = offer?.shippingOptions[0];
if (option?.price === undefined) throw new Error("Nothing ships to this address.");
console.log(`Offered: ${option.name} for ${option.price.minorUnits} ${option.price.currencyCode}`);
const { quote } = await customer.orders.quoteOrder({ items, shippingAddress, shippingOptionId: option.id });
const expectedTotal = quote?.totals.find(({ type }) => type === OrderTotalType.TOTAL)?.amount;
if (expectedTotal === undefined) throw new Error("The quote has no total.");
console.log(`Quoted: ${expectedTotal.minorUnits} ${expectedTotal.currencyCode}`);

// The client adds the request_id. With another total than the expected one, the call fails.
const { order } = await customer.orders.createOrder({
  order: { items, shippingAddress, shippingOption: { id: option.id }, note: "A present 🎁" },
  expectedTotal,
});
if (order === undefined) throw new Error("There is no order.");
const { id, amountDue } = order;
console.log(`Placed: ${amountDue?.minorUnits} ${amountDue?.currencyCode} due`);

const describe = ({ sequence, type, state, reason }: OrderEvent): string => {
  const [event, after] = [OrderEventTypeSchema.value[type], OrderStateSchema.value[state]];
  return `${sequence} ${event?.localName} -> ${after?.localName}${reason && `, ${reason}`}`;
};

/** Prints the changes of the order as they happen, until it is completed. */
async function watch(): Promise<void> {
  for await (const { events } of customer.orders.watchOrder({ id })) {
    for (const event of events) console.log(`Watched: ${describe(event)}`);
  }
  console.log("The watch has ended");
}
const watching = watch();

const payment = { method: PaymentMethod.BANK_TRANSFER, reference: "transfer 4712" };
await staff.orders.markOrderPaid({ id, amount: expectedTotal, ...payment });
const oneUnit = [{ itemId: "1", quantity: 1n }];
await staff.orders.shipOrder({ id, items: oneUnit, carrier: "ELTA", trackingNumber: "EL000000001GR" });
await staff.orders.shipOrder({ id, carrier: "ELTA", trackingNumber: "EL000000002GR" }); // all other units
await staff.orders.deliverOrder({ id });
await watching;

await staff.orders.returnOrderItems({ id, items: oneUnit, reason: "broken", restock: false });
for await (const page of pages((pageToken) => customer.orders.listOrderEvents({ id, pageToken }))) {
  for (const event of page.events) console.log(`History: ${describe(event)}`);
}
