import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { errorMessage, StartupError } from "../../kernel/errors.ts";

/** Maximum length of a line, in characters: far more than a product needs. */
const MAX_LINE_LENGTH = 1_000_000;

/**
 * Reads the text of a UTF-8 file in pieces, without its byte order mark. A file named .gz is decompressed.
 * @param onRead receives the number of bytes of the file that have been read
 * @throws StartupError when the file cannot be read
 */
export async function* readText(path: string, onRead: (bytes: number) => void): AsyncGenerator<string> {
  const file = createReadStream(path);
  const bytes: AsyncIterable<Uint8Array> = path.endsWith(".gz") ? file.compose(createGunzip()) : file;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  try {
    for await (const piece of bytes) {
      onRead(file.bytesRead);
      yield decoder.decode(piece, { stream: true });
    }
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    const isInvalidText = error.code === "ERR_ENCODING_INVALID_ENCODED_DATA";
    const reason = isInvalidText ? "it is not UTF-8" : errorMessage(error);
    throw new StartupError(`${path} cannot be read: ${reason}.`);
  } finally {
    file.destroy();
  }
}

/**
 * Splits a text that comes in pieces into lines, without their line ends.
 * @throws StartupError for a line that is too long
 */
export async function* readLines(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let [rest, count] = ["", 0];
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      count += 1;
      yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
    if (rest.length > MAX_LINE_LENGTH) {
      throw new StartupError(`Line ${count + 1} is too long for a product.`);
    }
  }
  if (rest !== "") yield rest;
}
