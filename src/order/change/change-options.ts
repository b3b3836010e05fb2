import type { Clock } from "../../kernel/clock.ts";
import type { Ids } from "../../kernel/ids.ts";
import type { OrderAccess } from "../guest/order-access.ts";
import type { PaymentHooks } from "./payment-hooks.ts";
import type { ChangeTargets } from "./release-units.ts";

/** Dependencies of changing orders. */
export interface ChangeOptions extends ChangeTargets {
  clock: Clock;
  orderAccess: OrderAccess;
  ids: Ids;
  payments: PaymentHooks;
}
