import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { ShippingBasis, type ShippingZone } from "../../../../gen/cartwright/order/v1/zone_pb.ts";
import { defined, missingId } from "../../../support/catalog/product-fixtures.ts";
import { failureOf } from "../../../support/errors.ts";
import { deleteZones, shippingZone } from "../../../support/quote/zone-fixtures.ts";
import { startShop, type TestShop } from "../../../support/shop.ts";

let shop: TestShop;
beforeAll(async () => {
  shop = await startShop();
});
afterEach(() => deleteZones(shop));
afterAll(() => shop.close());

const NOT_FOUND = { code: "NotFound", reason: "SHIPPING_ZONE_NOT_FOUND" };
const TAKEN = { code: "AlreadyExists", reason: "COUNTRY_TAKEN" };

async function createZone(...fields: Parameters<typeof shippingZone>): Promise<ShippingZone> {
  const response = await shop.zones.createShippingZone({ shippingZone: shippingZone(...fields) });
  return defined(response.shippingZone);
}
const update = (zone: object, ...paths: string[]) =>
  shop.zones.updateShippingZone({ shippingZone: zone, updateMask: { paths } });
const get = async (id: string) => (await shop.zones.getShippingZone({ id })).shippingZone;

test("a zone is returned as it was created, with its countries in alphabetical order", async () => {
  const zone = await createZone(["FR", "*", "DE"], { name: "Mitteleuropa & Übersee 🌍" });
  expect(zone).toMatchObject({
    ...shippingZone(["*", "DE", "FR"], { name: "Mitteleuropa & Übersee 🌍" }),
    etag: "1",
  });
  expect(zone.createTime).toEqual(zone.updateTime);
  expect(await get(zone.id)).toEqual(zone);
  expect(await get(zone.id.toUpperCase())).toEqual(zone);
});

test("zones are listed by name, in pages", async () => {
  const [b, c, a] = [
    await createZone(["BE"], { name: "B" }),
    await createZone(["CH"], { name: "C" }),
    await createZone(["AT"], { name: "A" }),
  ];
  const first = await shop.zones.listShippingZones({ pageSize: 2 });
  expect(first.shippingZones).toEqual([a, b]);
  const second = await shop.zones.listShippingZones({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second).toMatchObject({ shippingZones: [c], nextPageToken: "" });
});

test("a country, and the rest of the world, are in one zone at most", async () => {
  const zone = await createZone(["DE", "*"]);
  const failure = await failureOf(createZone(["FR", "DE", "*"]));
  expect(failure).toMatchObject(TAKEN);
  expect(failure.message).toContain("DE, *");
  const other = await createZone(["FR"]);
  expect(await failureOf(update({ id: other.id, countryCodes: ["FR", "*"] }, "country_codes"))).toMatchObject(
    TAKEN,
  );
  expect(await get(other.id)).toEqual(other);
  await update({ id: zone.id, countryCodes: ["DE"] }, "country_codes");
  const { shippingZone: wider } = await update({ id: other.id, countryCodes: ["FR", "*"] }, "country_codes");
  expect(wider).toMatchObject({ countryCodes: ["*", "FR"], etag: "2" });
  await shop.zones.deleteShippingZone({ id: zone.id });
  await createZone(["DE"]);
});

test("of concurrent zones with the same country exactly one is created", async () => {
  const created = await Promise.allSettled(Array.from({ length: 8 }, () => createZone(["SE", "NO"])));
  expect(created.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  const rejected = created.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  for (const error of rejected) expect(await failureOf(Promise.reject(error))).toMatchObject(TAKEN);
});

test("an update changes only the fields of its mask", async () => {
  const zone = await createZone(["DE"]);
  const rates = [
    { id: "post", name: "Post", basis: ShippingBasis.WEIGHT, tiers: [{ minimum: 0n, priceMinorUnits: 1n }] },
  ];
  const { shippingZone: updated } = await update({ id: zone.id, name: "not in the mask", rates }, "rates");
  expect(updated).toMatchObject({ name: zone.name, countryCodes: ["DE"], rates, etag: "2" });
  const { shippingZone: renamed } = await update({ id: zone.id, name: "Germany" });
  expect(renamed).toEqual({ ...updated, name: "Germany", etag: "3", updateTime: renamed?.updateTime });
});

test("a stale etag is rejected, and the error has the current one", async () => {
  const { id } = await createZone(["DE"]);
  await update({ id, etag: "1", name: "Second" }, "name");
  const stale = { code: "Aborted", reason: "STALE_ETAG", metadata: { current_etag: "2" } };
  expect(await failureOf(update({ id, etag: "1", name: "x" }, "name"))).toMatchObject(stale);
  expect(await failureOf(shop.zones.deleteShippingZone({ id, etag: "1" }))).toMatchObject(stale);
  await shop.zones.deleteShippingZone({ id, etag: "2" });
  expect(await failureOf(get(id))).toMatchObject(NOT_FOUND);
});

test("an unknown zone fails with NOT_FOUND", async () => {
  expect(await failureOf(get(missingId))).toMatchObject(NOT_FOUND);
  expect(await failureOf(update({ id: missingId, name: "x" }))).toMatchObject(NOT_FOUND);
  expect(await failureOf(shop.zones.deleteShippingZone({ id: missingId }))).toMatchObject(NOT_FOUND);
});

test("a repeat with the same request_id returns the first zone, and validate_only creates none", async () => {
  const request = { shippingZone: shippingZone(["DE"]), requestId: randomUUID() };
  const dryRun = await shop.zones.createShippingZone({
    shippingZone: shippingZone(["DE"]),
    validateOnly: true,
  });
  expect(dryRun.shippingZone).toMatchObject({ countryCodes: ["DE"], etag: "1" });
  const first = await shop.zones.createShippingZone(request);
  expect(await shop.zones.createShippingZone(request)).toEqual(first);
  const reused = shop.zones.createShippingZone({ ...request, shippingZone: shippingZone(["AT"]) });
  expect(await failureOf(reused)).toMatchObject({ reason: "REQUEST_ID_REUSED" });
  expect((await shop.zones.listShippingZones({})).shippingZones).toEqual([first.shippingZone]);
});

const tier = (minimum: bigint) => ({ minimum, priceMinorUnits: 1n });
const rate = (id: string, more: object = {}) => ({
  id,
  name: id,
  basis: ShippingBasis.WEIGHT,
  tiers: [tier(0n)],
  ...more,
});

describe("a zone is rejected", () => {
  test.each([
    ["with an unknown country", { countryCodes: ["DE", "XX"] }, "country_codes[1]"],
    ["with a country in lower case", { countryCodes: ["de"] }, "country_codes[0]"],
    ["with a country twice", { countryCodes: ["DE", "DE"] }, "country_codes"],
    ["without a country", { countryCodes: [] }, "country_codes"],
    ["with a long name", { name: "n".repeat(101) }, "name"],
    ["without a name", { name: "" }, "name"],
    ["with an unknown currency", { currencyCode: "ZZZ" }, "currency_code"],
    ["with a malformed currency", { currencyCode: "euro" }, "currency_code"],
    ["without a rate", { rates: [] }, "rates"],
    ["with 21 rates", { rates: Array.from({ length: 21 }, (_, at) => rate(`r${at}`)) }, "rates"],
    ["with a malformed id", { rates: [rate("Next Day")] }, "rates[0].id"],
    ["with the same id twice", { rates: [rate("a"), rate("b"), rate("a")] }, "rates[2].id"],
    ["without a basis", { rates: [rate("a", { basis: 0 })] }, "rates[0].basis"],
    ["without a tier", { rates: [rate("a", { tiers: [] })] }, "rates[0].tiers"],
    [
      "with 21 tiers",
      { rates: [rate("a", { tiers: Array.from({ length: 21 }, (_, at) => tier(BigInt(at))) })] },
      "rates[0].tiers",
    ],
    [
      "with tiers that do not ascend",
      { rates: [rate("a", { tiers: [tier(0n), tier(5n), tier(5n)] })] },
      "rates[0].tiers[2].minimum",
    ],
    [
      "with a negative price",
      { rates: [rate("a", { tiers: [{ minimum: 0n, priceMinorUnits: -1n }] })] },
      "rates[0].tiers[0].price_minor_units",
    ],
    [
      "with a price past the largest amount",
      { rates: [rate("a", { tiers: [{ minimum: 0n, priceMinorUnits: 10n ** 15n + 1n }] })] },
      "rates[0].tiers[0].price_minor_units",
    ],
    [
      "with fewer days at most than at least",
      { rates: [rate("a", { minDeliveryDays: 3, maxDeliveryDays: 2 })] },
      "rates[0].max_delivery_days",
    ],
  ])("a zone is rejected %s", async (_, wrong, field) => {
    const failure = await failureOf(createZone(["DE"], wrong));
    expect(failure).toMatchObject({ code: "InvalidArgument", fields: [`shipping_zone.${field}`] });
  });
});

test("one error names all mistakes of a zone", async () => {
  const wrong = { countryCodes: ["XX"], rates: [rate("a"), rate("a", { minDeliveryDays: 2 })] };
  expect(await failureOf(createZone(["DE"], wrong))).toMatchObject({
    reason: "INVALID_FIELD",
    fields: [
      "shipping_zone.country_codes[0]",
      "shipping_zone.rates[1].id",
      "shipping_zone.rates[1].max_delivery_days",
    ],
  });
});
