import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { StockReason } from "../../../gen/cartwright/catalog/v1/catalog_pb.ts";
import { ImportMode, ImportProductsRequestSchema } from "../../../gen/cartwright/catalog/v1/import_pb.ts";
import { Scope } from "../../../gen/cartwright/policy/v1/policy_pb.ts";
import type { SignedInAccount } from "../../support/identity/test-accounts.ts";
import { createHeader, createRows } from "../../support/import/import-rows.ts";
import { makePromotion, purchaseOf } from "../../support/promotions.ts";
import type { Clients } from "../../support/shop.ts";
import { makeCategory, makeCustomer, makeProduct } from "../../support/shop-fixtures.ts";

/** Who calls: nobody, the customer whose things are asked for, another one, and so on. */
export const callers = ["anyone", "owner", "other", "staff", "admin", "key", "poorKey"] as const;
export type Caller = (typeof callers)[number];
type Outcomes = Record<Caller, string>;

/** What there is to be called about. */
export interface World {
  admin: SignedInAccount;
  owner: SignedInAccount;
}

/** A method: what becomes of each caller, the scope of `key`, and a call on the owner's things. */
export interface Row {
  outcomes: Outcomes;
  scope: Scope;
  /** Prepares what is needed, then returns the call. */
  call: (world: World) => Promise<(clients: Clients) => Promise<unknown>>;
}

const U = "Unauthenticated";
const P = "PermissionDenied";
const N = "NotFound";
const all = (outcome: string): Outcomes => ({
  ...{ anyone: outcome, owner: outcome, other: outcome, staff: outcome, admin: outcome },
  ...{ key: outcome, poorKey: outcome },
});
const forAll = all("ok");
const forStaff: Outcomes = { ...forAll, anyone: U, owner: P, other: P, poorKey: P };
const forAdmins: Outcomes = { ...all(P), anyone: U, admin: "ok" };
/** The owner, staff, and services with the scope. For others it is not there. */
const forOwner: Outcomes = { ...forAll, anyone: U, other: N, poorKey: P };
/** Whoever has an account, for their own. */
const forPeople: Outcomes = { ...forAll, anyone: U, key: P, poorKey: P };

const row = (outcomes: Outcomes, call: Row["call"], scope: Scope = Scope.CUSTOMERS_READ): Row => ({
  outcomes,
  call,
  scope,
});
const at = (id: string) => ({ case: "id" as const, value: id });
const soon = async <T>(value: T) => value;

async function orderOf(
  owner: SignedInAccount,
  admin: SignedInAccount,
): Promise<{ orderId: string; productId: string }> {
  const productId = await makeProduct(admin, { stock: 10n });
  const order = { items: [{ productId, quantity: 1n }] };
  const { order: made } = await owner.orders.createOrder({ requestId: randomUUID(), order });
  return { orderId: made?.id ?? "", productId };
}

async function wrote(owner: SignedInAccount, admin: SignedInAccount): Promise<string> {
  const { productId } = await orderOf(owner, admin);
  const { review } = await owner.reviews.createReview({ review: { productId, rating: 4 } });
  return review?.id ?? "";
}

const catalogWrite = (call: Row["call"]) => row(forStaff, call, Scope.CATALOG_WRITE);
const trackerWrite = (call: Row["call"]) => row(forStaff, call, Scope.TRACKER_WRITE);
const trackerRead = (call: Row["call"]) => row(forStaff, call, Scope.TRACKER_READ);
const customersRead = (call: Row["call"]) => row(forStaff, call, Scope.CUSTOMERS_READ);
const customersWrite = (call: Row["call"]) => row(forStaff, call, Scope.CUSTOMERS_WRITE);
const name = () => `c-${randomUUID().slice(0, 8)}`;

const deleted = async ({ admin }: World) => {
  const id = await makeProduct(admin, { stock: 1n });
  await admin.catalog.deleteProduct({ id });
  return id;
};

/** Each method of the shop. A test fails for one that is missing here. */
export const table: Readonly<Record<string, Row>> = {
  "CatalogService/GetProduct": row(forAll, async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.getProduct({ key: at(id) });
  }),
  "CatalogService/GetProduct show_deleted": catalogWrite(async (world) => {
    const id = await deleted(world);
    return ({ catalog }) => catalog.getProduct({ key: at(id), showDeleted: true });
  }),
  "CatalogService/BatchGetProducts": row(forAll, async ({ admin }) => {
    const ids = [await makeProduct(admin, { stock: 1n })];
    return ({ catalog }) => catalog.batchGetProducts({ ids });
  }),
  "CatalogService/ListProducts": row(forAll, () => soon(({ catalog }) => catalog.listProducts({}))),
  "CatalogService/ListProducts show_deleted": catalogWrite(() =>
    soon(({ catalog }) => catalog.listProducts({ showDeleted: true })),
  ),
  "CatalogService/CreateProduct": catalogWrite(async ({ admin }) => {
    const categoryId = await makeCategory(admin);
    const price = { currencyCode: "EUR", minorUnits: 1n };
    return ({ catalog }) =>
      catalog.createProduct({ product: { sku: name(), name: "Tea", categoryId, price } });
  }),
  "CatalogService/UpdateProduct": catalogWrite(async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.updateProduct({ product: { id, name: "Tea" } });
  }),
  "CatalogService/DeleteProduct": catalogWrite(async ({ admin }) => {
    const id = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.deleteProduct({ id });
  }),
  "CatalogService/UndeleteProduct": catalogWrite(async (world) => {
    const id = await deleted(world);
    return ({ catalog }) => catalog.undeleteProduct({ id });
  }),
  "CatalogService/AdjustStock": catalogWrite(async ({ admin }) => {
    const productId = await makeProduct(admin, { stock: 1n });
    return ({ catalog }) => catalog.adjustStock({ productId, delta: 1n, reason: StockReason.RECEIVED });
  }),
  "CatalogService/ImportProducts": catalogWrite(async ({ admin }) => {
    const slug = name();
    await admin.catalog.createCategory({ category: { slug, name: slug } });
    const message = { ...createHeader(ImportMode.INCREMENTAL), rows: createRows(slug, `${slug}-`, 1) };
    return ({ catalog }) =>
      catalog.importProducts(
        (async function* () {
          yield create(ImportProductsRequestSchema, message);
        })(),
      );
  }),
  "CatalogService/GetCategory": row(forAll, async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.getCategory({ key: at(id) });
  }),
  "CatalogService/ListCategories": row(forAll, () => soon(({ catalog }) => catalog.listCategories({}))),
  "CatalogService/CreateCategory": catalogWrite(() =>
    soon(({ catalog }) => catalog.createCategory({ category: { slug: name(), name: "Tea" } })),
  ),
  "CatalogService/UpdateCategory": catalogWrite(async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.updateCategory({ category: { id, name: "Tea" } });
  }),
  "CatalogService/DeleteCategory": catalogWrite(async ({ admin }) => {
    const id = await makeCategory(admin);
    return ({ catalog }) => catalog.deleteCategory({ id });
  }),
  "CatalogService/ListBrands": row(forAll, () => soon(({ catalog }) => catalog.listBrands({}))),
  "CatalogService/GetCatalogStats": row(forAll, () => soon(({ catalog }) => catalog.getCatalogStats({}))),

  "OrderService/CreateOrder": row(
    // Somebody else's order is one for the owner, made by another customer.
    { ...forOwner, other: P },
    async ({ admin, owner: { customerId } }) => {
      const productId = await makeProduct(admin, { stock: 10n });
      const order = { customerId, items: [{ productId, quantity: 1n }] };
      return ({ orders }) => orders.createOrder({ requestId: randomUUID(), order });
    },
    Scope.ORDERS_WRITE,
  ),
  "OrderService/GetOrder": row(
    forOwner,
    async ({ admin, owner }) => {
      const { orderId: id } = await orderOf(owner, admin);
      return ({ orders }) => orders.getOrder({ id });
    },
    Scope.ORDERS_READ,
  ),
  "OrderService/ListOrders": row(
    { ...forOwner, other: P },
    ({ owner: { customerId } }) => soon(({ orders }) => orders.listOrders({ customerId })),
    Scope.ORDERS_READ,
  ),
  "OrderService/CancelOrder": row(
    forOwner,
    async ({ admin, owner }) => {
      const { orderId: id } = await orderOf(owner, admin);
      return ({ orders }) => orders.cancelOrder({ id });
    },
    Scope.ORDERS_WRITE,
  ),

  "TrackerService/CreatePromotion": trackerWrite(() => soon((clients) => makePromotion(clients))),
  "TrackerService/GetPromotion": row(forAll, async ({ admin }) => {
    const id = await makePromotion(admin);
    return ({ tracker }) => tracker.getPromotion({ id });
  }),
  "TrackerService/ListPromotions": row(forAll, () => soon(({ tracker }) => tracker.listPromotions({}))),
  "TrackerService/EndPromotion": trackerWrite(async ({ admin }) => {
    const id = await makePromotion(admin);
    return ({ tracker }) => tracker.endPromotion({ id });
  }),
  "TrackerService/RecordPurchase": trackerWrite(async ({ admin }) => {
    const purchase = purchaseOf(await makePromotion(admin), await makeProduct(admin, { stock: 1n }));
    return ({ tracker }) => tracker.recordPurchase({ purchase });
  }),
  "TrackerService/BatchRecordPurchases": trackerWrite(async ({ admin }) => {
    const purchase = purchaseOf(await makePromotion(admin), await makeProduct(admin, { stock: 1n }));
    return ({ tracker }) => tracker.batchRecordPurchases({ purchases: [purchase] });
  }),
  "TrackerService/ListPurchases": trackerRead(() => soon(({ tracker }) => tracker.listPurchases({}))),
  "TrackerService/GetPurchaseStats": trackerRead(() => soon(({ tracker }) => tracker.getPurchaseStats({}))),

  "CustomerService/CreateCustomer": customersWrite(() => soon((clients) => makeCustomer(clients))),
  "CustomerService/GetCustomer": customersRead(({ owner: { customerId: id } }) =>
    soon(({ customers }) => customers.getCustomer({ id })),
  ),
  "CustomerService/ListCustomers": customersRead(() => soon(({ customers }) => customers.listCustomers({}))),
  "CustomerService/UpdateCustomer": customersWrite(async ({ admin }) => {
    const id = await makeCustomer(admin);
    return ({ customers }) => customers.updateCustomer({ customer: { id, name: "Bo" } });
  }),
  "CustomerService/DeleteCustomer": customersWrite(async ({ admin }) => {
    const id = await makeCustomer(admin);
    return ({ customers }) => customers.deleteCustomer({ id });
  }),
  "CustomerService/UndeleteCustomer": customersWrite(async ({ admin }) => {
    const id = await makeCustomer(admin);
    await admin.customers.deleteCustomer({ id });
    return ({ customers }) => customers.undeleteCustomer({ id });
  }),

  "IdentityService/Register": row(forAll, () =>
    soon(({ identity }) =>
      identity.register({ email: `${name()}@example.com`, name: "Bo", password: "some password" }),
    ),
  ),
  "IdentityService/SignIn": row(forAll, ({ owner: { email, password } }) =>
    soon(({ identity }) => identity.signIn({ email, password })),
  ),
  "IdentityService/RefreshSession": row(forAll, async ({ owner: { identity, email, password } }) => {
    const { tokens } = await identity.signIn({ email, password });
    return (clients) => clients.identity.refreshSession({ refreshToken: tokens?.refreshToken ?? "" });
  }),
  "IdentityService/SignOut": row(forAll, async ({ owner: { identity, email, password } }) => {
    const { tokens } = await identity.signIn({ email, password });
    return (clients) => clients.identity.signOut({ refreshToken: tokens?.refreshToken ?? "" });
  }),
  "IdentityService/ListSessions": row(forPeople, () => soon(({ identity }) => identity.listSessions({}))),
  "IdentityService/RevokeSession": row(
    { ...forPeople, other: N, staff: N, admin: N },
    async ({ owner: { identity, email, password } }) => {
      await identity.signIn({ email, password });
      const { sessions } = await identity.listSessions({});
      const id = sessions.find(({ current }) => !current)?.id ?? "";
      return (clients) => clients.identity.revokeSession({ id });
    },
  ),
  "IdentityService/GetMe": row(forPeople, () => soon(({ identity }) => identity.getMe({}))),
  "IdentityService/ChangePassword": row(
    // The password is the owner's, and wrong for all others.
    { ...forPeople, other: U, staff: U, admin: U },
    ({ owner: { password } }) =>
      soon(({ identity }) => identity.changePassword({ currentPassword: password, newPassword: password })),
  ),
  "IdentityService/CreateApiKey": row(forAdmins, () =>
    soon(({ identity }) =>
      identity.createApiKey({ apiKey: { serviceAccount: "warehouse", scopes: [Scope.ORDERS_READ] } }),
    ),
  ),
  "IdentityService/ListApiKeys": row(forAdmins, () => soon(({ identity }) => identity.listApiKeys({}))),
  "IdentityService/RevokeApiKey": row(forAdmins, async ({ admin: { identity } }) => {
    const apiKey = { serviceAccount: "warehouse", scopes: [Scope.ORDERS_READ] };
    const { apiKey: made } = await identity.createApiKey({ apiKey });
    return (clients) => clients.identity.revokeApiKey({ id: made?.id ?? "" });
  }),

  "ReviewService/CreateReview": row(
    // Only the owner has bought it.
    { ...forPeople, other: "FailedPrecondition", staff: "FailedPrecondition", admin: "FailedPrecondition" },
    async ({ admin, owner }) => {
      const { productId } = await orderOf(owner, admin);
      return ({ reviews }) => reviews.createReview({ review: { productId, rating: 5 } });
    },
  ),
  "ReviewService/ListReviews": row(forAll, async ({ admin }) => {
    const productId = await makeProduct(admin, { stock: 1n });
    return ({ reviews }) => reviews.listReviews({ productId });
  }),
  "ReviewService/DeleteReview": row(
    // Reviews are seen by all, so nothing is hidden.
    { ...forOwner, other: P },
    async ({ admin, owner }) => {
      const id = await wrote(owner, admin);
      return ({ reviews }) => reviews.deleteReview({ id });
    },
    Scope.REVIEWS_WRITE,
  ),
};
