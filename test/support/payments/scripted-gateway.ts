import {
  type GatewayReport,
  InvalidWebhookError,
  type PaymentGateway,
  type WebhookEvent,
} from "../../../src/infra/payment/payment-gateway.ts";

/** The responses of a gateway. Methods that a test does not define fail. */
export type GatewayScript = Partial<
  Pick<PaymentGateway, "createIntent" | "confirm" | "capture" | "cancel" | "refund" | "fetch">
>;

/** The header with the signature of a webhook of a scripted gateway. */
export const SIGNED: ReadonlyMap<string, string> = new Map([["signature", "valid"]]);

/** Creates a gateway that responds as a test defines, under the name of the sandbox. */
export function createScriptedGateway(script: GatewayScript = {}): PaymentGateway {
  const unexpected = (name: string) => async (): Promise<never> => {
    throw new Error(`unexpected ${name}`);
  };
  return {
    name: "sandbox",
    capturesInParts: false,
    publishableKey: "",
    assertChargeable: () => {},
    createIntent: unexpected("createIntent"),
    confirm: unexpected("confirm"),
    capture: unexpected("capture"),
    cancel: unexpected("cancel"),
    refund: unexpected("refund"),
    fetch: unexpected("fetch"),
    verifyWebhook({ headers, body }) {
      if (headers.get("signature") !== "valid") throw new InvalidWebhookError("The signature is not valid.");
      return readScriptedEvent(body);
    },
    readWebhook: readScriptedEvent,
    ...script,
  };
}

/** Returns the body of a webhook. Without a reference it is not about the money of a payment. */
export function scriptedEvent(id: string, reference = ""): Buffer {
  return Buffer.from(JSON.stringify({ id, reference }));
}

function readScriptedEvent(body: Buffer): WebhookEvent {
  let event: { id: string; reference: string };
  try {
    event = JSON.parse(body.toString());
  } catch {
    throw new InvalidWebhookError("The body is not JSON.");
  }
  const { id, reference } = event;
  const report: GatewayReport = { paymentId: "", reference, facts: [] };
  return { id, type: "test", createTime: new Date(0), report: reference === "" ? undefined : report };
}
