import { StartupError } from "../../kernel/errors.ts";

/** A record of a CSV file. */
export interface CsvRecord {
  cells: string[];
  /** Numbers of its first and its last line; the first line of the file is 1. */
  line: number;
  lastLine: number;
  /** Error of a malformed record; undefined for a valid one. */
  error: string | undefined;
}

/** Maximum length of a record, in characters: far more than a product needs. */
const MAX_RECORD_LENGTH = 1_000_000;

const DELIMITERS = /[",\r\n]/g;
const QUOTED_DELIMITERS = /["\r\n]/g;

/**
 * Reads the records of a CSV text (RFC 4180) that comes in pieces: quoted cells may contain commas, line ends and
 * doubled quotes. Lines end with CRLF, LF or CR; empty lines are skipped. A misplaced quote makes its record malformed.
 * Two of them can make one cell of all the records in between; a cell of too many lines makes its record malformed too.
 * @param maxCellLines maximum number of lines of a quoted cell
 * @throws StartupError for a record that is too long
 */
export async function* readCsv(
  pieces: AsyncIterable<string>,
  maxCellLines: number,
): AsyncGenerator<CsvRecord> {
  const reader = new CsvReader(maxCellLines);
  for await (const piece of pieces) yield* reader.read(piece);
  yield* reader.end();
}

/** Position in a cell. `quoteSeen` follows a quote that either ends the cell or is the first of a doubled one. */
type State = "start" | "unquoted" | "quoted" | "quoteSeen";

class CsvReader {
  #state: State = "start";
  #cell = "";
  #cells: string[] = [];
  #error: string | undefined;
  #length = 0;
  #line = 1;
  #firstLine = 1;
  /** First line of the quoted cell. */
  #cellLine = 1;
  /** The last character was a CR, so a following LF belongs to the same line end. */
  #afterCr = false;
  readonly #maxCellLines: number;

  constructor(maxCellLines: number) {
    this.#maxCellLines = maxCellLines;
  }

  *read(piece: string): Generator<CsvRecord> {
    for (let index = 0; index < piece.length; ) {
      const end = this.#endOfText(piece, index);
      if (end > index) {
        this.#addText(piece.slice(index, end));
        index = end;
        continue;
      }
      const delimiter = piece.charAt(index);
      index += 1;
      if (delimiter === "\n" && this.#afterCr) {
        this.#afterCr = false;
        if (this.#state === "quoted") this.#cell += delimiter;
        continue;
      }
      this.#afterCr = delimiter === "\r";
      if (delimiter === "\n" || delimiter === "\r") this.#line += 1;
      if (this.#state === "quoted") this.#addQuotedDelimiter(delimiter);
      else if (delimiter === '"') this.#addQuote();
      else if (delimiter === ",") this.#endCell();
      else yield* this.#endRecord(this.#line - 1);
    }
  }

  *end(): Generator<CsvRecord> {
    if (this.#state === "quoted") this.#error ??= "a quote is not closed";
    yield* this.#endRecord(this.#line);
  }

  /** Returns the index of the next delimiter, or the end of the piece. */
  #endOfText(piece: string, index: number): number {
    const delimiters = this.#state === "quoted" ? QUOTED_DELIMITERS : DELIMITERS;
    delimiters.lastIndex = index;
    return delimiters.exec(piece)?.index ?? piece.length;
  }

  #addText(text: string): void {
    this.#afterCr = false;
    if (this.#state === "quoteSeen") this.#error ??= "text follows a closing quote";
    if (this.#state !== "quoted") this.#state = "unquoted";
    this.#cell += text;
    this.#addLength(text.length);
  }

  #addQuotedDelimiter(delimiter: string): void {
    if (delimiter === '"') this.#state = "quoteSeen";
    else this.#cell += delimiter;
    if (this.#line - this.#cellLine >= this.#maxCellLines) {
      this.#error ??= `a quoted cell has more than ${this.#maxCellLines} lines, so a quote is probably misplaced and none of these lines is imported. For longer cells, use --max-cell-lines`;
    }
    this.#addLength(1);
  }

  #addQuote(): void {
    if (this.#state === "unquoted") this.#error ??= "an unquoted cell contains a quote";
    // The second of a doubled quote.
    if (this.#state === "quoteSeen") this.#cell += '"';
    if (this.#state === "start") this.#cellLine = this.#line;
    if (this.#state !== "unquoted") this.#state = "quoted";
    this.#addLength(1);
  }

  #addLength(length: number): void {
    this.#length += length;
    if (this.#length <= MAX_RECORD_LENGTH) return;
    throw new StartupError(
      `The record that begins in line ${this.#firstLine} is too long. Is a quote not closed?`,
    );
  }

  #endCell(): void {
    this.#cells.push(this.#cell);
    this.#cell = "";
    this.#state = "start";
    this.#addLength(1);
  }

  *#endRecord(lastLine: number): Generator<CsvRecord> {
    if (this.#cells.length > 0 || this.#state !== "start") {
      this.#endCell();
      yield { cells: this.#cells, line: this.#firstLine, lastLine, error: this.#error };
    }
    this.#cells = [];
    this.#error = undefined;
    this.#length = 0;
    this.#firstLine = this.#line;
  }
}
