import { createReadStream } from "node:fs";
import { createGunzip } from "node:zlib";
import { StartupError } from "../../kernel/errors.ts";

/** The longest line, in characters: much more than a product can fill. */
const MAX_LINE = 1_000_000;

/**
 * The text of a file in UTF-8, piece by piece, without its byte order mark; one whose name ends with .gz is
 * unpacked.
 * @param onRead told how many bytes of the file have been read
 * @throws StartError when it cannot be read
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
    const why = error.code === "ERR_ENCODING_INVALID_ENCODED_DATA" ? "it is not UTF-8" : error.message;
    throw new StartupError(`${path} cannot be read: ${why}.`);
  } finally {
    file.destroy();
  }
}

/** The lines of a text that comes in pieces, without their ends. @throws StartError for one without end */
export async function* readLines(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let [rest, count] = ["", 0];
  for await (const piece of pieces) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      count += 1;
      yield line.endsWith("\r") ? line.slice(0, -1) : line;
    }
    if (rest.length > MAX_LINE) throw new StartupError(`Line ${count + 1} is too long to be a product.`);
  }
  if (rest !== "") yield rest;
}
