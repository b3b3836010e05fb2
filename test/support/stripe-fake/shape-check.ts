import type { IncomingMessage } from "node:http";
import type { FakeResponse } from "./fake-idempotency.ts";

/** Compares requests and responses with the OpenAPI specification of Stripe, which stripe-mock has. */
export interface ShapeCheck {
  /** Requests that stripe-mock has checked. */
  checked: number;
  /** What stripe-mock has rejected, and fields of responses that its samples do not have. */
  mistakes: string[];
  /** Returns the response of stripe-mock if it rejects the request. */
  checkRequest(request: IncomingMessage, body: string): Promise<{ rejection?: FakeResponse; sample: object }>;
  /** Compares the fields of a response with those of the sample of stripe-mock. */
  checkResponse(name: string, response: object, sample: object): void;
}

/** Fields that Stripe documents and the samples of stripe-mock do not have. */
const OPTIONAL: ReadonlySet<string> = new Set([
  "refund.failure_reason",
  "list_refunds.data.failure_reason",
  "search.next_page",
]);

/** @param mockUrl address of stripe-mock */
export function createShapeCheck(mockUrl: string): ShapeCheck {
  const check: ShapeCheck = {
    checked: 0,
    mistakes: [],
    async checkRequest({ method = "GET", url = "/" }, body) {
      const response = await fetch(`${mockUrl}${url}`, {
        method,
        headers: { authorization: "Bearer sk_test_123", "content-type": "application/x-www-form-urlencoded" },
        ...(method === "GET" ? {} : { body }),
      });
      check.checked += 1;
      const sample: object = Object(await response.json());
      if (response.ok) return { sample };
      check.mistakes.push(`${method} ${url} ${body}: ${JSON.stringify(sample)}`);
      return { rejection: { status: response.status, body: sample }, sample };
    },
    checkResponse(name, response, sample) {
      const fields = new Map<string, unknown>(Object.entries(sample));
      for (const [field, value] of Object.entries(response)) {
        if (!fields.has(field) && !OPTIONAL.has(`${name}.${field}`))
          check.mistakes.push(`${name}.${field} is no field of Stripe`);
        const known = fields.get(field);
        if (field === "data" && Array.isArray(value) && Array.isArray(known)) {
          for (const one of value) check.checkResponse(`${name}.data`, Object(one), Object(known[0]));
        }
      }
    },
  };
  return check;
}
