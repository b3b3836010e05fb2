import { Scope } from "../../../../gen/cartwright/policy/v1/policy_pb.ts";
import { makeCustomer } from "../../../support/shop-fixtures.ts";
import { type AccessRow, staffRow, withoutSetup } from "./access-row.ts";

/** The methods of CustomerService. */
export const customerRows: Readonly<Record<string, AccessRow>> = {
  "CustomerService/CreateCustomer": staffRow(
    Scope.CUSTOMERS_WRITE,
    withoutSetup((clients) => makeCustomer(clients)),
  ),
  "CustomerService/GetCustomer": staffRow(
    Scope.CUSTOMERS_READ,
    withoutSetup(({ customers }, { owner: { customerId: id } }) => customers.getCustomer({ id })),
  ),
  "CustomerService/ListCustomers": staffRow(
    Scope.CUSTOMERS_READ,
    withoutSetup(({ customers }) => customers.listCustomers({})),
  ),
  "CustomerService/UpdateCustomer": staffRow(Scope.CUSTOMERS_WRITE, async ({ admin }) => {
    const id = await makeCustomer(admin);
    return ({ customers }) => customers.updateCustomer({ customer: { id, name: "Bo" } });
  }),
  "CustomerService/DeleteCustomer": staffRow(Scope.CUSTOMERS_WRITE, async ({ admin }) => {
    const id = await makeCustomer(admin);
    return ({ customers }) => customers.deleteCustomer({ id });
  }),
  "CustomerService/UndeleteCustomer": staffRow(Scope.CUSTOMERS_WRITE, async ({ admin }) => {
    const id = await makeCustomer(admin);
    await admin.customers.deleteCustomer({ id });
    return ({ customers }) => customers.undeleteCustomer({ id });
  }),
};
