/** A check of the data: a query whose rows are breaches of an invariant. */
export interface Check {
  /** Stable name in lower case with hyphens. */
  readonly name: string;
  /** The number of the invariant, such as I1. */
  readonly invariant: string;
  /** The statement that holds for all rows without a breach, as one sentence. */
  readonly description: string;
  /**
   * A query without parameters. Its column `resource` names what each breach concerns, such as `products/<id>`; the other
   * columns are the values that contradict each other.
   */
  readonly query: string;
}

/** A row, or a group of rows, for which an invariant does not hold. */
export interface Breach {
  /** Name of the resource, such as `products/<id>`. */
  readonly resource: string;
  /** The values that contradict each other, by column; empty for null. */
  readonly values: Readonly<Record<string, string>>;
}

/** The result of a check. */
export interface CheckResult extends Omit<Check, "query"> {
  /** Number of all breaches. */
  readonly breachCount: bigint;
  /** The first breaches in order of their resource. */
  readonly breaches: readonly Breach[];
  readonly durationMs: number;
}
