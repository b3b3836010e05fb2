import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { GatewayError, type GatewayReport } from "../../../src/infra/payment/payment-gateway.ts";
import type { Sandbox } from "../../../src/infra/payment/sandbox/sandbox.ts";
import { eur } from "./gateway-under-test.ts";
import { NO_LIMITS, referenceOf } from "./sandbox-fixture.ts";

/** The calls of a sandbox, with a key of their own unless one is given. */
export function callsOf(sandbox: Sandbox) {
  return {
    capture(report: GatewayReport, minorUnits = 1_000n, options: { id?: string; isFinal?: boolean } = {}) {
      const { id: captureId = randomUUID(), isFinal = true } = options;
      const request = { ...referenceOf(report), captureId, amount: eur(minorUnits), isFinal };
      return sandbox.capture(request, NO_LIMITS);
    },
    refund: (report: GatewayReport, minorUnits: bigint, refundId: string = randomUUID()) =>
      sandbox.refund({ ...referenceOf(report), refundId, amount: eur(minorUnits) }, NO_LIMITS),
    confirm: (report: GatewayReport, methodToken: string, requestId: string = randomUUID()) =>
      sandbox.confirm({ ...referenceOf(report), methodToken, requestId }, NO_LIMITS),
    cancel: (report: GatewayReport, cancelId: string = randomUUID()) =>
      sandbox.cancel({ ...referenceOf(report), cancelId }, NO_LIMITS),
    fetchPayment: (paymentId: string) => sandbox.fetch({ paymentId, reference: "" }, NO_LIMITS),
  };
}

/** Returns the error of a call that must fail. */
export async function errorOf(call: Promise<unknown>): Promise<GatewayError> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof GatewayError) return error;
  throw new Error("the call has no error of a gateway", { cause: error });
}

/** Returns the code of a call that must be rejected. */
export async function rejectionOf(call: Promise<unknown>): Promise<string> {
  const { kind, code } = await errorOf(call);
  expect(kind).toBe("REJECTED");
  return code;
}
