import { isUtf8 } from "node:buffer";
import { Code, ConnectError } from "@connectrpc/connect";

/** Returns the error for JSON that is not UTF-8 (RFC 8259, 8.1). Decoding it anyway would change its text. */
function notUtf8(): ConnectError {
  return new ConnectError("The message is not valid UTF-8. Encode JSON as UTF-8.", Code.InvalidArgument);
}

/** @throws ConnectError for bytes that are not UTF-8 */
export function assertUtf8(bytes: Uint8Array): void {
  if (!isUtf8(bytes)) throw notUtf8();
}

/** @throws ConnectError for a request target whose percent-encoding is not UTF-8 */
export function assertUtf8Target(target: string): void {
  try {
    decodeURIComponent(target);
  } catch {
    throw notUtf8();
  }
}
