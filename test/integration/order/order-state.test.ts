import { afterAll, beforeAll, expect, test } from "vitest";
import {
  CLOSINGS,
  FULFILLMENT_STATES,
  type OrderStates,
  overallState,
  PAYMENT_STATES,
} from "../../../src/order/state/order-state.ts";
import { createTestDatabase, type TestDatabase } from "../../support/stores/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

test("the generated column computes the same state as the code, for all combinations of states", async () => {
  const combinations = PAYMENT_STATES.flatMap((paymentState) =>
    FULFILLMENT_STATES.flatMap((fulfillmentState) =>
      CLOSINGS.map((closing): OrderStates => ({ paymentState, fulfillmentState, closing })),
    ),
  );
  // A copy without the constraint that closed orders have no shipments.
  await database.query("create table combination (like orders including defaults including generated)");
  await database.query(
    `insert into combination (
       id, payment_state, fulfillment_state, closing, currency, total_minor, owner, request_id, version, created_at, updated_at
     )
     select gen_random_uuid(), payment, fulfillment, closing, 'EUR', 0, '', gen_random_uuid(), 1, now(), now()
     from unnest($1::text[], $2::text[], $3::text[]) as states (payment, fulfillment, closing)`,
    [
      combinations.map(({ paymentState }) => paymentState),
      combinations.map(({ fulfillmentState }) => fulfillmentState),
      combinations.map(({ closing }) => closing),
    ],
  );
  const rows = await database.query<OrderStates & { state: string }>(`
    select payment_state as "paymentState", fulfillment_state as "fulfillmentState", closing, state from combination`);
  expect(rows).toHaveLength(96);
  expect(rows.filter((row) => row.state !== overallState(row))).toEqual([]);
});
