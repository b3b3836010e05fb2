import { describe, expect, test } from "vitest";
import { Access, Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { AppError } from "../../../../src/kernel/errors.ts";
import { anonymous, type Principal, type Role, system } from "../../../../src/kernel/principal.ts";
import { createAuthorize } from "../../../../src/rpc/call/access/authorization.ts";

const account = (role: Role): Principal => ({
  kind: "account",
  accountId: "a",
  customerId: "c",
  role,
  sessionId: "s",
});
const service = (...scopes: string[]): Principal => ({
  kind: "service",
  keyId: "k",
  serviceAccount: "till",
  scopes: new Set(scopes),
});

/** Returns `OK` or the reason of the error. */
function outcomeOf(principal: Principal, access: Access, { guestCheckout = false, orderToken = "" } = {}) {
  try {
    createAuthorize(guestCheckout)({ principal, orderToken }, { access, scope: Scope.ORDERS_READ });
    return "OK";
  } catch (error) {
    return error instanceof AppError ? error.details.reason : String(error);
  }
}

describe("an anonymous caller", () => {
  test.each([
    [Access.GUEST, false, "", "SIGN_IN_REQUIRED"],
    [Access.GUEST, true, "", "OK"],
    // The token belongs to an order that exists.
    [Access.GUEST, false, "token", "SIGN_IN_REQUIRED"],
    [Access.ORDER_TOKEN, false, "", "SIGN_IN_REQUIRED"],
    [Access.ORDER_TOKEN, true, "", "SIGN_IN_REQUIRED"],
    // The guests of a shop that has turned it off keep their orders.
    [Access.ORDER_TOKEN, false, "token", "OK"],
    [Access.ORDER_TOKEN, true, "token", "OK"],
    [Access.PUBLIC, false, "", "OK"],
    [Access.CUSTOMER, true, "token", "SIGN_IN_REQUIRED"],
    [Access.STAFF, true, "token", "SIGN_IN_REQUIRED"],
    [Access.ADMIN, true, "token", "SIGN_IN_REQUIRED"],
  ])(
    "access %i with guest checkout %s and the token %j gives %s",
    (access, guestCheckout, orderToken, outcome) => {
      expect(outcomeOf(anonymous, access, { guestCheckout, orderToken })).toBe(outcome);
    },
  );
});

test.each([Access.GUEST, Access.ORDER_TOKEN])(
  "access %i is that of customers for other callers",
  (access) => {
    for (const principal of [system, account("CUSTOMER"), account("STAFF"), account("ADMIN")]) {
      expect(outcomeOf(principal, access)).toBe("OK");
    }
    expect(outcomeOf(service("ORDERS_READ"), access)).toBe("OK");
    expect(outcomeOf(service("ORDERS_WRITE"), access, { guestCheckout: true, orderToken: "token" })).toBe(
      "SCOPE_MISSING",
    );
  },
);
