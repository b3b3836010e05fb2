import { parseArgs } from "node:util";
import { z } from "zod";
import { StartupError } from "../../../kernel/errors.ts";
import type { PaymentAttention } from "../../../order/payment/list-payments.ts";

/** The part of the usage text about payments. */
export const PAYMENTS_USAGE = `  payments list [--attention doubtful|failed|ending] [--order ID]
      Lists the last 100 payments or, with --attention, those that need a person: doubtful ones, whose outcome at the
      gateway is unknown; those with a failed request; or those whose authorization ends within 24 hours.
  payments discrepancies [--order ID] [--resolved]
      Lists the last 100 contradictions of the ledger that are not resolved, or all with --resolved.
  payments resolve --id ID --resolution TEXT
      Records how a discrepancy was resolved. It changes no amount.
  payments check --id ID
      Makes a running service or worker query the gateway about a payment within seconds.`;

/** A parsed command about payments. */
export type PaymentsCommand =
  | { name: "payments list"; attention: PaymentAttention | undefined; order: string }
  | { name: "payments discrepancies"; order: string; showResolved: boolean }
  | { name: "payments resolve"; id: string; resolution: string }
  | { name: "payments check"; id: string };

const OPTIONS = {
  attention: { type: "string" },
  order: { type: "string" },
  resolved: { type: "boolean" },
  id: { type: "string" },
  resolution: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;
const ALLOWED: ReadonlyMap<string, readonly string[]> = new Map([
  ["list", ["attention", "order"]],
  ["discrepancies", ["order", "resolved"]],
  ["resolve", ["id", "resolution"]],
  ["check", ["id"]],
]);
const ATTENTION: ReadonlyMap<string, PaymentAttention> = new Map<string, PaymentAttention>([
  ["doubtful", "IN_DOUBT"],
  ["failed", "REQUEST_FAILED"],
  ["ending", "AUTHORIZATION_ENDS"],
]);
/** Maximum length in the contract, in characters. */
const MAX_RESOLUTION = 500;

/**
 * Reads what follows `payments` and its options. Returns undefined when help is requested.
 * @throws StartupError for an unknown command or option, or a value out of range
 */
export function readPaymentsCommand(args: string[]): PaymentsCommand | undefined {
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options: OPTIONS });
  if (values.help === true) return undefined;
  const [name = "", ...others] = positionals;
  const allowed = ALLOWED.get(name);
  if (allowed === undefined || others.length > 0) {
    throw new StartupError(`Expected one command after payments: ${[...ALLOWED.keys()].join(", ")}.`);
  }
  const unknown = Object.keys(values).find((option) => !allowed.includes(option));
  if (unknown !== undefined) throw new StartupError(`--${unknown} is not an option of payments ${name}.`);
  return parseCommand(name, values);
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
    case "check": {
      const id = parseUuid(values.id, "--id must be the id of a payment, as payments list prints it.");
      return { name: "payments check", id };
    }
    default: {
      const id = parseUuid(
        values.id,
        "--id must be the id of a discrepancy, as payments discrepancies prints it.",
      );
      return { name: "payments resolve", id, resolution: parseResolution(values.resolution) };
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

function parseUuid(text: string | undefined, mistake: string): string {
  if (z.uuid().safeParse(text).success && text !== undefined) return text.toLowerCase();
  throw new StartupError(mistake);
}

function parseResolution(text = ""): string {
  if (text !== "" && [...text].length <= MAX_RESOLUTION && !/(?![\t\n\r])\p{Cc}/u.test(text)) return text;
  throw new StartupError(`--resolution must have 1 to ${MAX_RESOLUTION} characters.`);
}
