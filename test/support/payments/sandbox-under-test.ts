import { signWebhook } from "../../../src/infra/payment/webhook-signature.ts";
import { type GatewayUnderTest, limits } from "./gateway-under-test.ts";
import { openSandbox } from "./sandbox-fixture.ts";

/** Starts the sandbox on a database of its own. Its webhooks stay undelivered. */
export async function startSandbox(): Promise<GatewayUnderTest> {
  const { sandbox, database, secrets, close } = await openSandbox();
  const [secret = ""] = secrets;
  return {
    gateway: sandbox,
    tokens: {
      ok: "sandbox_ok",
      declined: "sandbox_declined",
      secondStep: "sandbox_second_step",
      captureDeclined: "sandbox_capture_declined",
      refundFailed: "sandbox_refund_failed",
    },
    takeSecondStep(payment, succeeds) {
      const methodToken = succeeds ? "sandbox_second_step_ok" : "sandbox_second_step_failed";
      return sandbox.confirm({ ...payment, requestId: crypto.randomUUID(), methodToken }, limits());
    },
    async sentWebhooks() {
      const events = await database.query<{ body: string }>("select body from sandbox_event order by id");
      return events.map((event) => {
        const body = Buffer.from(event.body);
        return { headers: { "sandbox-signature": signWebhook(body, secret, new Date()) }, body };
      });
    },
    close,
  };
}
