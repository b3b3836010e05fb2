import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { errorCode, errorMessage, StartupError } from "../../kernel/errors.ts";

/** Maximum length of a line, in characters: far more than a product needs. */
const MAX_LINE_LENGTH = 1_000_000;

/**
 * Returns the size of a file in bytes.
 * @throws StartupError when it cannot be read, or is no regular file: a resumed import reads it again from its beginning
 */
export async function readSize(path: string): Promise<number> {
  const stats = await stat(path).catch((error: unknown) => {
    throw new StartupError(`${path} cannot be read: ${describeFileError(error)}.`);
  });
  if (stats.isFile()) return stats.size;
  throw new StartupError(`${path} cannot be read: it is not a regular file.`);
}

/**
 * Reads a compressed file to its end. Other files are not read. The checksum is at the end of the compressed data:
 * damaged data before it may decompress to rows that seem valid.
 * @throws StartupError when the file cannot be read or is damaged
 */
export async function checkCompression(path: string): Promise<void> {
  if (!path.endsWith(".gz")) return;
  for await (const _ of readText(path, () => {}));
}

/**
 * Reads the text of a UTF-8 file in pieces, without its byte order mark. A file named .gz is decompressed; it may
 * consist of several gzip members (RFC 1952).
 * @param onRead receives the number of bytes of the file that have been read
 * @throws StartupError when the file cannot be read
 */
export async function* readText(path: string, onRead: (bytes: number) => void): AsyncGenerator<string> {
  const file = createReadStream(path);
  // The callback handles the error, which the iteration below throws too.
  const stream = path.endsWith(".gz") ? pipeline(file, createGunzip(), () => {}) : file;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let isEmpty = true;
  try {
    for await (const piece of stream) {
      onRead(file.bytesRead);
      isEmpty = false;
      yield decoder.decode(piece, { stream: true });
    }
    yield decoder.decode();
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    throw new StartupError(`${path} cannot be read: ${describeError(error, String(error.code), isEmpty)}.`);
  } finally {
    file.destroy();
  }
}

/** @param isEmpty whether no text was read before the error */
function describeError(error: Error, code: string, isEmpty: boolean): string {
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") return "it is not UTF-8";
  if (code === "Z_BUF_ERROR") return "its compressed data is truncated";
  if (!code.startsWith("Z_")) return describeFileError(error);
  if (isEmpty && error.message === "incorrect header check") return "it is not compressed with gzip";
  return `its compressed data is corrupted (${error.message})`;
}

function describeFileError(error: unknown): string {
  const code = errorCode(error);
  if (code === "ENOENT" || code === "ENOTDIR") return "it does not exist";
  return code === "EACCES" ? "its permissions do not allow it" : errorMessage(error);
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
