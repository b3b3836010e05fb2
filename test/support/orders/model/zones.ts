import { ShippingBasis } from "../../../../gen/cartwright/order/v1/zone_pb.ts";
import { createZones, shippingZone, taxZone } from "../../quote/zone-fixtures.ts";
import type { Clients } from "../../shop.ts";
import { ZONE } from "./operation.ts";

/** Creates the zones of the model: a tax on top of prices, and a shipping option. */
export async function createModelZones(clients: Clients): Promise<void> {
  const tiers = [{ minimum: 0n, priceMinorUnits: BigInt(ZONE.shippingPrice) }];
  const rate = { id: ZONE.optionId, name: "Standard", basis: ShippingBasis.ORDER_VALUE, tiers };
  const rates = [{ taxClass: "", ratePpm: ZONE.taxPercent * 10_000 }];
  await createZones(clients, {
    shipping: [shippingZone([ZONE.countryCode], { rates: [rate] })],
    tax: [taxZone(ZONE.countryCode, { pricesIncludeTax: false, rates })],
  });
}
