import type { FakeOperation } from "./fake-routes.ts";

/** What goes wrong with a request. */
export type FakeFault =
  /** Responds 500 after the work is done, and repeats that response for the key. */
  | "error_after"
  /** Responds 503 and does nothing. */
  | "unavailable"
  /** Does the work and closes the connection without a response. */
  | "disconnect_after"
  /** Does the work and responds only when the fake closes. */
  | "no_response"
  /** Does the work and responds with the object of another payment. */
  | "other_payment"
  /** Another request with the same key is running. */
  | "key_in_use"
  | "rate_limited"
  | "invalid_json"
  /** Responds with more than the client reads. */
  | "oversized";

/** A fault of the next request with this operation. */
export interface PlannedFault {
  operation: FakeOperation;
  fault: FakeFault;
}

/** Takes the first planned fault of an operation. */
export function takeFault(planned: PlannedFault[], operation: FakeOperation): FakeFault | undefined {
  const index = planned.findIndex((one) => one.operation === operation);
  return index === -1 ? undefined : planned.splice(index, 1)[0]?.fault;
}
