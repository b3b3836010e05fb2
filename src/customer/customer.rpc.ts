import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { HandlerContext, ServiceImpl } from "@connectrpc/connect";
import type { CustomerSchema } from "../../gen/cartwright/customer/v1/customer_pb.ts";
import type { CustomerService } from "../../gen/cartwright/customer/v1/customer_service_pb.ts";
import type { Call } from "../kernel/call.ts";
import type { Customer, Customers } from "./customer.ts";

/** Creates the handlers of CustomerService. */
export function customerRpc(customers: Customers, getCall: (context: HandlerContext) => Call) {
  return {
    async createCustomer({ customer, requestId, validateOnly }, context) {
      const { email = "", name = "" } = customer ?? {};
      const creation = { customer: { email, name }, requestId, validateOnly };
      return { customer: toCustomerMessage(await customers.create(getCall(context), creation)) };
    },

    async getCustomer({ id, showDeleted }, context) {
      return { customer: toCustomerMessage(await customers.get(getCall(context), id, showDeleted)) };
    },

    async listCustomers(request, context) {
      const page = await customers.list(getCall(context), request);
      return { customers: page.items.map(toCustomerMessage), nextPageToken: page.nextPageToken };
    },

    async updateCustomer({ customer, updateMask, requestId, validateOnly }, context) {
      const { id = "", etag = "", email = "", name = "" } = customer ?? {};
      const update = {
        customer: { id: id.toLowerCase(), etag, email, name },
        mask: updateMask?.paths ?? [],
        requestId,
        validateOnly,
      };
      return { customer: toCustomerMessage(await customers.update(getCall(context), update)) };
    },

    async deleteCustomer({ id, etag }, context) {
      return { customer: toCustomerMessage(await customers.delete(getCall(context), id, etag)) };
    },

    async undeleteCustomer({ id, etag }, context) {
      return { customer: toCustomerMessage(await customers.undelete(getCall(context), id, etag)) };
    },
  } satisfies ServiceImpl<typeof CustomerService>;
}

function toCustomerMessage(customer: Customer): MessageInitShape<typeof CustomerSchema> {
  return {
    ...customer,
    createTime: timestampFromDate(customer.createTime),
    updateTime: timestampFromDate(customer.updateTime),
    deleteTime: customer.deleteTime && timestampFromDate(customer.deleteTime),
  };
}
