import type { BlockList } from "node:net";
import { AppError } from "../../../kernel/errors.ts";
import { createCountedWarning, type Log } from "../../../kernel/log.ts";
import { callerNetwork } from "../../../kernel/network-prefix.ts";
import { resolveClientAddress } from "../../call/client-address.ts";
import { deadlineExceeded } from "../../errors/call-errors.ts";
import { closeUnreadStream } from "../../fast-path/http-exchange.ts";
import { requestPath } from "../../protocol/request-path.ts";
import type { LoadShedder, Slot } from "../load-shedding/load-shedder.ts";
import { isHttp1, type Request, type Response, sendText } from "../node-http.ts";
import type { ServerLimits } from "../server-limits.ts";
import { readWebhookBody, type UnreadBody } from "./read-webhook-body.ts";
import type { WebhookReceiver } from "./webhook-receiver.ts";

/** Dependencies of the webhook handler. */
export interface WebhookHandlerOptions {
  receiver: WebhookReceiver;
  /** Bounds the concurrent webhooks, and shares them by address. */
  loadShedder: LoadShedder;
  trustedProxies: BlockList;
  /** Returns the address of a request's peer. */
  peerOf(request: Request): string | undefined;
  /**
   * Charges the address of a peer for a request that was rejected.
   * @param calls the number of rejected calls that cost as much
   */
  chargePeer(peer: string | undefined, calls: number): void;
  limits: Pick<ServerLimits, "maxWebhookBytes" | "webhookBodyMs" | "webhookTimeoutMs" | "drainMs">;
  log: Log;
}

const PATH_PREFIX = "/webhooks/";
/** The bytes of a forged webhook that cost as much to receive and to verify as one rejected call. */
const BYTES_PER_CHARGE = 16 * 1024;
/** When the sender of a webhook that was not stored should repeat it, in seconds. */
const RETRY_AFTER_SECONDS = 1;

const UNREAD: Readonly<Record<Exclude<UnreadBody, "ABORTED">, { status: number; message: string }>> = {
  OVERSIZED: { status: 413, message: "The webhook is too large: 1 MiB at most.\n" },
  OVERDUE: { status: 408, message: "The webhook did not arrive in time. Send it again.\n" },
  REJECTED: { status: 503, message: "The service is overloaded. Send the webhook again.\n" },
};

/**
 * Creates the handler of `POST /webhooks/<gateway>`. A webhook is stored before the response: 200 stored, 400 a wrong or
 * old signature or an unreadable body, 405, 408 too slow, 413 too large, 503 not stored: the sender repeats it.
 * @returns a function that returns whether the request is for a gateway whose webhooks are received, and so is handled
 */
export function createWebhookHandler(
  options: WebhookHandlerOptions,
): (request: Request, response: Response) => boolean {
  const { receiver, loadShedder, trustedProxies, peerOf, chargePeer, limits, log } = options;
  const warnInvalid = createCountedWarning(log, "Webhook rejected", "rejected");

  const respond = async (
    gateway: string,
    request: Request,
    response: Response,
    slot: Slot,
    address: string,
  ) => {
    const peer = peerOf(request);
    const rejection = new AbortController();
    slot.startReceiving(callerNetwork(address), () => rejection.abort());
    const read = await readWebhookBody(request, {
      maxBytes: limits.maxWebhookBytes,
      timeoutMs: limits.webhookBodyMs,
      rejected: rejection.signal,
      onBytes: (bytes) => slot.addReceived(bytes),
    });
    if (read === "ABORTED") return;
    const body = Buffer.isBuffer(read) && !slot.finishReceiving() ? "REJECTED" : read;
    if (!Buffer.isBuffer(body)) {
      if (body !== "REJECTED") chargePeer(peer, 1);
      sendUnread(request, response, body, limits.drainMs);
      return;
    }
    const result = await receive({ gateway, headers: headersOf(request), body });
    if (result === "UNAVAILABLE") {
      sendUnavailable(response, "The webhook was not stored. Send it again.\n");
    } else if (result === "INVALID") {
      chargePeer(peer, 1 + body.length / BYTES_PER_CHARGE);
      warnInvalid({ gateway, address, bytes: body.length });
      sendText(response, 400, "text/plain", "The signature or the body of the webhook is invalid.\n");
    } else {
      sendText(response, 200, "text/plain", "ok\n");
    }
  };

  const receive = async (webhook: Parameters<WebhookReceiver["receive"]>[0]) => {
    const deadline = new AbortController();
    const timer = setTimeout(
      () => deadline.abort(deadlineExceeded(limits.webhookTimeoutMs)),
      limits.webhookTimeoutMs,
    );
    try {
      return await receiver.receive(webhook, deadline.signal);
    } catch (error) {
      const fields = { err: error, gateway: webhook.gateway };
      if (error instanceof AppError) log.debug(fields, "Webhook not stored");
      else log.error(fields, "Webhook not stored");
      return "UNAVAILABLE";
    } finally {
      clearTimeout(timer);
    }
  };

  return (request, response) => {
    const path = requestPath(request.url ?? "");
    if (!path.startsWith(PATH_PREFIX)) return false;
    const gateway = path.slice(PATH_PREFIX.length);
    if (!receiver.gateways.has(gateway)) return false;
    if ("stream" in request) request.stream.once("finish", () => closeUnreadStream(request.stream));
    if (request.method !== "POST") {
      response.setHeader("allow", "POST");
      sendText(response, 405, "text/plain", "Webhooks are sent with POST.\n");
      discardRest(request, limits.drainMs);
      return true;
    }
    const address = resolveClientAddress(peerOf(request), request.headers["x-forwarded-for"], trustedProxies);
    const slot = loadShedder.acquire(request, callerNetwork(address));
    if (slot === undefined) {
      chargePeer(peerOf(request), 1);
      sendUnread(request, response, "REJECTED", limits.drainMs);
      return true;
    }
    response.once("close", () => slot.release());
    void respond(gateway, request, response, slot, address).catch((error) => {
      log.error({ err: error, gateway }, "Webhook not handled");
      response.destroy();
    });
    return true;
  };
}

function sendUnread(
  request: Request,
  response: Response,
  reason: Exclude<UnreadBody, "ABORTED">,
  drainMs: number,
): void {
  const { status, message } = UNREAD[reason];
  if (isHttp1(response) && reason === "OVERDUE") response.shouldKeepAlive = false;
  if (status === 503) sendUnavailable(response, message);
  else sendText(response, status, "text/plain", message);
  discardRest(request, drainMs);
}

function sendUnavailable(response: Response, message: string): void {
  response.setHeader("retry-after", String(RETRY_AFTER_SECONDS));
  sendText(response, 503, "text/plain", message);
}

/** Discards the rest of a request, so that its sender reads the response, for `drainMs` milliseconds at most. */
function discardRest(request: Request, drainMs: number): void {
  if (request.complete || "stream" in request) return;
  const timer = setTimeout(() => request.destroy(), drainMs);
  request.once("end", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
  request.resume();
}

function headersOf({ headers }: Request): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(headers).flatMap(([name, value]) => (typeof value === "string" ? [[name, value]] : [])),
  );
}
