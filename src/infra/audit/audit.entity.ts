import { defineEntity, p } from "@mikro-orm/postgresql";
import { timestamp } from "../postgres/columns.ts";

/** A change by staff or by another service, written in the transaction of the change. */
export const AuditEntity = defineEntity({
  name: "AuditEntry",
  tableName: "audit_entry",
  properties: {
    id: p.uuid().primary(),
    /** Such as account:<id> or service:<key id>. */
    actor: p.text(),
    role: p.text(),
    /** Such as cartwright.order.v1.OrderService/CancelOrder. */
    method: p.text(),
    /** The request as JSON, without secrets and with long values truncated. */
    request: p.text(),
    clientAddress: p.text(),
    createdAt: timestamp(),
  },
  indexes: [
    { name: "audit_entry_actor", properties: ["actor", "id"] },
    { name: "audit_entry_method", properties: ["method", "id"] },
  ],
});
