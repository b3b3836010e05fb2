import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { prepare } from "../../infra/postgres/statement.ts";
import type { Call } from "../../kernel/call.ts";
import { assertEtag, notFound } from "../../kernel/errors.ts";
import { assertPresent, fieldsToUpdate, pick, type UpdatableFields } from "../../kernel/fields.ts";
import { applyChanges, timeOfChange } from "../change/apply-changes.ts";
import type { ChangeOptions } from "../change/change-options.ts";
import { lockOrder } from "../change/lock-orders.ts";
import { type FulfillmentKey, readFulfillments, type Tracking } from "./fulfillment.ts";
import type { ShippedOrder } from "./ship-order.ts";

/** A request to correct the carrier and the tracking of a fulfillment. */
export interface FulfillmentUpdate extends FulfillmentKey, Tracking {
  /** Empty for any version of the fulfillment. */
  etag: string;
  /** Contract names of the fields to update; empty for those that are not empty. */
  mask: readonly string[];
}

const UPDATABLE: UpdatableFields<keyof Tracking> = {
  resource: "fulfillment",
  fields: { carrier: "carrier", tracking_number: "trackingNumber", tracking_uri: "trackingUri" },
  required: new Set(),
};

const UPDATE = prepare<
  [id: string, carrier: string, trackingNumber: string, trackingUri: string],
  { version: number }
>(
  (id, carrier, trackingNumber, trackingUri) => sql`
    update fulfillment set carrier = ${carrier}, tracking_number = ${trackingNumber}, tracking_uri = ${trackingUri},
      version = version + 1
    where id = ${id} returning version`,
);

/**
 * Corrects the carrier and the tracking of a fulfillment. One that has the values already stays as it is.
 * @throws AppError not_found for an unknown order or fulfillment; aborted for a stale etag; invalid_argument without ids,
 *   and for a mask with other fields or without any to change
 */
export async function updateFulfillment(
  options: ChangeOptions,
  tx: Tx,
  call: Call,
  { id, fulfillmentId, etag, mask, ...input }: FulfillmentUpdate,
): Promise<ShippedOrder> {
  assertPresent({ "fulfillment.id": fulfillmentId, "fulfillment.order_id": id });
  const keys = fieldsToUpdate(UPDATABLE, input, mask);
  const order = await lockOrder(options, tx, call, id);
  const fulfillment = (await readFulfillments(tx, id)).find((one) => one.id === fulfillmentId);
  if (fulfillment === undefined) throw notFound("fulfillment", fulfillmentId);
  if (keys.every((key) => fulfillment[key] === input[key])) return { order, fulfillment };
  assertEtag("fulfillment", fulfillment, etag);
  const { carrier, trackingNumber, trackingUri } = { ...fulfillment, ...pick(input, keys) };
  const tracking: Tracking = { carrier, trackingNumber, trackingUri };
  const [row] = await tx.query(UPDATE(fulfillmentId, carrier, trackingNumber, trackingUri));
  const details = { fulfillmentId, ...tracking };
  const now = timeOfChange(options.clock, order);
  const change = { order, transition: "UPDATE_FULFILLMENT", set: {}, details, now } as const;
  const [after = order] = await applyChanges(tx, call, [change]);
  return { order: after, fulfillment: { ...fulfillment, ...tracking, etag: String(row?.version) } };
}
