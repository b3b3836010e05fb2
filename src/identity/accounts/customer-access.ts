import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { type Principal, permissionDenied } from "../../kernel/principal.ts";

/**
 * Whether a caller may change a customer: staff and services may not change those who work in the shop, or they could
 * give themselves an admin's email, or take it from them.
 * @throws PERMISSION_DENIED for all but admins and the service itself
 */
export async function assertMayChange(tx: Tx, principal: Principal, customerId: string): Promise<void> {
  if (principal.kind === "system" || (principal.kind === "account" && principal.role === "ADMIN")) return;
  const colleagues = await tx.query(sql`
    select from account where customer_id = ${customerId} and role <> 'CUSTOMER'`);
  if (colleagues.length > 0)
    throw permissionDenied("This customer works in the shop: only admins may change them.", "ADMIN_ONLY");
}
