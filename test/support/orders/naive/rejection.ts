import type { Outcome } from "../model/operation.ts";

/** A rejection, which rolls the transaction back. */
export class Rejection extends Error {
  readonly outcome: Outcome;

  constructor(code: string, reason: string) {
    super(reason);
    this.outcome = { code, reason };
  }
}
