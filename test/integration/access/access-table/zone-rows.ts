import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { shippingZone, taxZone } from "../../../support/quote/zone-fixtures.ts";
import { type AccessRow, type Fixtures, type Send, staffRow, withoutSetup } from "./access-row.ts";

const zoneRow = (prepare: AccessRow["prepare"]) => staffRow(Scope.ZONES_WRITE, prepare);

/** Creates a shipping zone of Chile in place of an earlier one, and sends a request with its id. */
const withShippingZone =
  (send: (id: string) => Send): AccessRow["prepare"] =>
  async ({ admin: { zones } }: Fixtures) => {
    const { shippingZones } = await zones.listShippingZones({ pageSize: 100 });
    for (const { id } of shippingZones) await zones.deleteShippingZone({ id });
    const created = await zones.createShippingZone({ shippingZone: shippingZone(["CL"]) });
    return send(created.shippingZone?.id ?? "");
  };

/** Creates a tax zone of Chile in place of an earlier one, and sends a request with its id. */
const withTaxZone =
  (send: (id: string) => Send): AccessRow["prepare"] =>
  async ({ admin: { zones } }: Fixtures) => {
    const { taxZones } = await zones.listTaxZones({ pageSize: 100 });
    for (const { id } of taxZones) await zones.deleteTaxZone({ id });
    const created = await zones.createTaxZone({ taxZone: taxZone("CL") });
    return send(created.taxZone?.id ?? "");
  };

/** The methods of ZoneService. */
export const zoneRows: Readonly<Record<string, AccessRow>> = {
  "ZoneService/GetShippingZone": zoneRow(
    withShippingZone(
      (id) =>
        ({ zones }) =>
          zones.getShippingZone({ id }),
    ),
  ),
  "ZoneService/ListShippingZones": zoneRow(withoutSetup(({ zones }) => zones.listShippingZones({}))),
  "ZoneService/CreateShippingZone": zoneRow(
    withoutSetup(({ zones }) =>
      zones.createShippingZone({ shippingZone: shippingZone(["NZ"]), validateOnly: true }),
    ),
  ),
  "ZoneService/UpdateShippingZone": zoneRow(
    withShippingZone(
      (id) =>
        ({ zones }) =>
          zones.updateShippingZone({ shippingZone: { id, name: "South" } }),
    ),
  ),
  "ZoneService/DeleteShippingZone": zoneRow(
    withShippingZone(
      (id) =>
        ({ zones }) =>
          zones.deleteShippingZone({ id }),
    ),
  ),
  "ZoneService/GetTaxZone": zoneRow(
    withTaxZone(
      (id) =>
        ({ zones }) =>
          zones.getTaxZone({ id }),
    ),
  ),
  "ZoneService/ListTaxZones": zoneRow(withoutSetup(({ zones }) => zones.listTaxZones({}))),
  "ZoneService/CreateTaxZone": zoneRow(
    withoutSetup(({ zones }) => zones.createTaxZone({ taxZone: taxZone("NZ"), validateOnly: true })),
  ),
  "ZoneService/UpdateTaxZone": zoneRow(
    withTaxZone(
      (id) =>
        ({ zones }) =>
          zones.updateTaxZone({ taxZone: { id, region: "South" } }),
    ),
  ),
  "ZoneService/DeleteTaxZone": zoneRow(
    withTaxZone(
      (id) =>
        ({ zones }) =>
          zones.deleteTaxZone({ id }),
    ),
  ),
};
