import {
  type CaptureMethod,
  type GatewayCall,
  GatewayError,
  type GatewayReport,
} from "../../../../src/infra/payment/payment-gateway.ts";
import type { PaymentShop, Reply } from "../model/payment-shop.ts";
import type { UnreliableGateway } from "../unreliable-gateway.ts";
import type { PaymentFlaw } from "./naive-flaws.ts";
import {
  amountOf,
  costOf,
  type NaiveOrder,
  type NaivePayment,
  newOrder,
  openOf,
  record,
  requestedOf,
  stateOf,
  storedOrder,
} from "./naive-order.ts";
import { divideRefund } from "./naive-refund.ts";

/** A request to the gateway, which is repeated until it has a response. */
interface Job {
  id: string;
  kind: "CAPTURE" | "CANCEL" | "REFUND";
  order: NaiveOrder;
  payment: NaivePayment;
  amount: number;
  isFinal: boolean;
}

const LIMITS: GatewayCall = { signal: new AbortController().signal, timeoutMs: 1_000 };
const UNPAID = ["UNPAID", "FAILED"];
const SHIPPABLE = ["AUTHORIZED", "PAID", "PARTIALLY_REFUNDED"];
const money = (amount: number) => ({ currencyCode: "EUR", minorUnits: BigInt(amount) });

/** Creates a shop in memory, whose payments have a flaw. */
export function createNaiveShop(
  gateway: UnreliableGateway,
  capture: CaptureMethod,
  flaw?: PaymentFlaw,
): PaymentShop {
  const orders: NaiveOrder[] = [];
  let jobs: Job[] = [];
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return String(lastId);
  };
  const find = (id: string): NaiveOrder => {
    const order = orders.find((one) => one.id === id);
    if (order === undefined) throw new Error(`there is no order ${id}`);
    return order;
  };
  const request = (job: Omit<Job, "id">, id = nextId()) => void jobs.push({ id, ...job });
  const isRequested = (payment: NaivePayment, kind: Job["kind"]) =>
    jobs.some((job) => job.payment === payment && job.kind === kind);

  function requestRefund(order: NaiveOrder, payment: NaivePayment, amount: number, shares: number[]): void {
    const id = nextId();
    order.refunds.push({ id, paymentId: payment.id, amount, shares, isFailed: false });
    request({ kind: "REFUND", order, payment, amount, isFinal: true }, id);
  }

  /** Cancels and refunds the money of closed orders, and of payments after those that cover an order. */
  function releaseMoney(order: NaiveOrder): void {
    let covered = order.closing === "NONE" ? 0 : costOf(order);
    for (const payment of order.payments) {
      const isExcess = covered >= costOf(order);
      covered += amountOf(payment, "CAPTURED") + openOf(payment);
      if (isExcess) release(order, payment);
    }
  }

  function release(order: NaiveOrder, payment: NaivePayment): void {
    const isUnguarded = flaw === "money of closed orders is refunded for each event";
    const returned = isUnguarded ? amountOf(payment, "REFUNDED") : requestedOf(order, payment);
    const left = amountOf(payment, "CAPTURED") - returned;
    if (left > 0) requestRefund(order, payment, left, [left]);
    const mayTakeMoney = payment.step !== "CANCELLED" && amountOf(payment, "CAPTURED") === 0;
    if ((mayTakeMoney || openOf(payment) > 0) && !isRequested(payment, "CANCEL"))
      request({ kind: "CANCEL", order, payment, amount: 0, isFinal: true });
  }

  /** Requests the capture of what is shipped and not captured. */
  function requestCapture(order: NaiveOrder): void {
    const payment = order.payments.find((one) => openOf(one) > 0);
    if (payment === undefined || order.closing !== "NONE" || order.shipments === 0) return;
    if (isRequested(payment, "CAPTURE") || isRequested(payment, "CANCEL")) return;
    const isAll = order.items.every(({ quantity, shipped }) => quantity === shipped);
    const shipped = order.items.reduce(
      (sum, item) => sum + Math.floor((item.total * item.shipped) / item.quantity),
      order.shipping,
    );
    const captured = order.payments.reduce((sum, one) => sum + amountOf(one, "CAPTURED"), 0);
    const amount = Math.min((isAll ? costOf(order) : shipped) - captured, openOf(payment));
    if (amount > 0) request({ kind: "CAPTURE", order, payment, amount, isFinal: isAll });
  }

  function apply({ paymentId, reference, step, facts }: GatewayReport, isResponse: boolean): void {
    const order = orders.find(({ payments }) => payments.some(({ id }) => id === paymentId));
    const payment = order?.payments.find(({ id }) => id === paymentId);
    if (order === undefined || payment === undefined) return;
    const isNew = facts.map((fact) => record(order, payment, fact, flaw)).includes(true);
    if (isResponse) payment.isInDoubt = false;
    if (isResponse && payment.step !== "CANCELLED") payment.step = step ?? payment.step;
    payment.reference = reference;
    if (isNew || isResponse || flaw === "money of closed orders is refunded for each event")
      releaseMoney(order);
    requestCapture(order);
  }

  async function create(order: NaiveOrder, payment: NaivePayment): Promise<void> {
    const { id: paymentId, amount, token } = payment;
    const intent = {
      paymentId,
      orderId: order.id,
      amount: money(amount),
      capture,
      methodToken: token,
    } as const;
    apply(await gateway.createIntent(intent, LIMITS), true);
  }

  /** Calls the gateway. @returns whether it has responded about the payment */
  async function callGateway({ id, kind, payment, amount, isFinal }: Job): Promise<boolean> {
    const { id: paymentId } = payment;
    const reference = payment.reference || `pi_${paymentId}`;
    if (
      payment.reference === "" &&
      (await gateway.fetch({ paymentId, reference: "" }, LIMITS)) === undefined
    ) {
      payment.step = "CANCELLED";
      return true;
    }
    const target = { paymentId, reference };
    let report: GatewayReport;
    if (kind === "CANCEL") report = await gateway.cancel({ ...target, cancelId: id }, LIMITS);
    else if (kind === "REFUND")
      report = await gateway.refund({ ...target, refundId: id, amount: money(amount) }, LIMITS);
    else {
      const captureId = flaw === "captures have no idempotency key" ? nextId() : id;
      report = await gateway.capture({ ...target, captureId, amount: money(amount), isFinal }, LIMITS);
    }
    if (report.paymentId === paymentId) jobs = jobs.filter((job) => job.id !== id);
    apply(report, report.paymentId === paymentId);
    return report.paymentId === paymentId;
  }

  async function runJob(job: Job): Promise<void> {
    try {
      if (await callGateway(job)) jobs = jobs.filter((one) => one !== job);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      if (error.kind !== "REJECTED") return;
      jobs = jobs.filter((one) => one !== job);
      const refund = job.order.refunds.find(({ id }) => id === job.id);
      if (refund !== undefined) refund.isFailed = true;
    }
  }

  /** Calls the gateway while a caller waits. */
  async function inDoubt(call: () => Promise<void>): Promise<Reply> {
    try {
      await call();
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      return error.kind === "REJECTED" ? "REJECTED" : "OK";
    }
    return "OK";
  }

  function close(order: NaiveOrder, closing: string): void {
    order.closing = closing;
    releaseMoney(order);
  }

  return {
    async place(lines, isShipped) {
      const order = newOrder(`order_${nextId()}`, lines, isShipped);
      orders.push(order);
      return order.id;
    },
    async pay(orderId, token) {
      const order = find(orderId);
      if (order.closing !== "NONE" || !UNPAID.includes(stateOf(order, flaw))) return "ORDER_STATE";
      const open = order.payments.find(
        ({ step, facts, isInDoubt }) =>
          isInDoubt ||
          (step !== "FAILED" &&
            step !== "CANCELLED" &&
            !facts.some(({ type }) => type === "VOIDED" || type === "AUTHORIZATION_FAILED")),
      );
      if (open !== undefined) {
        const isRepeated = open.isInDoubt && flaw === "a payment without a response is created as a new one";
        if (!isRepeated) return "PAYMENT_OPEN";
      }
      const id = nextId();
      const payment = {
        id,
        reference: "",
        amount: costOf(order),
        token,
        step: "PENDING",
        facts: [],
        isInDoubt: true,
      };
      order.payments.push(payment);
      return inDoubt(() => create(order, payment));
    },
    async confirm(orderId, token) {
      const payment = find(orderId).payments.at(-1);
      if (payment === undefined) return "PAYMENT_NOT_FOUND";
      if (find(orderId).closing !== "NONE" || !["ACTION_REQUIRED", "FAILED"].includes(payment.step))
        return "PAYMENT_STATE";
      if (openOf(payment) > 0) return "PAYMENT_STATE";
      const { id: paymentId, reference } = payment;
      const confirmation = { paymentId, reference, requestId: nextId(), methodToken: token };
      return inDoubt(async () => apply(await gateway.confirm(confirmation, LIMITS), true));
    },
    async ship(orderId, isAll) {
      const order = find(orderId);
      const item = order.items.find(({ quantity, shipped }) => shipped < quantity);
      if (order.closing !== "NONE" || !SHIPPABLE.includes(stateOf(order, flaw)) || item === undefined)
        return "ORDER_STATE";
      if (isAll) for (const one of order.items) one.shipped = one.quantity;
      else item.shipped += 1;
      order.shipments += 1;
      requestCapture(order);
      return "OK";
    },
    async cancel(orderId) {
      const order = find(orderId);
      if (order.closing !== "NONE" || order.shipments > 0) return "ORDER_STATE";
      close(order, "CANCELLED");
      return "OK";
    },
    async refund(orderId, refunded) {
      const order = find(orderId);
      const payment = order.payments.find((one) => amountOf(one, "CAPTURED") > 0);
      if (payment === undefined) return "ORDER_STATE";
      const left = amountOf(payment, "CAPTURED") - requestedOf(order, payment);
      const shares = divideRefund(order, refunded, left, flaw);
      if (typeof shares === "string") return shares;
      const isFloat = flaw === "refunds are computed by floating-point numbers";
      const sum = shares.reduce((total, share) => total + share, 0);
      requestRefund(
        order,
        payment,
        isFloat ? Math.round(sum) : sum,
        isFloat ? shares.map(Math.round) : shares,
      );
      return "OK";
    },
    async expire(orderId) {
      const order = find(orderId);
      if (order.closing !== "NONE" || !UNPAID.includes(stateOf(order, flaw))) return;
      for (const payment of order.payments) {
        const { id: paymentId } = payment;
        if ((await gateway.fetch({ paymentId, reference: "" }, LIMITS)) === undefined) continue;
        apply(
          await gateway.cancel({ paymentId, reference: `pi_${paymentId}`, cancelId: paymentId }, LIMITS),
          true,
        );
      }
      if (UNPAID.includes(stateOf(order, flaw))) close(order, "EXPIRED");
    },
    async receive(body) {
      const { report } = gateway.readWebhook(body);
      if (report !== undefined) apply(report, false);
    },
    async runJobs() {
      for (const job of [...jobs]) await runJob(job);
      return jobs.length;
    },
    async reconcile() {
      for (const order of orders) {
        for (const payment of order.payments) {
          const { id: paymentId, isInDoubt } = payment;
          const isAwaited = isInDoubt && order.closing === "NONE" && UNPAID.includes(stateOf(order, flaw));
          await inDoubt(async () => {
            if (isAwaited) return create(order, payment);
            const report = await gateway.fetch({ paymentId, reference: "" }, LIMITS);
            if (report === undefined) payment.step = "CANCELLED";
            else apply(report, true);
            payment.isInDoubt = false;
          });
        }
      }
    },
    read: async () => orders.map((order) => storedOrder(order, flaw)),
    findViolations: async () => [],
  };
}
