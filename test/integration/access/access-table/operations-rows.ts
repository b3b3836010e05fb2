import { NIL_UUID } from "../../../../src/kernel/ids.ts";
import { type AccessRow, ADMINS, accessRow, NOT_FOUND, withoutSetup } from "./access-row.ts";

/** The methods of OperationsService. */
export const operationsRows: Readonly<Record<string, AccessRow>> = {
  "OperationsService/VerifyInvariants": accessRow(
    ADMINS,
    withoutSetup(({ operations }) => operations.verifyInvariants({})),
  ),
  "OperationsService/ListFailedJobs": accessRow(
    ADMINS,
    withoutSetup(({ operations }) => operations.listFailedJobs({})),
  ),
  "OperationsService/RetryJob": accessRow(
    { ...ADMINS, admin: NOT_FOUND },
    withoutSetup(({ operations }) => operations.retryJob({ id: NIL_UUID })),
  ),
};
