import type { Plot } from "./plot.ts";
import type { Shops } from "./shops.ts";

/** The result of a part. */
export interface Measurement {
  /** The heading of its section in RESULTS.md. */
  title: string;
  /** What was measured and how. */
  notes: string;
  /** The table; the first row is its header. */
  rows: string[][];
  /** The goals that were missed, one sentence each. */
  missed: string[];
  plots?: Plot[];
  /** The versions of the stores, of a part that does not use those of the shops. */
  stores?: string;
}

/** A part of the bench that can run alone. */
export type Part = (shops: Shops) => Promise<Measurement | Measurement[]>;

/** Compares measured values with their goals and collects the goals that were missed. */
export class Goals {
  readonly missed: string[] = [];

  /** Checks that `value` is at most `limit`. Returns the goal as a table cell, such as "<= 1.2". */
  atMost(name: string, value: number, limit: number): string {
    return this.#check(name, value, value <= limit, `<= ${limit}`);
  }

  /** Checks that `value` is at least `limit`. Returns the goal as a table cell, such as ">= 0.8". */
  atLeast(name: string, value: number, limit: number): string {
    return this.#check(name, value, value >= limit, `>= ${limit}`);
  }

  #check(name: string, value: number, isReached: boolean, goal: string): string {
    if (!isReached) this.missed.push(`${name} is ${value.toPrecision(3)}, not ${goal}`);
    return goal;
  }
}
