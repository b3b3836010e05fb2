import { internalCall } from "../../kernel/call.ts";
import { StartupError } from "../../kernel/errors.ts";
import type { PaymentGateway } from "./payment-gateway.ts";
import { createSandbox, readWebhookSecrets, type SandboxOptions } from "./sandbox/sandbox.ts";
import type { WebhookDelivery } from "./sandbox/webhook/delivery.ts";

/** The gateway to create. */
export interface GatewayConfig {
  gateway: "none" | "sandbox" | "stripe";
}

/** Dependencies of the gateways. */
export type GatewayDependencies = Omit<SandboxOptions, "secrets" | "capturesInParts">;

/** The gateway of new payments. */
export interface ConfiguredGateway {
  gateway: PaymentGateway;
  /**
   * Delivers the webhooks of the sandbox to the server of this process; undefined for gateways that send theirs from
   * elsewhere.
   */
  deliverTo: ((serverUrl: string) => WebhookDelivery) | undefined;
}

/** Creates the gateway of the configuration; undefined for none. */
export async function createGateway(
  { gateway }: GatewayConfig,
  dependencies: GatewayDependencies,
): Promise<ConfiguredGateway | undefined> {
  switch (gateway) {
    case "none":
      return undefined;
    case "sandbox": {
      const secrets = await readWebhookSecrets(dependencies.db, internalCall());
      const sandbox = createSandbox({ ...dependencies, secrets });
      return { gateway: sandbox, deliverTo: sandbox.deliverTo };
    }
    case "stripe":
      throw new StartupError("PAYMENT_GATEWAY: stripe is not available in this version");
  }
}
