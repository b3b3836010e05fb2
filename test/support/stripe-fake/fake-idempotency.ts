import { FakeStripeError, invalidRequest } from "./fake-objects.ts";

/** A response of the fake. */
export interface FakeResponse {
  status: number;
  body: object | string;
  headers?: Record<string, string>;
}

interface Stored {
  fingerprint: string;
  response: FakeResponse;
}

/** The responses by idempotency key, errors with status 500 included. Source: https://docs.stripe.com/api/idempotent_requests */
export interface FakeIdempotency {
  /**
   * Runs a request once for a key, and then repeats its response.
   * @throws FakeStripeError idempotency_error for a key that was used with other parameters
   */
  run(key: string | undefined, fingerprint: string, work: () => FakeResponse): FakeResponse;
  /** Forgets all keys, as Stripe does after 24 hours. */
  clear(): void;
}

export function createFakeIdempotency(): FakeIdempotency {
  const stored = new Map<string, Stored>();
  return {
    run(key, fingerprint, work) {
      if (key === undefined) return work();
      const former = stored.get(key);
      if (former === undefined) {
        const response = work();
        // Requests that fail their validation have not begun.
        if (response.status !== 400 && response.status !== 404) stored.set(key, { fingerprint, response });
        return response;
      }
      if (former.fingerprint !== fingerprint) {
        const message = `Keys for idempotent requests can only be used with the same parameters: ${key}`;
        throw new FakeStripeError(400, { type: "idempotency_error", message });
      }
      return { ...former.response, headers: { "idempotent-replayed": "true" } };
    },
    clear: () => stored.clear(),
  };
}

/** Returns the error for a key whose first request is running. */
export function keyInUse(): FakeStripeError {
  return invalidRequest("idempotency_key_in_use", "There is currently another in-progress request.", 409);
}
