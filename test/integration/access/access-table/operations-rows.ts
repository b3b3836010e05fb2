import { type AccessRow, ADMINS, accessRow, withoutSetup } from "./access-row.ts";

/** The methods of OperationsService. */
export const operationsRows: Readonly<Record<string, AccessRow>> = {
  "OperationsService/VerifyInvariants": accessRow(
    ADMINS,
    withoutSetup(({ operations }) => operations.verifyInvariants({})),
  ),
};
