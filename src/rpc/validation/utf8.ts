import { isUtf8 } from "node:buffer";
import { Code, ConnectError } from "@connectrpc/connect";

/** What is said of JSON that is not UTF-8 (RFC 8259, 8.1). Read all the same, its text would be another one. */
function notUtf8(): ConnectError {
  return new ConnectError("The message is not UTF-8. Encode JSON so.", Code.InvalidArgument);
}

/** @throws ConnectError for bytes that are not UTF-8 */
export function assertUtf8(bytes: Uint8Array): void {
  if (!isUtf8(bytes)) throw notUtf8();
}

/** @throws ConnectError for a query whose escapes stand for bytes that are not UTF-8 */
export function assertUtf8Query(target: string): void {
  try {
    decodeURIComponent(target);
  } catch {
    throw notUtf8();
  }
}

/** A body as it comes. @throws ConnectError as soon as it is not UTF-8 */
export async function* utf8Only(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const check = (bytes?: Uint8Array) => {
    try {
      decoder.decode(bytes, { stream: bytes !== undefined });
    } catch {
      throw notUtf8();
    }
  };
  for await (const bytes of body) {
    check(bytes);
    yield bytes;
  }
  check();
}
