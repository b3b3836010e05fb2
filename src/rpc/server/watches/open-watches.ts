import { setImmediate as nextTurn } from "node:timers/promises";
import { AppError } from "../../../kernel/errors.ts";
import type { Reauthenticate } from "../../call/access/reauthenticate.ts";
import type { ActiveCall } from "../../call/active-call.ts";
import { shuttingDown } from "../../errors/call-errors.ts";
import type { ServerLimits } from "../server-limits.ts";

/** Dependencies of the open watches. */
export interface OpenWatchesOptions {
  reauthenticate: Reauthenticate;
  limits: Pick<ServerLimits, "watchCheckMs" | "deliveryMs">;
  /** Aborted when the server begins to stop. */
  draining: AbortSignal;
}

/** The watches that are checked in one turn of the event loop. A check takes some microseconds. */
const CHECKED_PER_TURN = 200;

/**
 * The open calls without a deadline. One timer for all of them ends those whose credential is no longer valid and those
 * whose caller does not read. They end immediately when the server begins to stop.
 */
export class OpenWatches {
  readonly #options: OpenWatchesOptions;
  readonly #calls = new Set<ActiveCall>();
  #isChecking = false;

  constructor(options: OpenWatchesOptions) {
    this.#options = options;
    const { draining, limits } = options;
    const timer = setInterval(() => void this.#checkAll(), limits.watchCheckMs).unref();
    draining.addEventListener("abort", () => {
      clearInterval(timer);
      for (const { lifetime } of this.#calls) lifetime.stop(shuttingDown());
    });
  }

  /** Adds a call until it is removed. */
  add(call: ActiveCall): void {
    this.#calls.add(call);
    if (this.#options.draining.aborted) call.lifetime.stop(shuttingDown());
  }

  remove(call: ActiveCall): void {
    this.#calls.delete(call);
  }

  async #checkAll(): Promise<void> {
    if (this.#isChecking) return;
    this.#isChecking = true;
    let checked = 0;
    for (const call of this.#calls) {
      this.#checkDelivery(call);
      await this.#checkCredential(call);
      checked += 1;
      if (checked % CHECKED_PER_TURN === 0) await nextTurn();
    }
    this.#isChecking = false;
  }

  #checkDelivery({ setup, lifetime }: ActiveCall): void {
    const { deliveringSinceMs } = lifetime;
    if (deliveringSinceMs === undefined) return;
    if (performance.now() - deliveringSinceMs >= this.#options.limits.deliveryMs) setup.abort();
  }

  async #checkCredential(call: ActiveCall): Promise<void> {
    // Admission authenticates it first.
    if (!call.hasPrincipal) return;
    try {
      await this.#options.reauthenticate(call);
    } catch (error) {
      // A credential that cannot be checked now, because the database is unavailable, is checked again later.
      if (isEnded(error)) call.lifetime.stop(error);
    }
  }
}

/** Returns whether an error reports that the caller no longer has access. */
function isEnded(error: unknown): error is AppError {
  return (
    error instanceof AppError && (error.code === "unauthenticated" || error.code === "permission_denied")
  );
}
