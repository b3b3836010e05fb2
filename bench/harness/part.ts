import type { Plot } from "./plot.ts";
import type { Shops } from "./shops.ts";

/** What a part has measured. */
export interface Measurement {
  /** Of its section in RESULTS.md. */
  title: string;
  /** What was measured and how. */
  notes: string;
  /** The table, its head first. */
  rows: string[][];
  /** Goals that were missed, in words. */
  missed: string[];
  plots?: Plot[];
}

/** A part of the bench, which can be run by itself. */
export type Part = (shops: Shops) => Promise<Measurement>;

/** Holds what was measured to its goals: a cell for the table each time, and a note of each that is missed. */
export class Goals {
  readonly missed: string[] = [];

  /** @returns the goal, such as "<= 1.2", once `value` is held to it */
  atMost(what: string, value: number, limit: number): string {
    return this.#hold(what, value, value <= limit, `<= ${limit}`);
  }

  /** @returns the goal, such as ">= 0.8", once `value` is held to it */
  atLeast(what: string, value: number, limit: number): string {
    return this.#hold(what, value, value >= limit, `>= ${limit}`);
  }

  #hold(what: string, value: number, isReached: boolean, goal: string): string {
    if (!isReached) this.missed.push(`${what} is ${value.toPrecision(3)}, not ${goal}`);
    return goal;
  }
}
