import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { SignedInAccount } from "../../../support/identity/test-accounts.ts";
import type { Clients } from "../../../support/shop.ts";

/** The kinds of callers. `owner` is the customer whose resources are requested. */
export const callers = [
  "anonymous",
  "owner",
  "otherCustomer",
  "staff",
  "admin",
  "keyWithScope",
  "keyWithoutScope",
] as const;
export type Caller = (typeof callers)[number];

/** The outcome for each kind of caller: `OK` or the name of a gRPC code. */
export type Outcomes = Record<Caller, string>;

/** Accounts that prepare a call. */
export interface Fixtures {
  admin: SignedInAccount;
  owner: SignedInAccount;
}

/** Sends a request as one of the callers. */
export type Send = (clients: Clients) => Promise<unknown>;

/** The expected access to a method, or to a field with a policy. */
export interface AccessRow {
  outcomes: Outcomes;
  /** The scope of `keyWithScope`. */
  scope: Scope;
  /** Creates the resources of the request, then returns the request. */
  prepare: (fixtures: Fixtures) => Promise<Send>;
}

export const OK = "OK";
export const UNAUTHENTICATED = "Unauthenticated";
export const DENIED = "PermissionDenied";
export const NOT_FOUND = "NotFound";
export const FAILED = "FailedPrecondition";

/** All callers. */
export const ALL: Outcomes = {
  anonymous: OK,
  owner: OK,
  otherCustomer: OK,
  staff: OK,
  admin: OK,
  keyWithScope: OK,
  keyWithoutScope: OK,
};
/** Staff, admins and API keys with the scope. */
export const STAFF: Outcomes = {
  ...ALL,
  anonymous: UNAUTHENTICATED,
  owner: DENIED,
  otherCustomer: DENIED,
  keyWithoutScope: DENIED,
};
/** Admins only. */
export const ADMINS: Outcomes = { ...STAFF, staff: DENIED, keyWithScope: DENIED };
/** The owner, and those of `STAFF`. To other customers the resource does not exist. */
export const OWNER: Outcomes = { ...STAFF, owner: OK, otherCustomer: NOT_FOUND };
/** Every account, for its own resources. */
export const ACCOUNTS: Outcomes = {
  ...ALL,
  anonymous: UNAUTHENTICATED,
  keyWithScope: DENIED,
  keyWithoutScope: DENIED,
};

/** Creates a row. Methods that need no scope are called with a key that has any. */
export function accessRow(
  outcomes: Outcomes,
  prepare: AccessRow["prepare"],
  scope: Scope = Scope.CUSTOMERS_READ,
): AccessRow {
  return { outcomes, prepare, scope };
}

/** Creates a row of a method for staff. */
export function staffRow(scope: Scope, prepare: AccessRow["prepare"]): AccessRow {
  return accessRow(STAFF, prepare, scope);
}

/** Returns a preparation that creates nothing. */
export function withoutSetup(
  send: (clients: Clients, fixtures: Fixtures) => Promise<unknown>,
): AccessRow["prepare"] {
  return async (fixtures) => (clients) => send(clients, fixtures);
}
