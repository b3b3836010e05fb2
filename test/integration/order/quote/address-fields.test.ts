import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { missingId } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop.close());

const requestOf = (shippingAddress: object, more: object = {}) => ({
  requestId: randomUUID(),
  order: { items: [{ productId: missingId, quantity: 1n }], shippingAddress },
  ...more,
});

test.each([
  ["a carriage return and line feed in the recipient", { recipient: "Ada\r\nBcc: x" }, "recipient"],
  ["a line feed in the city", { locality: "Bonn\n" }, "locality"],
  ["an escape in an address line", { addressLines: ["a", "\u001b[31m"] }, "address_lines[1]"],
  ["a next line in the postal code", { postalCode: "53\u0085111" }, "postal_code"],
  ["a line separator in the organization", { organization: "a\u2028b" }, "organization"],
  ["a tab in the telephone number", { phone: "1\t2" }, "phone"],
  ["a delete in the region", { administrativeArea: "N\u007fW" }, "administrative_area"],
])("an address with %s is rejected", async (_, wrong, field) => {
  const request = requestOf({ countryCode: "DE", ...wrong });
  const path = `order.shipping_address.${field}`;
  expect(await failureOf(shop.orders.createOrder(request))).toMatchObject({
    code: "InvalidArgument",
    reason: "INVALID_REQUEST",
    fields: [path],
    message: `${path}: must not contain line breaks or control characters`,
  });
});

test("a code that is missing is required, and a malformed one is described", async () => {
  const missing = requestOf({ locality: "Bonn" }, { expectedTotal: { minorUnits: 1n } });
  const fields = ["order.shipping_address.country_code", "expected_total.currency_code"];
  expect(await failureOf(shop.orders.createOrder(missing))).toMatchObject({
    code: "InvalidArgument",
    reason: "FIELD_REQUIRED",
    fields,
    message: `Required but missing: ${fields.join(", ")}.`,
  });
  const malformed = requestOf({ countryCode: "de" });
  expect(await failureOf(shop.orders.createOrder(malformed))).toMatchObject({
    reason: "INVALID_REQUEST",
    message: "order.shipping_address.country_code: must be a code of two capital letters",
  });
});
