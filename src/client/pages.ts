/**
 * Iterates over the pages of a list, and requests each page when it is needed:
 * `for await (const { products } of pages((pageToken) => shop.catalog.listProducts({ pageToken })))`.
 */
export async function* pages<Page extends { nextPageToken: string }>(
  list: (pageToken: string) => Promise<Page>,
): AsyncGenerator<Page, void, undefined> {
  let pageToken = "";
  do {
    const page = await list(pageToken);
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}
