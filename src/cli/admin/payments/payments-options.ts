import { parseArgs } from "node:util";
import { StartupError } from "../../../kernel/errors.ts";
import type { PaymentAttention } from "../../../order/payment/list-payments.ts";
import { readCommandName } from "../command-name.ts";
import { parseUuid } from "../parse-uuid.ts";

/** The part of the usage text about payments. */
export const PAYMENTS_USAGE = `  payments list [--attention doubtful|failed|ending] [--order ID]
      Lists the last 100 payments or, with --attention, those that need a person: doubtful ones, whose outcome at the
      gateway is unknown; those with a failed request; or those whose authorization ends within 24 hours.
  payments discrepancies [--order ID] [--resolved]
      Lists the last 100 contradictions of the ledger that are not resolved, or all with --resolved.
  payments resolve --id ID --resolution TEXT
      Records how a discrepancy was resolved. It changes no amount.
  payments refund --order ID (--amount "1990 EUR" | --shipping) --request-id UUID [--payment ID] [--reason TEXT]
      [--reference TEXT] [--validate-only]
      Refunds an amount in minor units, or the rest of the shipping, once for each request id. Without --payment, of the
      payment with the most left. A payment by hand needs the reference of the refund that you have made. With
      --validate-only it only prints how the refund would be divided. RefundOrder also refunds units.
  payments check --id ID
      Makes a running service or worker query the gateway about a payment within seconds.`;

/** A parsed command about payments. */
export type PaymentsCommand =
  | { name: "payments list"; attention: PaymentAttention | undefined; order: string }
  | { name: "payments discrepancies"; order: string; showResolved: boolean }
  | { name: "payments resolve"; id: string; resolution: string }
  | { name: "payments check"; id: string }
  | RefundCommand;

/** A parsed command to refund a part of an order. */
export interface RefundCommand {
  name: "payments refund";
  order: string;
  /** In minor units, as text; undefined for what is left of the shipping. */
  amount: { currencyCode: string; minorUnits: string } | undefined;
  /** Empty for the payment with the most left. */
  payment: string;
  requestId: string;
  reason: string;
  /** Empty for the refund of a payment by a gateway. */
  reference: string;
  validateOnly: boolean;
}

const OPTIONS = {
  attention: { type: "string" },
  order: { type: "string" },
  resolved: { type: "boolean" },
  id: { type: "string" },
  resolution: { type: "string" },
  amount: { type: "string" },
  shipping: { type: "boolean" },
  payment: { type: "string" },
  "request-id": { type: "string" },
  reason: { type: "string" },
  reference: { type: "string" },
  "validate-only": { type: "boolean" },
  help: { type: "boolean", short: "h" },
} as const;
const ALLOWED: ReadonlyMap<string, readonly string[]> = new Map([
  ["list", ["attention", "order"]],
  ["discrepancies", ["order", "resolved"]],
  ["resolve", ["id", "resolution"]],
  [
    "refund",
    ["order", "amount", "shipping", "payment", "request-id", "reason", "reference", "validate-only"],
  ],
  ["check", ["id"]],
]);
const ATTENTION: ReadonlyMap<string, PaymentAttention> = new Map<string, PaymentAttention>([
  ["doubtful", "IN_DOUBT"],
  ["failed", "REQUEST_FAILED"],
  ["ending", "AUTHORIZATION_ENDS"],
]);
/** Maximum lengths in the contract, in characters. */
const MAX_TEXT = 500;
const MAX_REFERENCE = 200;

/**
 * Reads what follows `payments` and its options. Returns undefined when help is requested.
 * @throws StartupError for an unknown command or option, or a value out of range
 */
export function readPaymentsCommand(args: string[]): PaymentsCommand | undefined {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
  if (values.help === true) return undefined;
  return parseCommand(readCommandName({ values, positionals }, ALLOWED, "payments"), values);
}

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS }>>["values"];

function parseCommand(name: string, values: Values): PaymentsCommand {
  switch (name) {
    case "list": {
      const attention = parseAttention(values.attention);
      return { name: "payments list", attention, order: parseOrder(values.order) };
    }
    case "discrepancies": {
      const showResolved = values.resolved === true;
      return { name: "payments discrepancies", order: parseOrder(values.order), showResolved };
    }
    case "refund":
      return parseRefund(values);
    case "check": {
      const id = parseUuid(values.id, "--id must be the id of a payment, as payments list prints it.");
      return { name: "payments check", id };
    }
    default: {
      const id = parseUuid(
        values.id,
        "--id must be the id of a discrepancy, as payments discrepancies prints it.",
      );
      return {
        name: "payments resolve",
        id,
        resolution: parseText("resolution", values.resolution, MAX_TEXT),
      };
    }
  }
}

function parseAttention(text: string | undefined): PaymentAttention | undefined {
  if (text === undefined) return undefined;
  const attention = ATTENTION.get(text);
  if (attention !== undefined) return attention;
  throw new StartupError(`--attention must be one of ${[...ATTENTION.keys()].join(", ")}.`);
}

const parseOrder = (text: string | undefined): string =>
  text === undefined ? "" : parseUuid(text, "--order must be the id of an order.");

/** Text of several lines, and of one, as in the contract. */
const TEXT = /^[\t\n\r\P{Cc}]+$/u;
const LINE = /^[^\p{Cc}\p{Zl}\p{Zp}]+$/u;

/** @param maxLength in characters */
function parseText(option: string, text: string | undefined, maxLength: number, pattern = TEXT): string {
  if (text !== undefined && [...text].length <= maxLength && pattern.test(text)) return text;
  throw new StartupError(`--${option} must have 1 to ${maxLength} characters.`);
}

function parseRefund(values: Values): RefundCommand {
  const { reason, reference, payment, shipping = false } = values;
  if ((values.amount !== undefined) === shipping) {
    throw new StartupError("Expected either --amount or --shipping.");
  }
  return {
    name: "payments refund",
    order: parseUuid(values.order, "--order must be the id of an order."),
    amount: values.amount === undefined ? undefined : parseAmount(values.amount),
    payment: payment === undefined ? "" : parseUuid(payment, "--payment must be the id of a payment."),
    requestId: parseUuid(
      values["request-id"],
      "--request-id must be a UUID of your own, such as uuidgen prints. Repeat the command with the same one.",
    ),
    reason: reason === undefined ? "" : parseText("reason", reason, MAX_TEXT),
    reference: reference === undefined ? "" : parseText("reference", reference, MAX_REFERENCE, LINE),
    validateOnly: values["validate-only"] === true,
  };
}

function parseAmount(text: string): { currencyCode: string; minorUnits: string } {
  const [, minorUnits, currencyCode] = /^([1-9]\d{0,15}) ([A-Z]{3})$/.exec(text) ?? [];
  if (minorUnits !== undefined && currencyCode !== undefined) return { currencyCode, minorUnits };
  throw new StartupError('--amount must be minor units and a currency, such as "1990 EUR" for EUR 19.90.');
}
