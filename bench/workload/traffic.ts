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

/** The numbers of different products and lists that visitors request. */
const PRODUCTS = 2_000;
const LISTS = 1_500;
/** The number of lists whose pages 2 and 3 are requested, and the number of searches. */
const DEEP_LISTS = 200;
const SEARCHES = 300;

/** A prime, so that the popular products are distributed over the whole shop. */
const STRIDE = 7_919;

/** Returns GetProduct requests, the most frequent first: nine of ten by id, the others by sku. */
export function productRequests(products: number): EncodedRequest[] {
  return Array.from({ length: Math.min(PRODUCTS, products) }, (_, rank) => {
    const number = 1 + ((rank * STRIDE) % products);
    return rank % 10 === 9 ? productBySkuRequest(number) : productByIdRequest(number);
  });
}

/** Returns ListProducts requests, the most frequent first: categories, brands, searches and further pages. */
export async function listRequests(client: GrpcClient, products: number): Promise<EncodedRequest[]> {
  const random = createRandom(2);
  const searches = Array.from({ length: SEARCHES }, () => pick(QUERY_KINDS, random).next(random, products));
  const firstPages = shuffle(browsingLists(), random).slice(0, LISTS - 2 * DEEP_LISTS - SEARCHES);
  const further: ListInit[] = [];
  for (const init of firstPages.slice(0, DEEP_LISTS)) further.push(...(await furtherPages(client, init)));
  return shuffle([...firstPages, ...searches, ...further], random).map(listRequest);
}

/** Returns the lists of every category and brand, in every sort order, with and without sold-out products. */
function browsingLists(): ListInit[] {
  const filters: ListInit[] = [
    {},
    ...CATEGORIES.flatMap(({ id, brands }) => [
      { categoryId: id },
      ...brands.map((brand) => ({ categoryId: id, brand })),
    ]),
  ];
  return ["", "price", "price desc", "name", "popularity desc", "rating desc", "create_time desc"].flatMap(
    (orderBy) =>
      [false, true].flatMap((inStockOnly) =>
        filters.map((filter) => ({ ...filter, orderBy, inStockOnly }) satisfies ListInit),
      ),
  );
}

/** Requests pages 2 and 3, as far as they exist. */
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
