import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ShippingBasis,
  type ShippingZoneSchema,
  type TaxZoneSchema,
} from "../../../gen/cartwright/order/v1/zone_pb.ts";
import type { Clients, TestShop } from "../shop.ts";

type ShippingZoneInit = Omit<MessageInitShape<typeof ShippingZoneSchema>, "$typeName">;
type TaxZoneInit = Omit<MessageInitShape<typeof TaxZoneSchema>, "$typeName">;

/** Returns the fields of a shipping zone in EUR with one rate, and those that a test adds. */
export function shippingZone(countryCodes: string[], more: ShippingZoneInit = {}): ShippingZoneInit {
  return {
    name: `Zone ${countryCodes.join(" ")}`,
    countryCodes,
    currencyCode: "EUR",
    rates: [
      {
        id: "standard",
        name: "Standard",
        basis: ShippingBasis.ORDER_VALUE,
        tiers: [
          { minimum: 0n, priceMinorUnits: 490n },
          { minimum: 5_000n, priceMinorUnits: 0n },
        ],
        minDeliveryDays: 1,
        maxDeliveryDays: 3,
      },
    ],
    ...more,
  };
}

/** Returns the fields of a tax zone with prices that include 19 % tax, and those that a test adds. */
export function taxZone(countryCode: string, more: TaxZoneInit = {}): TaxZoneInit {
  return { countryCode, pricesIncludeTax: true, rates: [{ taxClass: "", ratePpm: 190_000 }], ...more };
}

/** Creates zones. Those that exist remain. */
export async function createZones(
  { zones }: Clients,
  { shipping = [], tax = [] }: { shipping?: ShippingZoneInit[]; tax?: TaxZoneInit[] },
): Promise<void> {
  for (const zone of shipping) await zones.createShippingZone({ shippingZone: zone });
  for (const zone of tax) await zones.createTaxZone({ taxZone: zone });
}

/** Deletes all zones through the service. */
export async function deleteZones({ zones }: TestShop): Promise<void> {
  const { shippingZones } = await zones.listShippingZones({ pageSize: 100 });
  for (const { id } of shippingZones) await zones.deleteShippingZone({ id });
  const { taxZones } = await zones.listTaxZones({ pageSize: 100 });
  for (const { id } of taxZones) await zones.deleteTaxZone({ id });
}
