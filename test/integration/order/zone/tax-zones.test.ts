import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { TaxZone } from "../../../../gen/cartwright/order/v1/zone_pb.ts";
import { MAX_TAX_ZONES } from "../../../../src/order/zone/tax-zones.ts";
import { createProduct, defined, missingId } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { deleteZones, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";
import { makeCategory } from "../../../support/shop-fixtures.ts";
import { countLockWaits } from "../../../support/stores/database-activity.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(() => deleteZones(shop));
afterAll(() => shop.close());

const EXISTS = { code: "AlreadyExists", reason: "TAX_ZONE_EXISTS" };
const NOT_FOUND = { code: "NotFound", reason: "TAX_ZONE_NOT_FOUND" };

async function createZone(...fields: Parameters<typeof taxZone>): Promise<TaxZone> {
  const response = await shop.zones.createTaxZone({ taxZone: taxZone(...fields) });
  return defined(response.taxZone);
}
const update = (zone: object, ...paths: string[]) =>
  shop.zones.updateTaxZone({ taxZone: zone, updateMask: { paths } });
const get = async (id: string) => (await shop.zones.getTaxZone({ id })).taxZone;

test("a zone is returned as it was created", async () => {
  const fields = {
    region: " Île-de-France ",
    pricesIncludeTax: false,
    rates: [
      { taxClass: "", ratePpm: 1_000_000 },
      { taxClass: "books", ratePpm: 0 },
    ],
    shippingTaxClass: "books",
  };
  const zone = await createZone("FR", fields);
  expect(zone).toMatchObject({ countryCode: "FR", ...fields, etag: "1" });
  expect(await get(zone.id.toUpperCase())).toEqual(zone);
});

test.each(["-", "_food-low", "x".repeat(32)])(
  "products with the tax class %j can have a rate",
  async (taxClass) => {
    const product = await createProduct(shop, await makeCategory(shop), { taxClass });
    const rates = [{ taxClass: product.taxClass, ratePpm: 70_000 }];
    expect(await createZone("DE", { rates, shippingTaxClass: taxClass })).toMatchObject({
      rates,
      shippingTaxClass: taxClass,
    });
  },
);

test("zones are listed by country and region, in pages, and by country", async () => {
  const [usCa, de, us] = [
    await createZone("US", { region: "CA" }),
    await createZone("DE"),
    await createZone("US"),
  ];
  const first = await shop.zones.listTaxZones({ pageSize: 2 });
  expect(first.taxZones).toEqual([de, us]);
  const second = await shop.zones.listTaxZones({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ taxZones: [usCa], nextPageToken: "" });
  expect((await shop.zones.listTaxZones({ countryCode: "US" })).taxZones).toEqual([us, usCa]);
  expect((await shop.zones.listTaxZones({ countryCode: "FR" })).taxZones).toEqual([]);
});

test("a country and each of its regions has one zone, without regard to case, width and spaces", async () => {
  await createZone("US");
  const zone = await createZone("US", { region: "Ca" });
  expect(await failureOf(createZone("US"))).toMatchObject(EXISTS);
  expect(await failureOf(createZone("US", { region: " cA " }))).toMatchObject(EXISTS);
  expect(await failureOf(createZone("US", { region: "ＣＡ" }))).toMatchObject(EXISTS);
  expect(await failureOf(update({ id: zone.id, region: "" }, "region"))).toMatchObject(EXISTS);
  const { taxZone: moved } = await update({ id: zone.id, countryCode: "CA" }, "country_code");
  expect(moved).toMatchObject({ countryCode: "CA", region: "Ca", etag: "2" });
});

test("an update changes only the fields of its mask, and false and empty fields need one", async () => {
  const zone = await createZone("DE", { shippingTaxClass: "freight" });
  const rates = [{ taxClass: "", ratePpm: 200_000 }];
  const { taxZone: updated } = await update({ id: zone.id, rates });
  expect(updated).toMatchObject({ pricesIncludeTax: true, shippingTaxClass: "freight", rates, etag: "2" });
  const { taxZone: exclusive } = await update(
    { id: zone.id, countryCode: "FR" },
    "prices_include_tax",
    "rates",
    "shipping_tax_class",
  );
  expect(exclusive).toMatchObject({
    countryCode: "DE",
    pricesIncludeTax: false,
    rates: [],
    shippingTaxClass: "",
    etag: "3",
  });
});

test("a stale etag is rejected, and an unknown zone fails with NOT_FOUND", async () => {
  const { id } = await createZone("DE");
  await update({ id, etag: "1", region: "BY" }, "region");
  const stale = { code: "Aborted", reason: "STALE_ETAG", metadata: { current_etag: "2" } };
  expect(await failureOf(update({ id, etag: "1", region: "HH" }, "region"))).toMatchObject(stale);
  expect(await failureOf(shop.zones.deleteTaxZone({ id, etag: "1" }))).toMatchObject(stale);
  await shop.zones.deleteTaxZone({ id, etag: "2" });
  for (const call of [
    get(id),
    update({ id: missingId, region: "x" }),
    shop.zones.deleteTaxZone({ id: missingId }),
  ]) {
    expect(await failureOf(call)).toMatchObject(NOT_FOUND);
  }
});

test("a deletion that waits for a concurrent change finds its etag stale", async () => {
  const { id } = await createZone("DE");
  await shop.database.query("begin");
  await shop.database.query("update tax_zone set version = version + 1 where id = $1", [id]);
  const deletion = failureOf(shop.zones.deleteTaxZone({ id, etag: "1" }));
  const countWaiting = async () => {
    // Within a transaction the view would stay as it was at first.
    await shop.database.query("select pg_stat_clear_snapshot()");
    return countLockWaits(shop.database, "tax_zone");
  };
  await expect.poll(countWaiting, { timeout: 30_000 }).toBe(1);
  await shop.database.query("commit");
  const metadata = { current_etag: "2" };
  expect(await deletion).toMatchObject({ code: "Aborted", reason: "STALE_ETAG", metadata });
  expect(await get(id)).toMatchObject({ etag: "2" });
});

test("a repeat with the same request_id returns the first zone, and validate_only creates none", async () => {
  const request = { taxZone: taxZone("DE"), requestId: randomUUID() };
  await shop.zones.createTaxZone({ taxZone: taxZone("DE"), validateOnly: true });
  const first = await shop.zones.createTaxZone(request);
  expect(await shop.zones.createTaxZone(request)).toEqual(first);
  expect((await shop.zones.listTaxZones({})).taxZones).toEqual([first.taxZone]);
});

test("there are at most 2,000 tax zones, also when the last ones are created concurrently", async () => {
  await shop.database.query(
    `insert into tax_zone select gen_random_uuid(), 'US', n::text, n::text, false, '[]', '', 1, now(), now()
     from generate_series(1, $1) as n`,
    [MAX_TAX_ZONES - 2],
  );
  const created = await Promise.allSettled(["AT", "BE", "CH", "DE"].map((code) => createZone(code)));
  const failures = created.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  expect(failures).toHaveLength(2);
  for (const error of failures) {
    const failure = await failureOf(Promise.reject(error));
    expect(failure).toMatchObject({ code: "FailedPrecondition", reason: "TOO_MANY_ZONES" });
  }
  await shop.database.query("delete from tax_zone");
});

describe("a zone is rejected", () => {
  test.each([
    ["of an unknown country", { countryCode: "XX" }, "country_code"],
    ["without a country", { countryCode: "" }, "country_code"],
    ["of the rest of the world", { countryCode: "*" }, "country_code"],
    ["with a long region", { region: "r".repeat(101) }, "region"],
    ["with a negative rate", { rates: [{ ratePpm: -1 }] }, "rates[0].rate_ppm"],
    ["with a rate of more than 100 %", { rates: [{ ratePpm: 1_000_001 }] }, "rates[0].rate_ppm"],
    ["with a malformed tax class", { rates: [{ taxClass: "Books!" }] }, "rates[0].tax_class"],
    ["with a tax class that is too long", { rates: [{ taxClass: "x".repeat(33) }] }, "rates[0].tax_class"],
    ["with a tax class twice", { rates: [{ taxClass: "a" }, { taxClass: "a" }] }, "rates[1].tax_class"],
    ["with 21 rates", { rates: Array.from({ length: 21 }, (_, at) => ({ taxClass: `c${at}` })) }, "rates"],
    ["with a malformed class of shipping", { shippingTaxClass: "Freight" }, "shipping_tax_class"],
  ])("a zone is rejected %s", async (_, wrong, field) => {
    const failure = await failureOf(createZone("DE", wrong));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [`tax_zone.${field}`] });
  });
});
