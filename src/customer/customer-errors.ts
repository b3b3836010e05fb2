import { violatesConstraint } from "../infra/postgres/postgres-errors.ts";
import { AppError, invalidField } from "../kernel/errors.ts";

/** @throws AppError invalid_argument for a name without a visible character */
export function assertVisibleName(field: string, name: string): void {
  if (/[^\p{Z}\p{C}\p{M}\p{Default_Ignorable_Code_Point}\u2800]/u.test(name)) return;
  throw invalidField(field, "is blank. It needs at least one visible character.");
}

/** @throws AppError failed_precondition for a deleted customer */
export function assertNotDeleted(id: string, deletedAt: Date | string | null | undefined): void {
  if (deletedAt) throw customerDeleted(id);
}

/** Returns FAILED_PRECONDITION for a deleted customer. */
export function customerDeleted(id: string): AppError {
  return new AppError("failed_precondition", `Customer ${id} is deleted. Undelete it first.`, {
    reason: "CUSTOMER_DELETED",
    preconditions: [{ type: "DELETED", subject: `customers/${id}`, description: "undelete it first" }],
  });
}

/** Returns ALREADY_EXISTS for the undelete of a customer that is not deleted. */
export function notDeleted(id: string): AppError {
  return new AppError("already_exists", `Customer ${id} is not deleted.`, {
    reason: "CUSTOMER_NOT_DELETED",
    resource: { type: "customer", name: id },
  });
}

/** Returns ALREADY_EXISTS for the violation of the unique email, and other errors as they are. */
export function emailTakenOr(error: unknown, email: string): unknown {
  if (!violatesConstraint(error, "customer_email_unique")) return error;
  return new AppError(
    "already_exists",
    "A customer with this email already exists. Use another email, or that customer.",
    { reason: "EMAIL_TAKEN", resource: { type: "customer", name: email } },
  );
}
