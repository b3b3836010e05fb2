import { setImmediate as nextTurn } from "node:timers/promises";

/** More turns of the event loop than any chain of steps between two transactions takes. */
const TURNS = 5;

/** Lets everything that waits for no timer and no input happen. */
export async function settleTurns(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await nextTurn();
}
