import { decodeResponse, type EncodedRequest, type GrpcClient } from "../harness/grpc-client.ts";
import { createRandom, pick, shuffle } from "../harness/numbers.ts";
import {
  CATEGORIES,
  type ListInit,
  listRequest,
  productByIdRequest,
  productBySkuRequest,
} from "./requests.ts";
import { QUERY_KINDS } from "./search-queries.ts";

/** Products that visitors look at, and lists. */
const PRODUCTS = 2_000;
const LISTS = 1_500;
/** How many of the lists are second and third pages, and how many are searches. */
const WALKED = 200;
const SEARCHES = 300;

/** Far from each other in the shop, whatever their rank: a prime. */
const STRIDE = 7_919;

/** Requests for products, the most wanted first: nine of ten by id, the others by sku. */
export function productRequests(products: number): EncodedRequest[] {
  return Array.from({ length: Math.min(PRODUCTS, products) }, (_, rank) => {
    const number = 1 + ((rank * STRIDE) % products);
    return rank % 10 === 9 ? productBySkuRequest(number) : productByIdRequest(number);
  });
}

/** Requests for lists, the most wanted first: what categories, brands and searches of a shop show. */
export async function listRequests(client: GrpcClient, products: number): Promise<EncodedRequest[]> {
  const random = createRandom(2);
  const searches = Array.from({ length: SEARCHES }, () => pick(QUERY_KINDS, random).next(random, products));
  const firstPages = shuffle(browsed(), random).slice(0, LISTS - 2 * WALKED - SEARCHES);
  const further: ListInit[] = [];
  for (const init of firstPages.slice(0, WALKED)) further.push(...(await furtherPages(client, init)));
  return shuffle([...firstPages, ...searches, ...further], random).map(listRequest);
}

/** Every category and all of them, each brand in it, in each order, with and without what is sold out. */
function browsed(): ListInit[] {
  const places: ListInit[] = [
    {},
    ...CATEGORIES.flatMap(({ id, brands }) => [
      { categoryId: id },
      ...brands.map((brand) => ({ categoryId: id, brand })),
    ]),
  ];
  return ["", "price", "price desc", "name", "popularity desc", "rating desc", "create_time desc"].flatMap(
    (orderBy) =>
      [false, true].flatMap((inStockOnly) =>
        places.map((place) => ({ ...place, orderBy, inStockOnly }) satisfies ListInit),
      ),
  );
}

/** Pages 2 and 3, where there are so many. */
async function furtherPages(client: GrpcClient, init: ListInit): Promise<ListInit[]> {
  const pages: ListInit[] = [];
  for (let last = init; pages.length < 2; ) {
    const request = listRequest(last);
    const { nextPageToken } = decodeResponse(request, await client.call(request));
    if (nextPageToken === "") break;
    last = { ...init, pageToken: nextPageToken };
    pages.push(last);
  }
  return pages;
}
