import { z } from "zod";
import { LEDGER_ENTRY_TYPES } from "../payment-gateway.ts";
import type { SandboxFact } from "./sandbox-payment.ts";

/** An amount of minor units as text: JSON numbers past 2^53 would be rounded. */
export const minorUnits = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);

/** A time as text. */
export const time = z.iso.datetime().transform((text) => new Date(text));

/** A fact as JSON, in rows and in webhooks. The currency is that of its payment. */
export const encodedFact = z.object({
  type: z.enum(LEDGER_ENTRY_TYPES),
  reference: z.string().max(255),
  amount: minorUnits,
  time,
  requestId: z.string().optional(),
  note: z.string().optional(),
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
