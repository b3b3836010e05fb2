import { type DescMessage, fromJsonString, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { JsonOptions } from "../protocol/json-options.ts";
import { normalizeJsonNumbers } from "./json-numbers.ts";
import { assertUtf8 } from "./utf8.ts";

/** Reads messages of one type from JSON. */
export interface JsonReader {
  /**
   * Returns the text of a message.
   * @throws ConnectError invalid_argument for an empty text, for one that is not UTF-8, and for numbers that ProtoJSON
   * does not have
   */
  decode(bytes: Uint8Array): string;
  /**
   * Returns the message.
   * @throws ConnectError as `decode` does, and Error for text that is not a message of this type
   */
  parse(bytes: Uint8Array): Message;
}

const EMPTY_MESSAGE = "The message is empty. Send a JSON object: {} leaves all fields at their defaults.";

const utf8 = new TextDecoder();

/** Creates a reader of messages of one type. */
export function createJsonReader(schema: DescMessage, options: JsonOptions): JsonReader {
  const decode = (bytes: Uint8Array): string => {
    if (bytes.length === 0) throw new ConnectError(EMPTY_MESSAGE, Code.InvalidArgument);
    assertUtf8(bytes);
    return normalizeJsonNumbers(schema, utf8.decode(bytes));
  };
  return { decode, parse: (bytes) => fromJsonString(schema, decode(bytes), options) };
}
