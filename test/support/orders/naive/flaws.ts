/** The mistakes that implementations of orders make. */
export const FLAWS = [
  "stock is read, changed and overwritten without a lock",
  "request keys are stored after the commit",
  "a cancellation does not check the state",
  "request keys leave out the method",
  "request keys leave out the owner",
  "the failed member of a batch is dropped",
  "an expiry does not check the payment",
  "a shipment leaves the units on hand",
  "a return restocks its units twice",
  "a repeated cancellation of items is executed again",
  "an order that is closed keeps the limits of its promotion",
  "an event is recorded without a new version",
  "a change does not check the etag",
  "reversals of some units count as purchases",
] as const;

/** A mistake that implementations of orders make. */
export type Flaw = (typeof FLAWS)[number];
