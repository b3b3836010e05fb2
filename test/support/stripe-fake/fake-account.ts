import {
  type FakeCharge,
  type FakeDispute,
  type FakeEvent,
  type FakeIntent,
  type FakeRefund,
  invalidRequest,
} from "./fake-objects.ts";

/** The objects of one account at the fake. */
export interface FakeAccount {
  intents: Map<string, FakeIntent>;
  charges: Map<string, FakeCharge>;
  refunds: Map<string, FakeRefund>;
  disputes: Map<string, FakeDispute>;
  /** Oldest first. */
  events: FakeEvent[];
  /** Whether cards allow several captures where they are requested. */
  allowsMulticapture: boolean;
  now(): number;
  /** Returns a new id with a prefix, as `pi`. */
  newId(prefix: string): string;
  /** Records an event with a copy of the object as it is now. */
  emit(type: string, object: object): void;
}

/** Creates an account without objects. */
export function createFakeAccount({ onEvent }: { onEvent: (event: FakeEvent) => void }): FakeAccount {
  const seconds = () => Math.floor(Date.now() / 1_000);
  let count = 0;
  const newId = (prefix: string) => {
    count += 1;
    return `${prefix}_fake${String(count).padStart(8, "0")}`;
  };
  const account: FakeAccount = {
    intents: new Map(),
    charges: new Map(),
    refunds: new Map(),
    disputes: new Map(),
    events: [],
    allowsMulticapture: true,
    now: seconds,
    newId,
    emit(type, object) {
      const event: FakeEvent = {
        id: newId("evt"),
        object: "event",
        api_version: "2026-10-28.endive",
        created: seconds(),
        data: { object: structuredClone(object) },
        livemode: false,
        type,
      };
      account.events.push(event);
      onEvent(event);
    },
  };
  return account;
}

/** @throws FakeStripeError resource_missing */
export function findIntent({ intents }: FakeAccount, id: string): FakeIntent {
  const intent = intents.get(id);
  if (intent === undefined) throw invalidRequest("resource_missing", `No such payment_intent: '${id}'`, 404);
  return intent;
}

/** Returns the sum of the refunds of a payment that have not failed. */
export function refundedOf({ refunds }: FakeAccount, intentId: string): number {
  return [...refunds.values()]
    .filter(({ payment_intent: id, status }) => id === intentId && status !== "failed")
    .reduce((sum, { amount }) => sum + amount, 0);
}
