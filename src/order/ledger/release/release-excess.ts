import type { Tx } from "../../../infra/postgres/postgres.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Order } from "../../order-types.ts";
import { readLedgerPayments } from "../ledger-rows.ts";
import { updatePayments } from "../update-payments.ts";
import { CLOSED, decideReleases } from "./decide-releases.ts";
import { afterRelease, type ReleaseOptions, writeReleases } from "./write-releases.ts";

/**
 * Cancels and refunds the money that orders must not keep after they were cancelled, have expired, have been paid by hand
 * or cost less, or after a conflict about the amount is resolved. The orders are locked, and their change is written.
 * @returns the orders after it
 */
export async function releaseExcess(
  options: ReleaseOptions,
  tx: Tx,
  call: Call,
  orders: readonly Order[],
  cause: string = CLOSED,
): Promise<Order[]> {
  const payments = Map.groupBy(
    await readLedgerPayments(
      tx,
      orders.map(({ id }) => id),
    ),
    ({ orderId }) => orderId,
  );
  const releases = orders
    .flatMap((order) => decideReleases(order, payments.get(order.id) ?? [], cause))
    .map((release) => afterRelease(release, options.ids));
  if (releases.length === 0) return [...orders];
  await updatePayments(
    tx,
    releases.map(({ released }) => released),
    options.clock.now(),
  );
  const changed = await writeReleases(options, tx, call, new Map(), releases);
  const after = new Map(changed.map((order) => [order.id, order]));
  return orders.map((order) => after.get(order.id) ?? order);
}
