import { CatalogService } from "../../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartupError } from "../../src/kernel/errors.ts";
import { decodeResponse, encodeRequest, type GrpcClient, openGrpcClient } from "../harness/grpc-client.ts";
import { formatNumber } from "../harness/numbers.ts";
import { comparePaired } from "../harness/paired-latency.ts";
import { Goals, type Part } from "../harness/part.ts";

const PAGE_SIZE = 20;
const FAR_PAGE = 4_000;
const ROUNDS = 1_000;
/** The maximum ratio of the latency of a far page to that of the first page. */
const GOAL = 1.2;

/** The measured lists; each has an index of its own. */
const LISTS = [
  { what: "products by id", orderBy: "" },
  { what: "products by price, descending", orderBy: "price desc" },
  { what: "products by name", orderBy: "name" },
];

/** Compares the latency of a far page with that of the first page. */
export const pages: Part = async ({ products, uncached }) => {
  const { url } = await uncached();
  const client = openGrpcClient(url, 1);
  const farPage = Math.min(FAR_PAGE, Math.floor(products / PAGE_SIZE));
  const goals = new Goals();
  const rows = [["list", "page 1 ms", `page ${formatNumber(farPage)} ms`, "ratio", "goal"]];
  try {
    for (const { what, orderBy } of LISTS) {
      console.log(`${what} ...`);
      const page = (pageToken: string) =>
        encodeRequest(CatalogService.method.listProducts, { orderBy, pageSize: PAGE_SIZE, pageToken });
      const [first, far] = [page(""), page(await findToken(client, orderBy, farPage))];
      for (const request of [first, far]) {
        const { length } = decodeResponse(request, await client.call(request)).products;
        if (length !== PAGE_SIZE)
          throw new StartupError(`Expected ${PAGE_SIZE} products on a page, got ${length}.`);
      }
      const { ms, otherMs } = await comparePaired(
        { client, next: () => first },
        { client, next: () => far },
        ROUNDS,
      );
      const ratio = otherMs / ms;
      rows.push([what, ms.toFixed(3), otherMs.toFixed(3), ratio.toFixed(2), goals.atMost(what, ratio, GOAL)]);
    }
  } finally {
    client.close();
  }
  const title = `Page ${formatNumber(FAR_PAGE)} against page 1`;
  const notes = `${formatNumber(products)} products, ${PAGE_SIZE} a page, cache off; ListProducts over gRPC, medians of ${formatNumber(ROUNDS)} calls each, alternating one at a time.`;
  return { title, notes, rows, missed: goals.missed };
};

/** Returns the token of the far page. Large pages lead there, because a token does not depend on the page size. */
async function findToken(client: GrpcClient, orderBy: string, farPage: number): Promise<string> {
  let pageToken = "";
  for (let left = (farPage - 1) * PAGE_SIZE; left > 0; ) {
    const request = encodeRequest(CatalogService.method.listProducts, {
      orderBy,
      pageSize: Math.min(left, 100),
      pageToken,
      readMask: { paths: ["id"] },
    });
    const page = decodeResponse(request, await client.call(request));
    if (page.nextPageToken === "") throw new StartupError(`The list ends before page ${farPage}.`);
    left -= page.products.length;
    pageToken = page.nextPageToken;
  }
  return pageToken;
}
