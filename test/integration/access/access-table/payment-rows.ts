import { randomUUID } from "node:crypto";
import { PaymentMethod } from "../../../../gen/cartwright/order/v1/order_event_pb.ts";
import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import {
  type AccessRow,
  accessRow,
  type Fixtures,
  NOT_FOUND,
  OWNER,
  STAFF,
  withoutSetup,
} from "./access-row.ts";
import { createOrder } from "./order-rows.ts";

const id = randomUUID();

/** Marks an order as paid by hand. */
async function payByHand(fixtures: Fixtures) {
  const { orderId } = await createOrder(fixtures);
  const { orders } = fixtures.admin;
  const amount = (await orders.getOrder({ id: orderId })).order?.amountDue;
  if (amount === undefined) throw new Error("the order has no amount due");
  const payment = { amount, method: PaymentMethod.CASH, reference: "receipt" };
  await orders.markOrderPaid({ id: orderId, requestId: randomUUID(), ...payment });
  return { orderId, amount };
}

/** Marks an order as paid by hand, and returns the id of the payment. */
async function createPayment(fixtures: Fixtures): Promise<string> {
  const { orderId } = await payByHand(fixtures);
  const { payments } = await fixtures.admin.payments.listPayments({ orderId });
  return payments[0]?.id ?? "";
}

/** Creates a payment of an order in the sandbox, and returns its id. */
async function createSandboxPayment(fixtures: Fixtures, paymentMethod: string): Promise<string> {
  const { orderId } = await createOrder(fixtures);
  const request = { payment: { orderId }, requestId: randomUUID(), paymentMethod };
  return (await fixtures.admin.payments.createPayment(request)).payment?.id ?? "";
}

/** The methods of PaymentService, and those of OrderService for refunds. */
export const paymentRows: Readonly<Record<string, AccessRow>> = {
  "PaymentService/CreatePayment": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId } = await createOrder(fixtures);
      return ({ payments }) => payments.createPayment({ payment: { orderId }, requestId: randomUUID() });
    },
    Scope.ORDERS_WRITE,
  ),
  "PaymentService/ConfirmPayment": accessRow(
    OWNER,
    async (fixtures) => {
      const id = await createSandboxPayment(fixtures, "");
      const request = { id, requestId: randomUUID(), paymentMethod: "sandbox_ok" };
      return ({ payments }) => payments.confirmPayment(request);
    },
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
    OWNER,
    async (fixtures) => {
      const id = await createSandboxPayment(fixtures, "");
      return ({ payments }) => payments.cancelPayment({ id });
    },
    Scope.ORDERS_WRITE,
  ),
  "PaymentService/CapturePayment": accessRow(
    STAFF,
    async (fixtures) => {
      const id = await createSandboxPayment(fixtures, "sandbox_ok");
      return ({ payments }) => payments.capturePayment({ id, requestId: randomUUID() });
    },
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
    STAFF,
    async (fixtures) => {
      const { orderId: id, amount } = await payByHand(fixtures);
      const request = { id, requestId: randomUUID(), reference: "transfer" };
      return ({ orders }) => orders.refundOrder({ ...request, subject: { case: "amount", value: amount } });
    },
    Scope.PAYMENTS_MANAGE,
  ),
  "OrderService/ListRefunds": accessRow(
    OWNER,
    async (fixtures) => {
      const { orderId: id } = await createOrder(fixtures);
      return ({ orders }) => orders.listRefunds({ id });
    },
    Scope.ORDERS_READ,
  ),
};
