import { StartupError } from "../../kernel/errors.ts";

/** A record of a CSV file, or why it is none. */
export interface CsvRecord {
  cells: string[];
  /** Where it begins; the first line is 1. */
  line: number;
  fault: string | undefined;
}

/** The longest record, in characters: much more than a product can fill. */
const MAX_LENGTH = 1_000_000;

const SIGNS = /[",\r\n]/g;
const SIGNS_IN_QUOTES = /["\r\n]/g;

/**
 * Reads the records of a CSV text (RFC 4180) as its pieces come: cells in quotes may hold commas, line ends
 * and, doubled, quotes. Lines end with CRLF, LF or CR; empty ones are no records. A quote where none may be
 * makes its record faulty, and the others go on.
 * @throws StartError for a record without end
 */
export async function* readCsv(pieces: AsyncIterable<string>): AsyncGenerator<CsvRecord> {
  const reader = new CsvReader();
  for await (const piece of pieces) yield* reader.read(piece);
  yield* reader.end();
}

/** Where in a cell the reader is: `closed` is behind a quote that may have ended it. */
type State = "start" | "plain" | "quoted" | "closed";

class CsvReader {
  #state: State = "start";
  #cell = "";
  #cells: string[] = [];
  #fault: string | undefined;
  #length = 0;
  #line = 1;
  #firstLine = 1;
  /** The last sign was a CR, to which an LF may belong. */
  #afterCr = false;

  *read(piece: string): Generator<CsvRecord> {
    for (let at = 0; at < piece.length; ) {
      const end = this.#endOfText(piece, at);
      if (end > at) {
        this.#addText(piece.slice(at, end));
        at = end;
        continue;
      }
      const sign = piece.charAt(at);
      at += 1;
      if (sign === "\n" && this.#afterCr) {
        this.#afterCr = false;
        if (this.#state === "quoted") this.#cell += sign;
        continue;
      }
      this.#afterCr = sign === "\r";
      if (sign === "\n" || sign === "\r") this.#line += 1;
      if (this.#state === "quoted") this.#addQuoted(sign);
      else if (sign === '"') this.#addQuote();
      else if (sign === ",") this.#endCell();
      else yield* this.#endRecord();
    }
  }

  *end(): Generator<CsvRecord> {
    if (this.#state === "quoted") this.#fault ??= "a quote is not closed";
    yield* this.#endRecord();
  }

  /** How far the text goes on without a sign that means something here. */
  #endOfText(piece: string, at: number): number {
    const signs = this.#state === "quoted" ? SIGNS_IN_QUOTES : SIGNS;
    signs.lastIndex = at;
    return signs.exec(piece)?.index ?? piece.length;
  }

  #addText(text: string): void {
    this.#afterCr = false;
    if (this.#state === "closed") this.#fault ??= "text follows a closing quote";
    if (this.#state !== "quoted") this.#state = "plain";
    this.#cell += text;
    this.#grow(text.length);
  }

  #addQuoted(sign: string): void {
    if (sign === '"') this.#state = "closed";
    else this.#cell += sign;
    this.#grow(1);
  }

  #addQuote(): void {
    if (this.#state === "plain") this.#fault ??= "a quote stands in a cell that does not begin with one";
    // Right behind a closing one it stands for itself.
    if (this.#state === "closed") this.#cell += '"';
    if (this.#state !== "plain") this.#state = "quoted";
    this.#grow(1);
  }

  #grow(length: number): void {
    this.#length += length;
    if (this.#length <= MAX_LENGTH) return;
    throw new StartupError(
      `The record that begins in line ${this.#firstLine} is too long. Is a quote not closed?`,
    );
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = "";
    this.#state = "start";
    this.#grow(1);
  }

  *#endRecord(): Generator<CsvRecord> {
    if (this.#cells.length > 0 || this.#state !== "start") {
      this.#endCell();
      yield { cells: this.#cells, line: this.#firstLine, fault: this.#fault };
    }
    [this.#cells, this.#fault, this.#length, this.#firstLine] = [[], undefined, 0, this.#line];
  }
}
