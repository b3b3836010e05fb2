import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import {
  ShippingBasis as ShippingBasisMessage,
  type ShippingZone as ShippingZoneMessage,
  type ShippingZoneSchema,
  type TaxZone as TaxZoneMessage,
  type TaxZoneSchema,
} from "../../../gen/cartwright/order/v1/zone_pb.ts";
import type { ZoneService } from "../../../gen/cartwright/order/v1/zone_service_pb.ts";
import type { Call } from "../../kernel/call.ts";
import type { ShippingBasis, ShippingZone, ShippingZoneInput } from "./shipping-zone.ts";
import type { TaxZone, TaxZoneInput } from "./tax-zone.ts";
import type { Zones } from "./zones.ts";

const BASES: Record<ShippingBasis, ShippingBasisMessage> = {
  ORDER_VALUE: ShippingBasisMessage.ORDER_VALUE,
  WEIGHT: ShippingBasisMessage.WEIGHT,
};

/** Creates the handlers of ZoneService. */
export function zoneRpc({ shipping, tax }: Zones, getCall: (context: HandlerContext) => Call) {
  return {
    async getShippingZone({ id }, context) {
      return { shippingZone: toShippingZoneMessage(await shipping.get(getCall(context), id)) };
    },

    async listShippingZones(request, context) {
      const page = await shipping.list(getCall(context), request);
      return { shippingZones: page.items.map(toShippingZoneMessage), nextPageToken: page.nextPageToken };
    },

    async createShippingZone({ shippingZone, requestId, validateOnly }, context) {
      const creation = { zone: fromShippingZone(shippingZone), requestId, validateOnly };
      return { shippingZone: toShippingZoneMessage(await shipping.create(getCall(context), creation)) };
    },

    async updateShippingZone({ shippingZone, updateMask, requestId, validateOnly }, context) {
      const update = {
        zone: { ...fromShippingZone(shippingZone), ...keyOf(shippingZone) },
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { shippingZone: toShippingZoneMessage(await shipping.update(getCall(context), update)) };
    },

    async deleteShippingZone({ id, etag }, context) {
      await shipping.delete(getCall(context), id.toLowerCase(), etag);
      return {};
    },

    async getTaxZone({ id }, context) {
      return { taxZone: toTaxZoneMessage(await tax.get(getCall(context), id)) };
    },

    async listTaxZones(request, context) {
      const page = await tax.list(getCall(context), request);
      return { taxZones: page.items.map(toTaxZoneMessage), nextPageToken: page.nextPageToken };
    },

    async createTaxZone({ taxZone, requestId, validateOnly }, context) {
      const creation = { zone: fromTaxZone(taxZone), requestId, validateOnly };
      return { taxZone: toTaxZoneMessage(await tax.create(getCall(context), creation)) };
    },

    async updateTaxZone({ taxZone, updateMask, requestId, validateOnly }, context) {
      const update = {
        zone: { ...fromTaxZone(taxZone), ...keyOf(taxZone) },
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { taxZone: toTaxZoneMessage(await tax.update(getCall(context), update)) };
    },

    async deleteTaxZone({ id, etag }, context) {
      await tax.delete(getCall(context), id.toLowerCase(), etag);
      return {};
    },
  } satisfies ServiceImpl<typeof ZoneService>;
}

function keyOf(zone: ShippingZoneMessage | TaxZoneMessage | undefined): { id: string; etag: string } {
  return { id: zone?.id.toLowerCase() ?? "", etag: zone?.etag ?? "" };
}

function fromShippingZone(zone: ShippingZoneMessage | undefined): ShippingZoneInput {
  const { name = "", countryCodes = [], currencyCode = "", rates = [] } = zone ?? {};
  return {
    name,
    countryCodes,
    currencyCode,
    rates: rates.map(({ id, name: rateName, basis, tiers, minDeliveryDays, maxDeliveryDays }) => ({
      id,
      name: rateName,
      basis: basis === ShippingBasisMessage.WEIGHT ? "WEIGHT" : "ORDER_VALUE",
      tiers: tiers.map(({ minimum, priceMinorUnits }) => ({ minimum, price: priceMinorUnits })),
      minDeliveryDays,
      maxDeliveryDays,
    })),
  };
}

function toShippingZoneMessage(zone: ShippingZone): MessageInitShape<typeof ShippingZoneSchema> {
  return {
    ...zone,
    countryCodes: [...zone.countryCodes],
    rates: zone.rates.map(({ tiers, basis, ...rate }) => ({
      ...rate,
      basis: BASES[basis],
      tiers: tiers.map(({ minimum, price }) => ({ minimum, priceMinorUnits: price })),
    })),
    createTime: timestampFromDate(zone.createTime),
    updateTime: timestampFromDate(zone.updateTime),
  };
}

function fromTaxZone(zone: TaxZoneMessage | undefined): TaxZoneInput {
  const { countryCode = "", region = "", pricesIncludeTax = false, rates = [] } = zone ?? {};
  return {
    countryCode,
    region,
    pricesIncludeTax,
    rates: rates.map(({ taxClass, ratePpm }) => ({ taxClass, ratePpm })),
    shippingTaxClass: zone?.shippingTaxClass ?? "",
  };
}

function toTaxZoneMessage(zone: TaxZone): MessageInitShape<typeof TaxZoneSchema> {
  return {
    ...zone,
    rates: zone.rates.map((rate) => ({ ...rate })),
    createTime: timestampFromDate(zone.createTime),
    updateTime: timestampFromDate(zone.updateTime),
  };
}
