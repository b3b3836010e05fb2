import fc from "fast-check";
import type { GatewayFault } from "../unreliable-gateway.ts";
import type { Line, Refunded } from "./payment-shop.ts";

/** A step of a run. Orders and events are chosen by an index, modulo their number. */
export type PaymentCommand =
  | { kind: "place"; lines: readonly Line[]; isShipped: boolean }
  | { kind: "pay" | "confirm"; order: number; token: string; fault: GatewayFault | undefined }
  | { kind: "ship"; order: number; isAll: boolean }
  | { kind: "cancel" | "expire"; order: number }
  /** The next step in the life of an order. */
  | { kind: "advance"; order: number; token: string; fault: GatewayFault | undefined }
  | { kind: "refund"; order: number; refunded: Refunded; times: number }
  /** The gateway decides what it has not decided yet. */
  | { kind: "decide" }
  | { kind: "deliver"; event: number; times: number }
  | { kind: "run jobs" | "reconcile"; fault: GatewayFault | undefined }
  /** The late responses arrive. */
  | { kind: "release" };

const MAX_QUANTITY = 3;
/** Number of products of a run. */
export const PRODUCTS = 3;

const order = fc.nat({ max: 2 });
const token = fc.constantFrom("ok", "ok", "ok", "ok", "declined", "second_step", "slow");
const fault = fc.constantFrom<(GatewayFault | undefined)[]>(
  ...Array.from({ length: 5 }, () => undefined),
  "lost",
  "error after work",
  "error after work",
  "death",
  "other payment",
  "late",
);
const lines = fc.uniqueArray(
  fc.record({ product: fc.nat({ max: PRODUCTS - 1 }), quantity: fc.integer({ min: 1, max: MAX_QUANTITY }) }),
  { minLength: 1, maxLength: 2, selector: ({ product }) => product },
);
const refunded = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant("unit" as const), item: fc.nat({ max: 1 }) }), weight: 4 },
  {
    arbitrary: fc.record({ kind: fc.constant("amount" as const), amount: fc.integer({ min: 1, max: 20 }) }),
    weight: 1,
  },
  { arbitrary: fc.constant<Refunded>({ kind: "shipping" }), weight: 1 },
);
const times = fc.constantFrom(1, 1, 2);

const kind = <Kind extends PaymentCommand["kind"]>(...kinds: Kind[]) => fc.constantFrom(...kinds);

const command: fc.Arbitrary<PaymentCommand> = fc.oneof(
  { arbitrary: fc.record({ kind: kind("advance"), order, token, fault }), weight: 14 },
  { arbitrary: fc.record({ kind: kind("place"), lines, isShipped: fc.boolean() }), weight: 1 },
  { arbitrary: fc.record({ kind: kind("pay", "pay", "confirm"), order, token, fault }), weight: 4 },
  { arbitrary: fc.record({ kind: kind("ship"), order, isAll: fc.boolean() }), weight: 3 },
  { arbitrary: fc.record({ kind: kind("cancel", "expire"), order }), weight: 1 },
  { arbitrary: fc.record({ kind: kind("refund"), order, refunded, times }), weight: 3 },
  { arbitrary: fc.record({ kind: kind("decide", "release") }), weight: 2 },
  { arbitrary: fc.record({ kind: kind("deliver"), event: fc.nat({ max: 30 }), times }), weight: 5 },
  { arbitrary: fc.record({ kind: kind("run jobs", "run jobs", "reconcile"), fault }), weight: 5 },
);

/** The commands of a run, the first of which places an order. */
export const paymentCommands = (maxCommands: number): fc.Arbitrary<PaymentCommand[]> =>
  fc
    .tuple(lines, fc.array(command, { minLength: maxCommands / 2, maxLength: maxCommands }))
    .map(([first, rest]) => [{ kind: "place", lines: first, isShipped: true }, ...rest]);
