import { sql } from "kysely";
import type { Tx } from "../../infra/postgres/postgres.ts";
import { type Principal, permissionDenied } from "../../kernel/principal.ts";

/**
 * Verifies that a caller may change a customer. Only admins and the system may change the customer of a staff or admin
 * account: with an admin's email, staff or an API key could take over the admin's account.
 * @throws AppError permission_denied
 */
export async function assertCustomerAccess(tx: Tx, principal: Principal, customerId: string): Promise<void> {
  if (principal.kind === "system" || (principal.kind === "account" && principal.role === "ADMIN")) return;
  const privileged = await tx.query(sql`
    select from account where customer_id = ${customerId} and role <> 'CUSTOMER'`);
  if (privileged.length > 0) {
    throw permissionDenied(
      "This customer belongs to a staff account. Only admins can change it.",
      "ADMIN_ONLY",
    );
  }
}
