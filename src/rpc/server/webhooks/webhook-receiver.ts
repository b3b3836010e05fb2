/** A webhook with its raw body, which its sender has signed. */
export interface Webhook {
  /** Name of the sender, as in the path. */
  gateway: string;
  /** By lower-case names. */
  headers: ReadonlyMap<string, string>;
  body: Buffer;
}

/** STORED: it is stored, now or by an earlier delivery. INVALID: the signature is wrong or too old, or the body unreadable. */
export type WebhookResult = "STORED" | "INVALID";

/** Receives webhooks of payment gateways. */
export interface WebhookReceiver {
  /** Names of the senders whose webhooks are received. */
  readonly gateways: ReadonlySet<string>;
  /**
   * Verifies a webhook and stores it.
   * @param signal aborts when the sender no longer waits; its reason is an AppError
   * @throws AppError unavailable, deadline_exceeded or cancelled when it is not stored, or not known to be
   */
  receive(webhook: Webhook, signal: AbortSignal): Promise<WebhookResult>;
}
