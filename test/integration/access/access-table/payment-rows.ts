import { randomUUID } from "node:crypto";
import { PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import {
  type AccessRow,
  ALL,
  accessRow,
  DENIED,
  type Fixtures,
  NOT_FOUND,
  type Outcomes,
  OWNER,
  STAFF,
  UNAUTHENTICATED,
  withoutSetup,
} from "./access-row.ts";
import { createOrder } from "./order-rows.ts";

/** Methods that are declared and have no implementation yet. */
const UNIMPLEMENTED = "Unimplemented";
const withoutImplementation = (outcomes: Outcomes): Outcomes => ({
  ...outcomes,
  owner: outcomes.owner === DENIED ? DENIED : UNIMPLEMENTED,
  otherCustomer: outcomes.otherCustomer === DENIED ? DENIED : UNIMPLEMENTED,
  staff: UNIMPLEMENTED,
  admin: UNIMPLEMENTED,
  keyWithScope: UNIMPLEMENTED,
});
const CUSTOMERS = withoutImplementation({ ...ALL, anonymous: UNAUTHENTICATED, keyWithoutScope: DENIED });
const STAFF_ONLY = withoutImplementation(STAFF);

const id = randomUUID();
const requestId = randomUUID();

/** Marks an order as paid by hand, and returns the id of the payment. */
async function createPayment(fixtures: Fixtures): Promise<string> {
  const { orderId } = await createOrder(fixtures);
  const { orders, payments } = fixtures.admin;
  const { order } = await orders.getOrder({ id: orderId });
  const payment = { amount: order?.amountDue, method: PaymentMethod.CASH, reference: "receipt" };
  await orders.markOrderPaid({ id: orderId, requestId: randomUUID(), ...payment });
  const listed = await payments.listPayments({ orderId });
  return listed.payments[0]?.id ?? "";
}

/** The methods of PaymentService, and those of OrderService for refunds. */
export const paymentRows: Readonly<Record<string, AccessRow>> = {
  "PaymentService/CreatePayment": accessRow(
    CUSTOMERS,
    withoutSetup(({ payments }) => payments.createPayment({ payment: { orderId: id }, requestId })),
    Scope.ORDERS_WRITE,
  ),
  "PaymentService/ConfirmPayment": accessRow(
    CUSTOMERS,
    withoutSetup(({ payments }) => payments.confirmPayment({ id, requestId })),
    Scope.ORDERS_WRITE,
  ),
  "PaymentService/GetPayment": accessRow(
    OWNER,
    async (fixtures) => {
      const id = await createPayment(fixtures);
      return ({ payments }) => payments.getPayment({ id });
    },
    Scope.ORDERS_READ,
  ),
  "PaymentService/ListPayments": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId } = await createOrder(fixtures);
      return ({ payments }) => payments.listPayments({ orderId });
    },
    Scope.ORDERS_READ,
  ),
  "PaymentService/CancelPayment": accessRow(
    CUSTOMERS,
    withoutSetup(({ payments }) => payments.cancelPayment({ id })),
    Scope.ORDERS_WRITE,
  ),
  "PaymentService/CapturePayment": accessRow(
    STAFF_ONLY,
    withoutSetup(({ payments }) => payments.capturePayment({ id, requestId })),
    Scope.PAYMENTS_MANAGE,
  ),
  "PaymentService/ListLedgerEntries": accessRow(
    STAFF,
    withoutSetup(({ payments }) => payments.listLedgerEntries({ orderId: id })),
    Scope.PAYMENTS_READ,
  ),
  "PaymentService/ListLedgerDiscrepancies": accessRow(
    STAFF,
    withoutSetup(({ payments }) => payments.listLedgerDiscrepancies({})),
    Scope.PAYMENTS_READ,
  ),
  "PaymentService/ResolveLedgerDiscrepancy": accessRow(
    { ...STAFF, staff: NOT_FOUND, admin: NOT_FOUND, keyWithScope: NOT_FOUND },
    withoutSetup(({ payments }) => payments.resolveLedgerDiscrepancy({ id, resolution: "found" })),
    Scope.PAYMENTS_MANAGE,
  ),
  "OrderService/RefundOrder": accessRow(
    STAFF_ONLY,
    withoutSetup(({ orders }) =>
      orders.refundOrder({ id, requestId, subject: { case: "shipping", value: true } }),
    ),
    Scope.PAYMENTS_MANAGE,
  ),
  "OrderService/ListRefunds": accessRow(
    CUSTOMERS,
    withoutSetup(({ orders }) => orders.listRefunds({ id })),
    Scope.ORDERS_READ,
  ),
};
