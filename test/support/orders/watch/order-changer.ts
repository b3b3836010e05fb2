import { entities } from "../../../../src/entities.ts";
import { withOutbox } from "../../../../src/infra/outbox/outbox.ts";
import { createWakeUp } from "../../../../src/infra/outbox/wake-up.ts";
import { openPostgres } from "../../../../src/infra/postgres/postgres.ts";
import { internalCall } from "../../../../src/kernel/call.ts";
import { applyChanges } from "../../../../src/order/change/apply-changes.ts";
import { lockOrder } from "../../../../src/order/change/lock-orders.ts";
import { silentLog } from "../../log.ts";

/** Another process that changes orders. */
export interface OrderChanger {
  /** Changes the expiry of an order, in a transaction. Its event has the reason. */
  change(id: string, reason?: string): Promise<void>;
  close(): Promise<void>;
}

export async function openOrderChanger(url: string): Promise<OrderChanger> {
  const limits = { poolMax: 8, poolWaitMs: 60_000, statementTimeoutMs: 60_000 };
  const postgres = await openPostgres({ url, entities, log: silentLog, ...limits });
  const db = withOutbox(postgres, createWakeUp());
  const call = internalCall();
  const orderAccess = () => ({ customerId: null, isStaff: true, requestOwner: "" });
  return {
    change: (id, reason = "") =>
      db.transact(call, async (tx) => {
        const order = await lockOrder({ orderAccess }, tx, call, id);
        const now = order.updateTime;
        const set = { expireTime: new Date(now.getTime() + 3_600_000) };
        await applyChanges(tx, call, [{ order, transition: "SET_EXPIRE_TIME", set, reason, now }]);
      }),
    close: () => postgres.close(),
  };
}
