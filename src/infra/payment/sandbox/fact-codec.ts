import { z } from "zod";
import { MAX_MINOR_UNITS } from "../../../kernel/money.ts";
import { storableText } from "../../postgres/storable-text.ts";
import { LEDGER_ENTRY_TYPES } from "../payment-gateway.ts";
import type { SandboxFact } from "./sandbox-payment.ts";

/** An amount of minor units as text: JSON numbers past 2^53 would be rounded. */
export const minorUnits = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt)
  .refine((value) => value <= MAX_MINOR_UNITS, `must be at most ${MAX_MINOR_UNITS}`);

/** The reference of a payment or of a fact. */
export const reference = storableText.max(255);

/** A time as text. */
export const time = z.iso.datetime().transform((text) => new Date(text));

/** A fact as JSON, in rows and in webhooks. The currency is that of its payment. */
export const encodedFact = z.object({
  type: z.enum(LEDGER_ENTRY_TYPES),
  reference,
  amount: minorUnits,
  time,
  requestId: storableText.optional(),
  note: storableText.optional(),
});

/** Returns the JSON of a fact. */
export function encodeFact({ amount, time, ...fact }: SandboxFact): z.input<typeof encodedFact> {
  return { ...fact, amount: amount.minorUnits.toString(), time: time.toISOString() };
}

/** Returns the fact of a payment in this currency. */
export function decodeFact(fact: z.output<typeof encodedFact>, currencyCode: string): SandboxFact {
  const { type, reference, amount, time, requestId, note } = fact;
  return {
    type,
    reference,
    amount: { currencyCode, minorUnits: amount },
    time,
    ...(requestId !== undefined && { requestId }),
    ...(note !== undefined && { note }),
  };
}
