import { createThrottledWarning } from "../../../infra/jobs/throttled-warning.ts";
import { CircuitBreaker } from "../../../kernel/async/circuit-breaker.ts";
import type { Call } from "../../../kernel/call.ts";
import type { Log } from "../../../kernel/log.ts";
import type { Basket, BasketLine, Quote, QuoteProvider, QuoteRequest, Quoter } from "../quote.ts";
import { StaleQuoterError } from "../quote-errors.ts";
import { postJson, ServiceUnavailableError } from "./post-json.ts";
import { decodeResponse, encodeRequest } from "./quote-messages.ts";

/** Options of quotes by another service. */
export interface RemoteProviderOptions {
  url: string;
  /** Sent as a bearer token; undefined for none. */
  token: string | undefined;
  /** Time limit of a request, in milliseconds. A call with less time fails at its own deadline. */
  timeoutMs: number;
  /** Determines quotes while the service fails. */
  fallback: QuoteProvider;
  log: Log;
}

/** A response with 100 lines and 20 options is smaller than 20 kB. */
const MAX_RESPONSE_BYTES = 65_536;

/**
 * Creates the provider that requests quotes from another service over HTTP. If the service does not respond in time, with
 * a valid response, the fallback determines the quote. A service that is unreachable, late or overloaded gets no request
 * for a second. The end of a call says nothing about the service: it neither stops the requests of other calls nor selects
 * the fallback.
 */
export function createRemoteProvider(options: RemoteProviderOptions): QuoteProvider {
  const { fallback, log } = options;
  const warn = createThrottledWarning(log);
  const breaker = new CircuitBreaker({
    log,
    messages: {
      opened: "Quote service failed; quotes are computed with the zones",
      closed: "Quote service recovered",
    },
  });

  /** Returns the quote of the service; undefined when it has failed. */
  async function request(call: Call, basket: Basket, quoted: QuoteRequest): Promise<Quote | undefined> {
    if (!breaker.allowsRequest(performance.now())) return undefined;
    const timeout = AbortSignal.timeout(options.timeoutMs);
    try {
      const signal = AbortSignal.any([call.signal, timeout]);
      const quote = await requestQuote(options, signal, basket, quoted);
      breaker.recordSuccess();
      return quote;
    } catch (error) {
      if (call.signal.aborted && !timeout.aborted) {
        breaker.recordAbandoned(performance.now());
        call.signal.throwIfAborted();
      }
      if (timeout.aborted || isOutage(error)) breaker.recordFailure(error, performance.now());
      else {
        breaker.recordSuccess();
        warn({ err: error }, "Quote service sent an invalid response; the quote is computed with the zones");
      }
      return undefined;
    }
  }

  return {
    callsService: true,
    async prepare(call, quoted) {
      const basket = await quoted.readBasket();
      const quote = await request(call, basket, quoted);
      if (quote === undefined) return requireOption(await fallback.prepare(call, quoted));
      return (current) => {
        if (!isSameBasket(current, basket)) throw new StaleQuoterError();
        return quote;
      };
    },
  };
}

/** Returns a quoter whose orders need a shipping option, as those of the service do: also in a shop without zones. */
function requireOption(quoter: Quoter): Quoter {
  return (basket) => ({ ...quoter(basket), needsShippingOption: true });
}

async function requestQuote(
  { url, token }: RemoteProviderOptions,
  signal: AbortSignal,
  basket: Basket,
  { address }: QuoteRequest,
): Promise<Quote> {
  const request = encodeRequest(basket, address);
  const body = await postJson({ url, token, body: request, signal, maxBytes: MAX_RESPONSE_BYTES });
  return decodeResponse(body, basket);
}

/** Returns whether an error says that further requests would fail too: no connection, overload. */
function isOutage(error: unknown): boolean {
  if (error instanceof ServiceUnavailableError) return true;
  // fetch throws a TypeError with a cause for each failure of the network.
  return error instanceof TypeError && error.cause !== undefined;
}

function isSameBasket(left: Basket, right: Basket): boolean {
  return (
    left.currencyCode === right.currencyCode &&
    left.lines.length === right.lines.length &&
    left.lines.every((line, index) => isSameLine(line, right.lines[index]))
  );
}

function isSameLine(left: BasketLine, right: BasketLine | undefined): boolean {
  return (
    left.productId === right?.productId &&
    left.unitPrice === right.unitPrice &&
    left.quantity === right.quantity &&
    left.taxClass === right.taxClass &&
    left.weightGrams === right.weightGrams
  );
}
