import { CatalogService } from "../gen/cartwright/catalog/v1/catalog_service_pb.ts";
import { StartupError } from "../src/kernel/errors.ts";
import { format } from "./numbers.ts";
import { Goals, type Part } from "./part.ts";
import { compare } from "./turns.ts";
import { decode, openWire, prepare, type Wire } from "./wire.ts";

const PAGE_SIZE = 20;
const FAR_PAGE = 4_000;
const ROUNDS = 1_000;
/** A page far back may cost at most so many times what the first costs. */
const GOAL = 1.2;

/** The lists that are measured; each has an index of its own. */
const LISTS = [
  { what: "products by id", orderBy: "" },
  { what: "products by price, dearest first", orderBy: "price desc" },
  { what: "products by name", orderBy: "name" },
];

/** What a page far back costs, against the first. */
export const pages: Part = async ({ products, plain }) => {
  const { url } = await plain();
  const wire = openWire(url, 1);
  const farPage = Math.min(FAR_PAGE, Math.floor(products / PAGE_SIZE));
  const goals = new Goals();
  const rows = [["list", "page 1 ms", `page ${format(farPage)} ms`, "ratio", "goal"]];
  try {
    for (const { what, orderBy } of LISTS) {
      console.log(`${what} ...`);
      const page = (pageToken: string) =>
        prepare(CatalogService.method.listProducts, { orderBy, pageSize: PAGE_SIZE, pageToken });
      const [first, far] = [page(""), page(await findToken(wire, orderBy, farPage))];
      for (const request of [first, far]) {
        const { length } = decode(request, await wire.call(request)).products;
        if (length !== PAGE_SIZE) throw new StartupError(`A page had ${length} products.`);
      }
      const { ms, otherMs } = await compare({ wire, next: () => first }, { wire, next: () => far }, ROUNDS);
      const ratio = otherMs / ms;
      rows.push([what, ms.toFixed(3), otherMs.toFixed(3), ratio.toFixed(2), goals.most(what, ratio, GOAL)]);
    }
  } finally {
    wire.close();
  }
  const title = `Page ${format(FAR_PAGE)} against page 1`;
  const notes = `${format(products)} products, ${PAGE_SIZE} a page, cache off; ListProducts over gRPC, medians of ${format(ROUNDS)} calls each, one at a time and in turn.`;
  return { title, notes, rows, missed: goals.missed };
};

/** The token of the far page: large steps first, as a token does not depend on the size of the page before. */
async function findToken(wire: Wire, orderBy: string, farPage: number): Promise<string> {
  let pageToken = "";
  for (let left = (farPage - 1) * PAGE_SIZE; left > 0; ) {
    const request = prepare(CatalogService.method.listProducts, {
      orderBy,
      pageSize: Math.min(left, 100),
      pageToken,
      readMask: { paths: ["id"] },
    });
    const page = decode(request, await wire.call(request));
    if (page.nextPageToken === "") throw new StartupError(`The list ends before page ${farPage}.`);
    left -= page.products.length;
    pageToken = page.nextPageToken;
  }
  return pageToken;
}
