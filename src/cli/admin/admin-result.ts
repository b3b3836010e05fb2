/** The result of a command: a sentence, and the text that is alone on standard output. */
export interface AdminResult {
  message: string;
  /** A generated password or secret, which is shown only once, or a list. */
  output?: string;
}
