/** Calls each kind of method of the client. The same module runs in Node and, bundled, in browsers. */
const calls = `
import { Code, createClient, errorDetails, OrderState, Role, Scope } from "cartwright-client";

export async function callServices(baseUrl) {
  const shop = createClient({ baseUrl });
  const { categories } = await shop.catalog.listCategories({});
  const anonymous = await shop.identity.getMe({}).catch(errorDetails);
  const email = crypto.getRandomValues(new Uint32Array(4)).join("-") + "@example.com";
  await shop.session.register({ email, name: "Ann", password: "correct horse" });
  const { account } = await shop.identity.getMe({});
  const error = await shop.orders.createOrder({ order: {} }).catch(errorDetails);
  const productId = "00000000-0000-7000-8000-000000000000";
  const { reviews } = await shop.reviews.listReviews({ productId });
  await shop.session.signOut();
  return [
    [categories.length, reviews.length, account.email === email],
    [Code[anonymous.code], Code[error.code], error.reason],
    [OrderState.PENDING, Role.CUSTOMER, Scope.CATALOG_WRITE],
  ];
}
`;

/** The results of \`callServices\` with an empty shop. */
export const expectedResults = [
  [0, 0, true],
  ["Unauthenticated", "InvalidArgument", "INVALID_REQUEST"],
  [1, 1, 1],
];

const program = `
import { callServices } from "./calls.mjs";
console.log(JSON.stringify(await callServices(process.argv[2])));
`;

/** The script of a web page: reads the address of the service and posts the results. */
const page = `
import { callServices } from "./calls.mjs";
const baseUrl = await (await fetch("/service")).text();
const results = await callServices(baseUrl).catch(String);
await fetch("/results", { method: "POST", body: JSON.stringify(results) });
`;

const typed = `
import {
  createClient, errorDetails, type ListProductsResponse, pages, type Product, ProductSchema, type Review, type Session,
  type ShopClient, type StoredTokens, type TokenStore,
} from "cartwright-client";
const shop: ShopClient = createClient({ baseUrl: "http://localhost:8080", token: async () => "t" });
export const first = async (): Promise<Product | undefined> =>
  (await shop.catalog.listProducts({ pageSize: 1 })).products[0];
export const name: string = ProductSchema.typeName;
export const all: AsyncGenerator<ListProductsResponse> = pages((pageToken) => shop.catalog.listProducts({ pageToken }));
const text: { value: string } = { value: "null" };
const store: TokenStore = {
  load: () => JSON.parse(text.value),
  save: (tokens: StoredTokens | undefined) => { text.value = JSON.stringify(tokens ?? null); },
};
export const session: Session = createClient({ baseUrl: "http://localhost:8080", session: store }).session;
export const review = async (): Promise<Review | undefined> =>
  (await shop.reviews.createReview({ review: { productId: "p", rating: 5 } })).review;
export const reason: string = errorDetails(new Error("no")).reason;
// @ts-expect-error an order has no such field
export const wrong = shop.orders.createOrder({ order: { colour: "red" } });
`;

/** Returns the strictest configuration of TypeScript. */
function tsconfig(module: string, moduleResolution: string): string {
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    noImplicitOverride: true,
    noUnusedLocals: true,
    verbatimModuleSyntax: true,
    isolatedModules: true,
    skipLibCheck: false,
    noEmit: true,
    target: "es2022",
    lib: ["es2022", "dom", "dom.iterable"],
    types: [],
    module,
    moduleResolution,
  };
  return JSON.stringify({ compilerOptions, files: ["typed.ts"] });
}

/** The sources of a project that uses the client. */
export const consumerFiles: Readonly<Record<string, string>> = {
  "calls.mjs": calls,
  "program.mjs": program,
  "page.mjs": page,
  "index.html": '<!doctype html><script type="module" src="/page.mjs"></script>',
  "typed.ts": typed,
  "tsconfig.bundler.json": tsconfig("esnext", "bundler"),
  "tsconfig.nodenext.json": tsconfig("nodenext", "nodenext"),
};
